import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access import Key
from gateway.config import ConfigError, load
from tests.support.configuration import (
    ENVIRON,
    GOOD,
    KEY,
    SECRET,
    Billed,
    configured,
    line_of,
    provider_class,
    refused,
)


def test_a_file_is_read_with_each_provider_by_the_settings_of_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD)

    config = load(file, ENVIRON | {"ORG": "acme-org"}, provider_class)

    billed = config.providers["b"]
    assert isinstance(billed, Billed.Settings)
    assert billed.bill_to == "acme-org"
    assert config.providers["a"].base_url == "http://a.example"
    assert config.providers["a"].api_key.get_secret_value() == SECRET
    assert [target.weight for target in config.models["chat"].targets] == [1, 3]
    assert config.models["chat"].timeouts.total == 120.0
    assert config.tenants["acme"].keys[0].public_id == KEY[3:15]
    assert config.tenants["acme"].keys[1].public_id is None


def test_a_number_may_come_from_the_environment() -> None:
    text = GOOD.replace("max_output: 100", 'max_output: "${MAX}"')

    assert configured(text, MAX="77").models["chat"].max_output == 77


@pytest.mark.parametrize("name", ["absent.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name, {}, provider_class)


@pytest.mark.parametrize(
    ("part", "wrong", "told"),
    [
        ("max_output:", "max_ouput:", "is not known here; did you mean max_output?"),
        ("bill_to:", "bil_to:", "is not known here; did you mean bill_to?"),
        ("first_content:", "first_contents:", "did you mean first_content?"),
        ("weight: 3", "wieght: 3", "did you mean weight?"),
        ("plans:", "plan:", "is not known here; did you mean plans?"),
        ("{name: ci,", "{nam: ci,", "did you mean name?"),
        ("kind: billed", "kind: biled", "no provider of kind 'biled'"),
        ("5s", "5 parsecs", "must be a duration above 0"),
        ("strategy: weighted", "strategy: wieghted", "'ordered'"),
        ("max_output: 100", "max_output: many", "valid integer"),
        ("max_output: 100", "max_output: -1", "greater than 0"),
        ("base_url: http://b", "base_url: ftp://b", "must start with http"),
        ("  org/other:latest:", '  " org/other":', "printable text"),
        ("acme:", "Acme:", "pattern"),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_to_do(part: str, wrong: str, told: str) -> None:
    text = GOOD.replace(part, wrong, 1)
    lines = refused(text)

    at = f"file.yaml:{line_of(text, wrong.strip())}: "
    assert any(line.startswith(at) and told in line for line in lines), lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "file.yaml:1: providers: is required"),
        ("providers: {}\nmodels: {}", "file.yaml:2: models: "),
        ("providers: [a]", "file.yaml:1: providers: must be a mapping"),
        ("providers: {a: }", "file.yaml:1: providers.a: must be a mapping that names its kind"),
        ("providers: {a: {base_url: x}}", "must be a mapping that names its kind"),
        ("providers: {a: {kind: [x]}}", "must be a mapping that names its kind"),
        ("models: {a: 1}", "file.yaml:1: models.a: must be a mapping"),
        ("models: {a: {}}", "file.yaml:1: models.a.targets: is required"),
    ],
)
def test_a_file_of_another_shape_is_told(text: str, told: str) -> None:
    assert any(told in line for line in refused(text))


def test_all_faults_are_told_at_once_and_a_wrong_provider_only_once() -> None:
    text = GOOD.replace("kind: plain", "kind: plan").replace("max_output", "max_out")

    assert len(refused(text)) == 2


def test_a_heading_without_entries_counts_as_absent() -> None:
    head, _, _ = GOOD.partition("plans:")

    assert configured(head + "plans:\n  # default: {}\ntenants:\n").tenants == {}


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("${ACME_KEY}", "${ACME_KEY}x"),
        GOOD.replace('key: "${ACME_KEY}"', 'key_hash: "${ACME_KEY}"'),
        GOOD.replace('"http://a.example/v1"', '"${UPSTREAM_KEY}"'),
        GOOD.replace("requests: 10/minute", "requests: ${UPSTREAM_KEY}"),
        GOOD.replace("max_output: 100", "max_output: ${UPSTREAM_KEY}"),
        GOOD.replace("provider: b", "provider: ${UPSTREAM_KEY}"),
        GOOD.replace("plan: counted", "plan: ${ACME_KEY}"),
        GOOD.replace("kind: billed", "kind: ${ACME_KEY}"),
        GOOD.replace("strategy: weighted", "strategy: ${UPSTREAM_KEY}"),
        GOOD.replace("name: ci", "name: ${ACME_KEY}!"),
    ],
)
def test_no_fault_shows_what_the_environment_holds(text: str) -> None:
    told = "\n".join(refused(text))

    assert SECRET not in told
    assert KEY[16:48] not in told


def test_a_key_with_a_typing_error_is_told_as_such_and_not_shown() -> None:
    bad = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")
    text = GOOD.replace("${ACME_KEY}", bad)

    (told,) = refused(text)
    assert told.startswith(f"file.yaml:{line_of(text, 'name: ci')}: tenants.acme.keys[0].key: ")
    assert "not a Lockgate key" in told
    assert bad[16:48] not in told


LINES = GOOD.splitlines()
noise = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The good file with lines dropped, repeated, swapped or indented, and text put in."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "repeat", "swap", "indent", "insert", "replace"])):
            case "drop":
                lines[at] = ""
            case "repeat":
                lines.insert(other, lines[at])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "indent":
                lines[at] = (
                    draw(st.sampled_from(["  ", "\t", "- ", "? ", "&a ", "!b "])) + lines[at]
                )
            case "insert":
                column = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:column] + draw(noise) + lines[at][column:]
            case _:
                words = re.findall(r"[\w$/.]+", GOOD)
                lines[at] = lines[at].replace(
                    draw(st.sampled_from(words)), draw(noise | st.sampled_from(words))
                )
    return "\n".join(lines)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_mutated_file_is_a_configuration_or_a_config_error(text: str) -> None:
    try:
        configured(text)
    except ConfigError as error:
        told = str(error)
        assert all(line.startswith("file.yaml") for line in error.lines)  # noqa: PT017
        assert SECRET not in told
        assert KEY[16:48] not in told


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["UPSTREAM_KEY", "ACME_KEY", "ORG", "WEB_KEY"]), st.text()))
def test_any_environment_gives_a_configuration_or_a_config_error(environ: dict[str, str]) -> None:
    try:
        configured(**environ)
    except ConfigError as error:
        assert error.lines  # noqa: PT017 - either way is fine


def test_a_key_may_be_added_through_the_environment_alone() -> None:
    second = Key.generate(Random(12))

    assert configured(WEB_KEY=second.reveal()).tenants["acme"].keys[1].public_id == second.public_id
