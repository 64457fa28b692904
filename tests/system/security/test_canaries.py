"""
What must get out nowhere: secrets, and what people say to models (S24, S25, S29, S42; rows 57, 91).

A gateway is taken through everything that may happen to a request, and then whatever it has
written anywhere is searched for every secret that it held.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from gateway.config import Config, ConfigError, parse
from gateway.registry import Registry
from gateway.settings import Settings
from tests.support.processes import run
from tests.system.security.tour import CANARIES, Tour, configuration, touring, variables
from tests.system.world import bearer, environment, until

CODES = {
    *("invalid_api_key", "ambiguous_credentials", "invalid_tags", "loop_detected", "invalid_json"),
    *("model_not_found", "idempotency_key_reused", "invalid_idempotency_key", "invalid_type"),
    *("rate_limit_exceeded", "internal_error", "upstream_auth_error", "upstream_redirect"),
    *("upstream_unexpected_content_type", "upstream_aborted"),
    *("upstream_protocol_error", "upstream_quota_exhausted", "upstream_model_missing"),
}
"""Kinds of errors among those that must have been met, or the tour was none."""
LABELS = {
    "model": {"chat", "one", "crash", "other"},
    "target": {"a/demo-model", "b/demo-model", "crash/demo-model", "other"},
    "provider": {"a", "b", "crash", "other"},
    "operation": {"chat", "completion", "embedding", "models", "other"},
    "outcome": {"ok", "refused", "failed", "cut", "hung_up", "other"},
    "direction": {"input", "output"},
    "measure": {"requests", "tokens", "concurrency", "money", "all", "other"},
    "decision": {"admitted", "refused"},
}
"""Values that labels may have, where they are not words of the gateway's own."""
WORD = re.compile(r"[a-z0-9_.+]{1,40}|\+Inf")
TENANTS = ("acme", "tiny", "beta", "anna")


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    with touring(tmp_path_factory.mktemp("canaries")) as made:
        yield made


def operations(tour: Tour, path: str) -> str:
    """What an operator is shown."""
    headers = bearer(CANARIES["operator token"])
    with httpx.Client(verify=False, timeout=30, trust_env=False) as client:
        return client.get(f"{tour.gateway.url}{path}", headers=headers).raise_for_status().text


def printed(tour: Tour) -> str:
    """All output, once the last request is in it."""
    until(lambda: '"event":"config_reload' in tour.gateway.output, within=20)
    return tour.gateway.output


def answers(tour: Tour) -> str:
    return "\n".join(tour.told)


def metrics(tour: Tour) -> str:
    return operations(tour, "/metrics")


def administration(tour: Tour) -> str:
    """Whatever can be read there."""
    lists = ("audit", "operators", "tenants", "tenants/beta/keys", "plans", "ledger", "usage")
    return "\n".join(operations(tour, f"/admin/v1/{each}") for each in lists)


def health(tour: Tour) -> str:
    return operations(tour, "/health/")


def files(tour: Tour) -> str:
    """The database and whatever else it has written, names and all."""
    found = [path for path in (tour.folder / "run").rglob("*") if path.is_file()]
    assert any(path.name == "lockgate.db" for path in found)
    written = [path for path in found if path != tour.gateway.printed]
    return "\n".join(f"{path.name}: {path.read_bytes().decode('latin-1')}" for path in written)


def spans(tour: Tour) -> str:
    until(lambda: len(tour.collector.spans) > 100, within=20)
    return f"{tour.collector.spans} {tour.collector.resources}"


def redis(tour: Tour) -> str:
    """Every key with its value."""
    path = tour.redis.url.removeprefix("unix://")
    client = Redis(unix_socket_path=path, password=CANARIES["redis password"])
    try:
        client.config_set("rdbcompression", "no")
        client.save()
        return (tour.redis.directory / "dump.rdb").read_bytes().decode("latin-1")
    finally:
        client.close()


def command_line(tour: Tour) -> str:
    return Path(f"/proc/{tour.gateway.pid}/cmdline").read_text()


SINKS = (printed, answers, metrics, administration, health, files, spans, redis, command_line)


def test_the_tour_has_met_every_kind_of_error(tour: Tour) -> None:
    assert CODES - tour.codes == set()


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_91_no_secret_gets_anywhere(tour: Tour, sink: Callable[[Tour], str]) -> None:
    text = sink(tour)

    assert text
    for name, canary in {**CANARIES, **tour.shown}.items():
        assert canary not in text, name
        assert json.dumps(canary)[1:-1] not in text, name


def test_a_crash_is_told_with_its_place_and_without_the_secret_in_it(tour: Tour) -> None:
    found = tour.gateway.records("request_failed")

    assert len(found) == 2
    for each in found:
        told = "\n".join(each["exception"])
        assert "in encode" in told
        assert "RuntimeError: crashed with [redacted]" in told


def test_no_process_leaves_its_memory_behind(tour: Tour) -> None:
    limits = Path(f"/proc/{tour.gateway.pid}/limits").read_text()

    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_no_label_of_a_metric_tells_of_a_tenant_or_is_anybodys_to_make(tour: Tour) -> None:
    families = list(text_string_to_metric_families(metrics(tour)))
    samples = [sample for family in families for sample in family.samples]

    assert len(samples) > 200
    for sample in samples:
        assert {"tenant", "key", "project", "user"}.isdisjoint(sample.labels)
        for name, value in sample.labels.items():
            if name in LABELS:
                assert value in LABELS[name], sample
            else:
                assert WORD.fullmatch(value), sample
                assert value not in TENANTS


# Where there is no gateway yet


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All secrets, and stores that nobody can reach."""
    folder = tmp_path_factory.mktemp("nothing")
    return {
        **variables(folder, f"redis://:{CANARIES['redis password']}@127.0.0.1:1/0", ""),
        "LOCKGATE_DATABASE_URL": f"postgresql://u:{CANARIES['older pepper']}@127.0.0.1:1/d",
    }


def everything_of(value: object) -> str:
    """All the ways in which an object might tell of itself."""
    told = f"{value} {value!r} {value!s} {[value]} {vars(value)}"
    if isinstance(value, Settings | Config):
        told += value.model_dump_json() + repr(value.model_dump())
    return told


def test_no_secret_is_in_what_settings_say_of_themselves(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    known = Registry.load().find
    written = configuration("http://127.0.0.1:1")
    del written["providers"]["crash"], written["models"]["crash"]
    config = parse(json.dumps(written).encode(), "file", environ, known)
    told = everything_of(Settings()) + everything_of(config)
    told += "".join(map(everything_of, config.providers.values()))
    for tenant in config.tenants.values():
        told += everything_of(tenant) + "".join(map(everything_of, tenant.keys))

    assert len(told) > 5_000
    assert not [name for name, canary in CANARIES.items() if canary in told]


@pytest.mark.parametrize("place", ["api_key", "base_url", "kind", "network", "max_concurrency"])
def test_no_secret_is_in_what_is_said_of_a_wrong_file(environ: dict[str, str], place: str) -> None:
    written = configuration("http://127.0.0.1:1")
    for wrong in ("${UPSTREAM_KEY}", ["${UPSTREAM_KEY}"], {"${UPSTREAM_KEY}": "${SECOND_KEY}"}):
        written["providers"] = {"a": {**written["providers"]["a"], place: wrong}}
        written["tenants"]["acme"]["keys"] = [{"name": "${TENANT_KEY}", "key": "${SECOND_KEY}"}]
        with pytest.raises(ConfigError) as raised:
            parse(json.dumps(written).encode(), "file", environ, Registry.load().find)
        told = f"{raised.value} {raised.value!r} {raised.value.lines}"
        assert not [name for name, canary in CANARIES.items() if canary in told]


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("serve", {"LOCKGATE_ENVIRONMENT": "production"}),  # where debug lines are refused
        ("serve", {"LOCKGATE_REDIS_URL": f"nonsense://:{CANARIES['redis password']}@h"}),
        ("serve", {"LOCKGATE_DATABASE_URL": f"mysql://u:{CANARIES['older pepper']}@h/d"}),
        ("serve", {"LOCKGATE_PORT": CANARIES["jwt secret"]}),
        ("serve", {"LOCKGATE_ADMIN_LISTEN": CANARIES["jwt secret"]}),
        ("migrate", {}),
        ("tenants list", {}),
    ],
)
def test_no_secret_is_in_what_is_said_of_a_command_that_fails(
    environ: dict[str, str], command: str, change: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(configuration("http://127.0.0.1:1")))
    own = {"LOCKGATE_STATE_DIR": str(tmp_path), "LOCKGATE_CONFIG": str(file)}
    done = run(*command.split(), env=environment(**{**environ, **own, **change}))
    told = done.stdout + done.stderr

    assert done.returncode in (1, 2)
    assert "lockgate: " in told
    assert "Traceback" not in told
    assert not [name for name, canary in CANARIES.items() if canary in told]
