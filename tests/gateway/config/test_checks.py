from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing import MAX_FALLBACKS
from tests.support.configuration import GOOD, KEY, configured, line_of, refused


@pytest.mark.parametrize(
    ("part", "wrong", "told"),
    [
        (
            "{provider: a,",
            "{provider: aa,",
            "chat.targets[0].provider: no provider aa; did you mean a?",
        ),
        ("model: one", "model: one, weight: 0", None),
        ("plan: counted", "plan: count", "keys[1].plan: no plan count; did you mean counted?"),
        ("    models: [chat, org", "    plan: x\n    models: [chat, org", "acme.plan: no plan x"),
        (
            "models: [chat, org/",
            "models: [chats, org/",
            "models[0]: no model chats; did you mean chat?",
        ),
        ("models: [chat], plan", "models: [chta], plan", "no model chta; did you mean chat?"),
        (
            "models: [chat, org/",
            "models: [org/",
            "keys[1].models[0]: the tenant itself may not use chat",
        ),
        ("name: web", "name: ci", "keys[1].name: another key of this tenant is called ci"),
        ("first_content: 5s", "first_content: 3m", "180 s is longer than the total of 120 s"),
        ("{provider: b, model: two, w", "{provider: a, model: one, w", "same target as one above"),
        ("${WEB_KEY:-}", "${ACME_KEY}", "is the same key as tenants.acme.keys[0]"),
        ("max_output: 100", "", "models.chat: needs max_output, as plan counted limits the tokens"),
        (
            "concurrency: 3}",
            "models: {chta: {requests: 1/minute}}}",
            "plans.counted.models.chta: no model chta; did you mean chat?",
        ),
        (
            "{tokens: 1000/minute",
            '{budget: "5 EUR/day"',
            "is no budget; write it like",
        ),
    ],
)
def test_parts_that_disagree_are_told_with_place(part: str, wrong: str, told: str | None) -> None:
    text = GOOD.replace(part, wrong, 1)
    web = "" if "max_output" not in part else KEY
    if told is None:
        assert configured(text).models
        return
    environ = {"WEB_KEY": web, "ACME_KEY": ""} if web else {}
    lines = refused(text, **environ)

    assert any(told in line for line in lines), lines


def test_a_missing_default_plan_is_told_where_a_tenant_relies_on_it() -> None:
    text = GOOD.replace("  default: {requests: 10/minute}\n", "")

    (told,) = refused(text)
    assert told.startswith(
        f"file.yaml:{line_of(text, 'acme:')}: tenants.acme.plan: no plan default"
    )


def test_weights_that_are_all_zero_are_told() -> None:
    text = GOOD.replace("model: one}", "model: one, weight: 0}").replace("weight: 3", "weight: 0")

    (told,) = refused(text)
    assert "needs a weight above 0" in told


def test_without_a_token_limit_no_model_needs_max_output() -> None:
    text = GOOD.replace("max_output: 100", "").replace(", plan: counted", "")

    assert configured(text).models["chat"].max_output is None


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ('budget: "1 USD/day"', "money"),
        ("models: {chat: {tokens: 5/minute}}", "tokens"),
        ('models: {chat: {budget: "1 USD/day"}}', "money"),
    ],
)
def test_a_budget_or_a_models_own_limit_needs_a_bound_as_well(limits: str, what: str) -> None:
    text = GOOD.replace("max_output: 100", "").replace("tokens: 1000/minute", limits)

    (told,) = refused(text, WEB_KEY=KEY, ACME_KEY="")
    assert f"models.chat: needs max_output, as plan counted limits the {what} of tenant" in told


def test_a_models_own_limit_asks_nothing_of_other_models() -> None:
    text = GOOD.replace(
        "tokens: 1000/minute", "models: {org/other:latest: {tokens: 5/minute}}"
    ).replace("max_output: 100", "")

    assert configured(text, WEB_KEY=KEY, ACME_KEY="").models["chat"].max_output is None


def test_a_tenant_that_may_use_all_models_under_a_token_limit_needs_all_bounded() -> None:
    text = GOOD.replace("models: [chat, org", 'plan: counted\n    models: ["*", org')

    (told,) = refused(text)
    assert told.startswith(f"file.yaml:{line_of(text, 'org/other')}: ")
    assert "needs max_output" in told


def test_a_provider_that_no_model_uses_is_fine() -> None:
    extra = GOOD.replace("models:", "  c: {kind: plain, base_url: http://c}\nmodels:", 1)

    assert "c" in configured(extra).providers


# Fallbacks: row 51 of the failures.


def _models(ways: dict[str, list[str]]) -> str:
    target = "targets: [{provider: a, model: m}]"
    lines = [
        f"  {name}: {{{target}, fallback: {{to: [{', '.join(to)}]}}}}"
        if to
        else f"  {name}: {{{target}}}"
        for name, to in ways.items()
    ]
    provider = "providers:\n  a: {kind: plain, base_url: http://a.example}\n"
    return provider + "models:\n" + "\n".join(lines) + "\n"


def _longest(ways: dict[str, list[str]], name: str, seen: frozenset[str]) -> float:
    """Models on the longest way from one, infinite where it is a circle."""
    if name in seen:
        return inf
    return 1 + max((_longest(ways, each, seen | {name}) for each in ways[name]), default=0)


_NAMES = "bcdefgh"
_ways = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(_NAMES), max_size=2, unique=True) for name in _NAMES}
)


@given(_ways)
@settings(max_examples=150)
def test_fallbacks_are_accepted_if_and_only_if_they_end_soon(ways: dict[str, list[str]]) -> None:
    longest = max(_longest(ways, name, frozenset()) for name in ways)
    text = _models(ways)

    if longest <= MAX_FALLBACKS:
        assert configured(text).models
    else:
        assert all(".fallback.to: leads " in line for line in refused(text))


def test_a_fallback_that_is_no_model_is_told() -> None:
    (told,) = refused(_models({"chat": ["chta"]}))
    assert told.endswith("models.chat.fallback.to[0]: no model chta; did you mean chat?")


def test_a_long_chain_of_fallbacks_is_told() -> None:
    chain = {f"m{i}": [f"m{i + 1}"] for i in range(50)} | {"m50": []}
    assert any("5 are the most" in line for line in refused(_models(chain)))
