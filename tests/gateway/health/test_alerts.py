"""An operator hears of every change once, and of no request."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.contract.errors import (
    ProviderAuthFailed,
    ProviderQuotaExhausted,
    ProviderUnreachable,
)
from gateway.health import HealthSettings, alerts
from tests.support.health import Clock, health_of

Lines = list[EventDict]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as captured:
        yield captured


def test_a_credential_that_is_no_good_is_told_once_and_again_when_it_works(lines: Lines) -> None:
    clock = Clock()
    health = health_of("p/one", "p/two", clock=clock)
    for name in ("p/one", "p/two") * 10:
        health.failed(name, ProviderAuthFailed("no"))
    clock.now += 60
    assert health.admits("p/one")
    health.failed("p/one", ProviderAuthFailed("still no"))

    assert lines == [
        {
            "event": "target_alert",
            "log_level": "warning",
            "target": "p/one",
            "provider": "p",
            "reason": "upstream_auth_error",
        }
    ]
    clock.now += 60
    assert health.admits("p/one")
    health.succeeded("p/one")
    health.succeeded("p/one")
    health.failed("p/two", ProviderQuotaExhausted("empty"))

    assert [(line["event"], line["log_level"]) for line in lines[1:]] == [
        ("credential_back", "info"),
        ("target_alert", "warning"),
    ]
    assert lines[-1]["reason"] == "upstream_quota_exhausted"


def test_a_target_that_fails_is_told_when_it_goes_and_when_it_comes_back(lines: Lines) -> None:
    clock = Clock()
    health = health_of("p/m", clock=clock, settings=HealthSettings(ramp=0))
    for _ in range(3):
        for _ in range(20):
            health.failed("p/m", ProviderUnreachable("refused"))
        clock.now += 300
        assert health.admits("p/m")
    health.succeeded("p/m")
    for _ in range(20):
        health.succeeded("p/m")

    assert [line["event"] for line in lines] == ["target_alert", "target_back"]
    assert lines[0]["reason"] == "failing"
    assert lines[0]["kept"] is False


def test_a_probe_that_asks_the_wrong_thing_is_told(lines: Lines) -> None:
    alerts.probe_says_nothing("p")

    assert lines == [{"event": "probe_says_nothing", "log_level": "warning", "provider": "p"}]
