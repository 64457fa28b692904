"""Configuration files: one that can be used, or faults with their lines that show no secret."""

from gateway.config import ConfigError, parse
from tests.support.configuration import ENVIRON, GOOD, KEY, SECRET, provider_class

SEEDS = (
    GOOD.encode(),
    b"{}",
    b"providers: {a: {kind: plain, base_url: '${UPSTREAM_KEY}'}}\n",
    b"providers:\n  a: {kind: plain, api_key: [${ACME_KEY}], base_url: ${UPSTREAM_KEY}}\n",
    b"models: {a: {targets: [], fallback: {to: [a], on: [unavailable]}}}\n",
    b"a: &x [1]\nb: *x\n",
    b"plans: {p: {requests: 017/minute, tokens: 1e400, budget: .inf USD/month}}\n",
    b"? [a]\n: b\n",
    b"!!python/object:os.system ls\n",
    b"%YAML 9.9\n---\n{a: 1}\n---\nb\n",
    b"a: '\xe2\x80\xae\xef\xbb\xbf'\n",
    b"\xff\xfea",
    b"[" * 30,
    b'a: "\\x1b\\u202e${"\n',
    b"tenants: {acme: {models: ['*'], keys: [{name: ci, key_hash: 'a:b'}]}}\n",
    b"health: {window: 60:60, ramp: 0x10, consecutive_failures: 1_0}\n",
)


def fuzz_configuration(data: bytes) -> None:
    """Faults are told a line each, and hold nothing of the environment."""
    try:
        parse(data, "file.yaml", ENVIRON, provider_class)
    except ConfigError as error:
        _check(error)


def _check(error: ConfigError) -> None:
    assert error.lines
    for line in error.lines:
        assert line.isprintable(), line
        assert SECRET not in line
        assert KEY not in line
