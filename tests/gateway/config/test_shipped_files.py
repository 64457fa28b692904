"""The files under config/: each loads with the environment that it documents."""

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from gateway.access import Access, Caller, ConfiguredKeys, Key, Peppers
from gateway.config import Config, ConfigError, load, reference, schema
from gateway.contract.errors import InvalidKey
from gateway.pricing.catalogue import Catalogue
from gateway.registry import Registry
from gateway.wiring import bounds

FILES = Path(__file__).parents[3] / "config"
EXAMPLES = sorted((FILES / "examples").glob("*.yaml"))
PEPPER = b"a pepper of the tests"
KEY = Key.generate(Random(21))
# What a value of each documented variable looks like.
ENVIRON = {
    "OPENAI_API_KEY": "sk-made-up",
    "HF_TOKEN": "hf_madeup",
    "HOST_URL": "https://llm.example.com/v1",
    "HOST_KEY": "made-up",
    "ACME_KEY": KEY.reveal(),
    "ACME_KEY_HASH": KEY.stored(PEPPER),
}
provider_class = Registry.load().find
OURS = ("huggingface", "openai", "vllm")


LISTED = Catalogue(datetime(2026, 11, 1, tzinfo=UTC)).find


def loaded(file: Path, environ: Mapping[str, str]) -> Config:
    return load(file, environ, provider_class, LISTED)


def caller_of(config: Config, key: str) -> Caller:
    access = Access(ConfiguredKeys(config.tenants, PEPPER), Peppers(PEPPER))
    return asyncio.run(access.caller({b"x-api-key": [key.encode()]}))


def documented(file: Path) -> set[str]:
    """The variables that the comment at a file's top lists."""
    return set(re.findall(r"^#   ([A-Z_]+) ", file.read_text(), re.MULTILINE))


def active(config: Config) -> set[str]:
    return {
        name
        for name, settings in config.providers.items()
        if provider_class(settings.kind)(name, settings).is_active
    }


def test_the_default_file_starts_without_any_credential() -> None:
    config = loaded(FILES / "gateway.yaml", {})

    assert active(config) == {"vllm-a", "vllm-b"}
    assert len(ConfiguredKeys(config.tenants, PEPPER)) == 0
    assert [target.provider for target in config.models["chat-small"].targets] == [
        "vllm-a",
        "vllm-b",
    ]


def test_what_the_default_file_has_commented_out_works_as_well(tmp_path: Path) -> None:
    shown = re.sub(
        r"^( *)# (?=(budget|models|  gpt-4o-mini|pricing|  file|  unpriced|image_tokens)\b.*)",
        r"\1",
        (FILES / "gateway.yaml").read_text(),
        flags=re.MULTILINE,
    )
    (tmp_path / "gateway.yaml").write_text(shown)
    shutil.copy(FILES / "prices.yaml", tmp_path)

    config = loaded(tmp_path / "gateway.yaml", ENVIRON | {"LOCKGATE_DEMO_KEY": KEY.reveal()})

    assert config.plans["default"].budget == "20 USD/month; 1 USD/day"
    assert "gpt-4o-mini" in config.plans["default"].models
    assert config.models["chat-small"].image_tokens
    targets = [f"{t.provider}/{t.model}" for m in config.models.values() for t in m.targets]
    assert all(config.prices.of(target) for target in targets)


def test_the_example_with_budgets_has_prices() -> None:
    config = loaded(FILES / "examples" / "openai-only.yaml", ENVIRON)

    price = config.prices.of("openai/gpt-4o-mini")
    assert price is not None
    assert price.source.startswith("genai-prices")


def test_a_credential_makes_its_provider_active() -> None:
    config = loaded(FILES / "gateway.yaml", ENVIRON)

    assert active(config) == {"vllm-a", "vllm-b", "openai", "hf"}


def test_the_demo_key_of_the_environment_may_use_every_model() -> None:
    config = loaded(FILES / "gateway.yaml", {"LOCKGATE_DEMO_KEY": KEY.reveal()})

    caller = caller_of(config, KEY.reveal())
    assert caller.tenant == "demo"
    assert all(caller.may_use(model) for model in config.models)


def test_without_the_demo_key_nobody_is_let_in() -> None:
    config = loaded(FILES / "gateway.yaml", {})

    for text in ("", KEY.reveal()):
        with pytest.raises(InvalidKey):
            caller_of(config, text)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_loads_with_the_environment_that_it_documents(file: Path) -> None:
    config = loaded(file, {name: ENVIRON[name] for name in documented(file) & set(ENVIRON)})

    caller = caller_of(config, KEY.reveal())
    assert caller.tenant == "acme"
    assert any(caller.may_use(model) for model in config.models)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_documents_every_variable_that_it_reads(file: Path) -> None:
    text = file.read_text()
    read = set(re.findall(r"\$\{([A-Z_]+)", text))
    needed = set(re.findall(r"\$\{([A-Z_]+)\}", text))

    assert read == documented(file)
    with pytest.raises(ConfigError) as error:
        loaded(file, {})
    assert {name for name in needed if name in str(error.value)} == needed


def test_there_are_the_examples_that_the_readme_names() -> None:
    assert {file.stem for file in EXAMPLES} == {
        "compatible-host",
        "huggingface",
        "openai-only",
        "vllm-replicas-redis",
    }


def test_no_file_holds_a_key_or_a_credential() -> None:
    for file in [FILES / "gateway.yaml", *EXAMPLES]:
        assert not re.search(r"lg_[0-9A-Za-z]{12}|sk-\w|hf_\w", file.read_text())


def test_the_written_schema_is_current() -> None:
    current = schema({kind: provider_class(kind).Settings for kind in OURS})

    # `lockgate check --schema > config/schema.json` writes a fresh one.
    assert json.loads((FILES / "schema.json").read_text()) == current


def test_the_written_reference_is_current() -> None:
    current = reference({kind: provider_class(kind).Settings for kind in OURS}) + bounds.page()

    # `lockgate check --reference > config/README.md` writes a fresh one.
    assert (FILES / "README.md").read_text() == current
