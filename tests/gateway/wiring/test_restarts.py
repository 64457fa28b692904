"""What a reload can not apply is named, and nothing else is."""

import pytest

from gateway.config import Config
from gateway.wiring.restarts import APPLIED, APPLIED_FIELDS, needs_restart
from tests.support.application import CONFIG, configured

MORE = """
limits: {lease: 10s, token_estimate: strict, budgets_on_store_error: local}
http: {max_body: 1000, cors: {origins: ["https://a.example"]}}
upstream: {connect_timeout: 1.0}
ops: {public: true}
quarantine: {window: 60s}
"""


def test_nothing_is_named_where_nothing_has_changed() -> None:
    assert needs_restart(configured(), configured()) == ()


def test_what_only_the_next_start_applies_is_named_by_section_and_field() -> None:
    assert needs_restart(configured(), configured(CONFIG + MORE)) == (
        "http.cors",
        "http.max_body",
        "limits.lease",
        "ops.public",
        "quarantine.window",
        "upstream.connect_timeout",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("owned_by: somebody", "owned_by: somebody-else"),
        ("plan: free}", "plan: free}\n  third: {models: [chat], plan: free}"),
        ("  free: {}", "  free: {requests: 1/minute}\n  other: {}"),
        ("providers:", "access: {on_revoke: finish}\nhealth: {window: 7}\nproviders:"),
        ("providers:", "pricing: {unpriced: free}\nproviders:"),
        ("providers:", "limits: {token_estimate: strict}\nproviders:"),
        ("providers:", "quarantine: {enabled: false, backends: 3}\nproviders:"),
        ('kind: vllm, base_url: "${SIM}"', "kind: vllm, base_url: http://127.0.0.1:1"),
    ],
)
def test_what_a_reload_applies_is_not_named(old: str, new: str) -> None:
    assert old in CONFIG
    config = configured(CONFIG.replace(old, new, 1))

    assert config != configured()
    assert needs_restart(configured(), config) == ()


def test_what_is_applied_is_a_section_or_a_field_that_there_is() -> None:
    assert Config.model_fields.keys() >= APPLIED
    for name in APPLIED_FIELDS:
        section, field = name.split(".")
        annotation = Config.model_fields[section].annotation
        assert field in annotation.model_fields  # type: ignore[union-attr]
