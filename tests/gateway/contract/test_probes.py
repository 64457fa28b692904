import pytest
from pydantic import ValidationError

from gateway.contract.probes import ProbeSettings
from gateway.contract.provider import ProviderSettings


def test_a_provider_is_not_probed_unless_somebody_says_so() -> None:
    entry = {"kind": "k", "base_url": "http://h"}

    assert ProviderSettings.model_validate(entry).probe is None
    told = ProviderSettings.model_validate({**entry, "probe": {}}).probe
    assert told == ProbeSettings(path=None, every=10.0, timeout=2.0)


@pytest.mark.parametrize("path", ["", "health", "/a b", "/a\r\nx: y", "//h\u00e9", "/\x00"])
def test_a_path_is_one_that_can_be_sent(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        ProbeSettings(path=path)


def test_a_path_may_have_a_query() -> None:
    assert ProbeSettings(path="/health?full=1").path == "/health?full=1"
