"""Prices: stated ones first, then a list's; whatever is wrong in the file refuses the start."""

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load
from gateway.config.prices import no_list
from gateway.pricing import ListPrice, ModelUnpriced, Price, Rates
from tests.support.configuration import ENVIRON, GOOD, line_of, provider_class

PRICED = GOOD + "pricing: {file: prices.yaml}\n"
LISTED = Price(Rates(*[5 * 10**9] * 7))
STATED = """\
targets:
  a/one: {input: 0.15, output: 0.60, cached_input: 0.075}
  b/two:
    input: "${INPUT:-2.5}"
    output: 10
    tiers:
      - {above: 200000, input: 5, output: 15}
"""


def listed(name: str, model: str) -> Price | None:
    return LISTED if (name, model) == ("plain", "one") else None


def loaded(
    folder: Path, prices: str | None, text: str = PRICED, list_price: ListPrice = listed
) -> Config:
    file = folder / "gateway.yaml"
    file.write_text(text)
    if prices is not None:
        (folder / "prices.yaml").write_text(prices)
    return load(file, ENVIRON, provider_class, list_price)


def refused(folder: Path, prices: str | None, text: str = PRICED) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(folder, prices, text)
    return [line.removeprefix(f"{folder}/") for line in error.value.lines]


def test_stated_prices_are_read_to_the_last_decimal_and_say_where(tmp_path: Path) -> None:
    prices = loaded(tmp_path, STATED).prices

    one, two = prices.of("a/one"), prices.of("b/two")
    assert one is not None
    assert two is not None
    assert one.rates[:2] == (150_000_000, 75_000_000)
    assert one.source == f"{tmp_path}/prices.yaml:2"
    assert two.rates.input == 2_500_000_000
    assert [above for above, _ in two.tiers] == [200_000]


def test_what_is_not_stated_comes_from_the_list_of_the_kind(tmp_path: Path) -> None:
    assert loaded(tmp_path, None, GOOD).prices.of("a/one") == LISTED
    assert loaded(tmp_path, STATED).prices.of("a/one") != LISTED
    assert loaded(tmp_path, None, GOOD, no_list).prices.of("a/one") is None


def test_a_kind_without_a_list_has_no_price_unless_it_is_stated(tmp_path: Path) -> None:
    assert loaded(tmp_path, None, GOOD).prices.of("b/two") is None
    with pytest.raises(ModelUnpriced):
        loaded(tmp_path, None, GOOD).prices.under_budget("b/two")


def test_lists_are_not_asked_for_what_is_stated_or_inactive(tmp_path: Path) -> None:
    asked = []

    def asking(name: str, model: str) -> Price | None:
        asked.append((name, model))
        return None

    inactive = PRICED.replace("kind: plain", 'kind: billed, bill_to: ""').replace(
        ', api_key: "${UPSTREAM_KEY}"', ""
    )
    loaded(tmp_path, STATED, PRICED, asking)
    loaded(tmp_path, "", inactive, asking)
    assert asked == []
    loaded(tmp_path, "", PRICED, asking)
    assert asked == [("plain", "one")]


def test_a_public_models_price_is_that_of_its_targets_without_their_own(tmp_path: Path) -> None:
    prices = loaded(
        tmp_path,
        "models:\n  chat: {input: 1, output: 2}\ntargets:\n  a/one: {input: 3, output: 4}\n",
    ).prices

    one, two = prices.of("a/one"), prices.of("b/two")
    assert one is not None
    assert two is not None
    assert (one.rates.input, two.rates.input) == (3 * 10**9, 10**9)
    assert two.source.endswith("prices.yaml:2")


def test_two_models_can_not_price_one_target_apart(tmp_path: Path) -> None:
    both = "models:\n  chat: {input: 1, output: 2}\n  org/other:latest: {input: 1, output: 3}\n"

    (told,) = refused(tmp_path, both)
    assert told.startswith('prices.yaml:3: models."org/other:latest": is not what model chat says')
    assert '"b/two"' in told
    assert loaded(tmp_path, both.replace("output: 3", "output: 2")).prices.of("b/two")
    assert loaded(tmp_path, both + "targets:\n  b/two: {input: 9, output: 9}\n").prices.of("b/two")


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("a/one", "a/on", 'targets."a/on": no target "a/on"; did you mean "a/one"?'),
        ("cached_input", "cached_inputs", "is not known here; did you mean cached_input?"),
        ("input: 0.15, ", "", 'targets."a/one".input: is required'),
        ("0.15", "-0.15", "must not be negative"),
        ("0.15", ".nan", "write numbers in plain decimals"),
        ("0.15", ".inf", "write numbers in plain decimals"),
        ("0.15", "0.0000000001", "has more than 9 decimals"),
        ("0.15", "150000", "is more than 100000 USD"),
        ("0.15", "true", "in plain decimals"),
        ("0.15", "1e3", "in plain decimals"),
        ("0.15", "", "in plain decimals"),
        ("0.15", '"${ABSENT}"', "ABSENT is not set"),
        ("{input: 0.15, output: 0.60, cached_input: 0.075}", "0.15", "must be a mapping"),
        ("b/two:", "a/one:", "is written twice, first in line 2"),
        ("targets:", "target:", "is not known here; did you mean targets?"),
        ("above: 200000", "above: 2.5", "valid integer"),
        ("{above: 200000", "[above: 200000", ""),
        ("targets:\n", "models:\n  cat: {input: 1, output: 1}\ntargets:\n", "did you mean chat?"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(
    tmp_path: Path, right: str, wrong: str, told: str
) -> None:
    text = STATED.replace(right, wrong, 1)
    lines = refused(tmp_path, text)

    assert any(told in line for line in lines), lines
    assert all(line.startswith("prices.yaml:") for line in lines)


def test_a_fault_in_the_file_names_its_own_line(tmp_path: Path) -> None:
    text = STATED.replace("output: 15", "output: x")

    (told,) = refused(tmp_path, text)
    assert told.startswith(f"prices.yaml:{line_of(text, 'above')}: ")


def test_a_file_that_is_not_there_refuses_the_start(tmp_path: Path) -> None:
    (told,) = refused(tmp_path, None)

    assert told == "prices.yaml: cannot be read: No such file or directory"


@pytest.mark.parametrize("empty", ["", "targets:\n", "# nothing yet\nmodels:\n"])
def test_an_empty_file_states_nothing(tmp_path: Path, empty: str) -> None:
    assert loaded(tmp_path, empty).prices.of("b/two") is None


BUDGET = PRICED.replace("plan: counted", "plan: paid").replace(
    "counted: {tokens: 1000/minute", 'paid: {budget: "1 USD/day"'
)


def test_a_model_under_a_budget_needs_a_price_for_each_target(tmp_path: Path) -> None:
    web = ENVIRON["ACME_KEY"]
    text = BUDGET.replace('"${WEB_KEY:-}"', '"${ACME_KEY}"').replace(
        '- {name: ci, key: "${ACME_KEY}"}', ""
    )
    assert web

    (told,) = refused(tmp_path, "", text)
    place = (
        "models.chat.targets[1]: needs a price in the prices file, as plan paid limits the money"
    )
    assert told.startswith(f"gateway.yaml:{line_of(text, '{provider: b, model: two')}: {place}")
    assert told.endswith("of tenant acme")
    assert loaded(tmp_path, STATED, text).prices.of("b/two")


def test_where_the_configuration_says_so_a_price_may_be_missing(tmp_path: Path) -> None:
    text = BUDGET.replace("{file: prices.yaml}", "{file: prices.yaml, unpriced: free}")
    prices = loaded(tmp_path, "", text).prices

    assert prices.of("b/two") is None
    assert prices.under_budget("b/two").cost.__self__.source == "pricing.unpriced: free"
