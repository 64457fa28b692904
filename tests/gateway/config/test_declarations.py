from pathlib import Path
from random import Random

import pytest
import yaml

from gateway.access import Key, Pepper, TenantSettings
from gateway.admin.configured import Configured
from gateway.admin.difference import Object, State, difference, outcome
from gateway.config import ConfigError, Declarations, load_declarations
from gateway.limits import PlanSettings

FILES = Path(__file__).parents[3] / "config"
KEY = Key.generate(Random(1)).reveal()
CONFIGURED = Configured(
    plans={"default": PlanSettings()},
    tenants={"fixed": TenantSettings()},
    models=frozenset({"chat", "embed"}),
)

GOOD = """\
plans:
  gold: {requests: 600/minute}
tenants:
  acme:
    plan: gold
    models: [chat]
    projects:
      web: {title: The site}
    keys:
      - {name: ci, project: web, key: "${CI_KEY}"}
      - {name: own, models: [chat]}
"""


def loaded(text: str, tmp_path: Path, **environ: str) -> Declarations:
    file = tmp_path / "acme.yaml"
    file.write_text(text)
    return load_declarations(file, {"CI_KEY": KEY} | environ)


def there(declarations: Declarations) -> State:
    return outcome([each for each, _ in declarations.declared.objects()], ())


def faults(text: str, tmp_path: Path, *more: Object) -> list[str]:
    """What is wrong with a file, by line and message, once it is applied where `more` is."""
    declarations = loaded(text, tmp_path)
    with pytest.raises(ConfigError) as refused:
        declarations.check({**outcome(more, ()), **there(declarations)}, CONFIGURED)
    return [line.removeprefix(f"{tmp_path}/acme.yaml:") for line in refused.value.lines]


def test_a_good_file_is_read_and_refers_to_what_there_is(tmp_path: Path) -> None:
    declarations = loaded(GOOD, tmp_path)

    declarations.check(there(declarations), CONFIGURED)
    assert list(declarations.declared.tenants) == ["acme"]
    assert declarations.declared.verifiers(Pepper(b"p"))["acme", "ci"].public_id == KEY[3:15]


def test_a_heading_without_entries_names_nothing(tmp_path: Path) -> None:
    assert loaded("plans:\n  # gold: {}\ntenants: {}\n", tmp_path).declared.lists() == {
        ("tenant", ())
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "1: must be a mapping"),
        ("tenant: {}\n", "1: tenant: is not known here; did you mean tenants?"),
        ("tenants:\n  acme:\n    plans: x\n", "3: tenants.acme.plans: is not known here"),
        ("tenants:\n  acme:\n    title: ${NO_SUCH}\n", "3: tenants.acme.title: NO_SUCH is not set"),
        ("plans:\n  gold: {requests: 5}\n", "2: plans.gold.requests: "),
    ],
)
def test_a_file_that_can_not_be_read_is_told_with_its_line(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(text, tmp_path)

    assert f"acme.yaml:{told}" in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read: No such file"):
        load_declarations(tmp_path / "none.yaml", {})


def test_a_mistyped_key_is_told_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(GOOD, tmp_path, CI_KEY=KEY[:-1] + "0")

    assert "acme.yaml:10: " in str(refused.value)
    assert KEY[16:30] not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("plan: gold", "plan: golf", "5: tenants.acme.plan: no plan golf; did you mean gold?"),
        ("models: [chat]\n", "models: [chad]\n", "6: tenants.acme.models: no model chad"),
        (
            "project: web",
            "project: wep",
            "10: tenants.acme.keys[0].project: tenant acme has no project wep; did you mean web?",
        ),
        (
            "{name: own, models: [chat]}",
            "{name: own, models: [embed]}",
            "11: tenants.acme.keys[1].models: the tenant itself may not use embed",
        ),
        ("name: own", "name: ci", "11: tenants.acme.keys[1].name: another key of this tenant"),
        ("  acme:", "  fixed:", "4: tenants.fixed: tenant fixed is in the configuration file"),
        ("  gold:", "  default:", "2: plans.default: plan default is in the configuration file"),
        (
            "{name: own, models: [chat]}",
            '{name: own, key: "${CI_KEY}"}',
            "tenants.acme.keys[0]: is the same key as own of tenant acme",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_with_its_line(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    assert GOOD.count(old) == 1

    assert any(told in line for line in faults(GOOD.replace(old, new), tmp_path))


def test_what_the_store_has_may_be_referred_to(tmp_path: Path) -> None:
    declarations = loaded(
        "tenants:\n  acme: {plan: old, keys: [{name: ci, project: web, models: [chat]}]}\n",
        tmp_path,
    )
    stored = [
        Object("plan", ("old",), {}),
        Object("tenant", ("acme",), {"models": ("chat",)}),
        Object("project", ("acme", "web"), {}),
    ]

    declarations.check({**there(declarations), **outcome(stored, ())}, CONFIGURED)


def test_a_key_can_not_be_written_under_another_name(tmp_path: Path) -> None:
    other = Object("key", ("other", "ci"), {"public_id": KEY[3:15]})

    [told] = faults(GOOD, tmp_path, other)
    assert told.startswith("10: tenants.acme.keys[0]: is the same key as ci of tenant ")


def test_a_key_can_not_stay_in_a_project_that_goes(tmp_path: Path) -> None:
    declarations = loaded(
        "tenants:\n  acme:\n    projects: {}\n    keys:\n      - {name: ci}\n", tmp_path
    )
    stored = [
        Object("tenant", ("acme",), {"plan": "default"}),
        Object("project", ("acme", "web"), {}),
        Object("key", ("acme", "ci"), {"project": "web"}),
    ]
    desired = [each for each, _ in declarations.declared.objects()]
    steps = difference(desired, stored, prune=declarations.declared.lists())

    with pytest.raises(ConfigError, match=r":5: .*: tenant acme has no project web"):
        declarations.check(outcome(stored, steps), CONFIGURED)


def test_the_example_fits_the_default_configuration() -> None:
    config = yaml.safe_load((FILES / "gateway.yaml").read_text())
    configured = Configured(
        plans={"default": PlanSettings()}, tenants={}, models=frozenset(config["models"])
    )
    stored = Key.generate(Random(1)).stored(b"p")

    example = load_declarations(FILES / "examples/apply/tenants.yaml", {"SHOP_KEY_HASH": stored})

    example.check(there(example), configured)
    kinds = [each.kind for each, _ in example.declared.objects()]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "plan": 2,
        "tenant": 2,
        "project": 2,
        "key": 3,
    }
