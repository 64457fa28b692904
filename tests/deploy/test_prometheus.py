"""The Prometheus files name what the gateway really counts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.contract import errors
from gateway.limits import MemoryLimiter
from gateway.supervisor.sums import Sums
from gateway.telemetry.metrics import OUTCOMES, Metrics
from gateway.wiring.gauges import watch_health, watch_limiter
from tests.support.health import Clock, health_of

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def alert(name: str) -> dict[str, Any]:
    [found] = [rule for rule in rules() if rule.get("alert") == name]
    return found


def rules() -> Iterator[dict[str, Any]]:
    for group in load("rules.yml")["groups"]:
        yield from group["rules"]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(version="1", models=["m"], targets=["p/m"])
    watch_health(metrics, health_of("p/m", clock=Clock()))
    watch_limiter(metrics, MemoryLimiter())
    return metrics


def test_the_scrape_asks_for_metrics_with_the_operators_credential() -> None:
    config = load("prometheus.yml")
    [job] = config["scrape_configs"]
    assert job["job_name"] == "lockgate"
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"].keys() == {"type", "credentials_file"}
    assert job["static_configs"][0]["targets"]
    for name in config["rule_files"]:
        assert (FOLDER / name).is_file()


def test_every_rule_speaks_of_metrics_and_labels_that_exist(metrics: Metrics) -> None:
    families = {family.name for family in metrics.registry.collect()}
    families |= {family["name"] for family in Sums().of([], dict.fromkeys(SUPERVISORS, 0.0))}
    known = {"_".join(filter(None, (name, suffix))) for name in families for suffix in SUFFIXES}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        expression = rule["expr"]
        for name in re.findall(r"(?<![\w:])lockgate_\w+", expression):
            assert name in known, f"{name} in {rule}"
        for name in re.findall(r"\w+:\w+:\w+", expression):
            assert name in recorded, f"{name} in {rule}"
        for labels in re.findall(r"by \(([\w, ]+)\)", expression):
            for label in labels.split(", "):
                assert label in {"model", "target", "le", "operation", "provider", "reason"}


SUFFIXES = ("", "total", "bucket", "sum", "count")
SUPERVISORS = ("lockgate_worker_restarts_total", "lockgate_config_reload_failures_total")
"""What the supervisor of several workers says itself; the second, one process says too."""


@pytest.mark.parametrize(
    ("name", "counted"),
    [("LockgateReloadFailed", SUPERVISORS[1]), ("LockgateWorkersEnd", SUPERVISORS[0])],
)
def test_what_went_wrong_once_is_told_by_its_count(name: str, counted: str) -> None:
    assert f"increase({counted}[15m])" in alert(name)["expr"]
    assert alert(name)["labels"]["severity"] == "warning"


def test_every_label_value_that_a_rule_looks_for_can_occur() -> None:
    codes = {getattr(kind, "code", None) for kind in vars(errors).values()}
    possible = {"outcome": OUTCOMES, "result": codes, "decision": {"admitted", "refused"}}
    for rule in rules():
        for label, told in re.findall(r'(outcome|result|decision)=~?"([^"]+)"', rule["expr"]):
            assert set(told.split("|")) <= possible[label], rule


def test_every_alert_says_how_bad_it_is_and_what_happened() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({alert["alert"] for alert in alerts}) == len(alerts) >= 5
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["summary"]


def test_what_an_alert_counts_the_first_time_it_has_a_zero_before(metrics: Metrics) -> None:
    for rule in rules():
        for result in re.findall(r'increase\(\w+\{result="(\w+)"', rule["expr"]):
            labels = {"target": "p/m", "result": result}
            assert metrics.registry.get_sample_value("lockgate_attempts_total", labels) == 0
