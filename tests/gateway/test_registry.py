"""Kinds become classes by entry point, ours and a stranger's alike."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gateway.registry import GROUP, BrokenProvider, Registry, UnknownKind

ACME = Path(__file__).parents[1] / "support" / "acme_provider"
USE_ACME = """
import json, sys
from gateway.contract.provider import Target
from gateway.registry import Registry

registry = Registry.load()
before = [name for name in sys.modules if name.startswith(("providers", "acme"))]
model = registry.find("acme").Settings
settings = model(kind="acme", base_url="http://127.0.0.1:9", api_key="k", region="south")
provider = registry.build("a", settings)
body = {"model": "public", "messages": [{"role": "user", "content": "Hello"}]}
sent = provider.encode("chat", body, Target("a", "engine-1"))
after = [name for name in sys.modules if name.startswith(("providers", "acme"))]
print(json.dumps([registry.kinds, before, after, sent.url, json.loads(sent.content)]))
"""


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_the_kinds_that_lockgate_brings_are_registered() -> None:
    registry = Registry.load()

    assert set(registry.kinds) >= {"openai", "huggingface", "vllm"}
    assert [registry.find(kind).__name__ for kind in ("openai", "huggingface", "vllm")] == [
        "OpenAI",
        "HuggingFace",
        "VLLM",
    ]


def test_a_provider_is_built_with_its_name_and_settings() -> None:
    registry = Registry.load()
    settings = registry.find("vllm").Settings(kind="vllm", base_url="http://127.0.0.1:9101")

    provider = registry.build("vllm-a", settings)

    assert (provider.name, provider.settings) == ("vllm-a", settings)


@pytest.mark.parametrize("kind", ["openia", "OpenAI", "vlm", "hugingface"])
def test_an_unknown_kind_is_refused_with_the_nearest_known_one(kind: str) -> None:
    with pytest.raises(UnknownKind, match=r"did you mean '(openai|vllm|huggingface)'\?"):
        Registry.load().find(kind)


def test_a_kind_like_no_other_is_refused_with_all_known_ones() -> None:
    with pytest.raises(UnknownKind, match="known: huggingface, openai, vllm"):
        Registry.load().find("xyz")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no.such.module:Thing", "can't be imported: ModuleNotFoundError"),
        ("providers.openai:NoSuchClass", "can't be imported: AttributeError"),
        ("json:dumps", "is no Provider: json:dumps"),
        ("gateway.contract.provider:Target", "is no Provider"),
        ("gateway.contract.provider:Provider", "lacks encode, error, reader"),
    ],
)
def test_a_broken_plug_in_is_one_clear_error(value: str, told: str) -> None:
    registry = Registry([entry("acme", value), entry("vllm", "providers.vllm:VLLM")])

    with pytest.raises(BrokenProvider, match=told) as raised:
        registry.find("acme")
    assert "provider kind 'acme'" in str(raised.value)
    assert registry.find("vllm").__name__ == "VLLM"


def test_a_kind_that_two_distributions_claim_is_refused() -> None:
    registry = Registry([entry("a", "x:A"), entry("a", "y:A")])

    with pytest.raises(BrokenProvider, match="claimed by several"):
        registry.find("a")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages, where pip has installed the stranger's."""
    source = shutil.copytree(ACME, tmp_path / "source")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", site, source], check=True, timeout=90)
    return site


def test_a_provider_of_another_installed_package_is_found_and_used(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USE_ACME],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        timeout=30,
    )
    kinds, before, after, url, sent = json.loads(done.stdout)

    assert "acme" in kinds
    assert before == [], "no provider is imported before it is asked for"
    assert after == ["acme_provider"], "and none but the one that is"
    assert url == "http://127.0.0.1:9/south/chat"
    assert sent == {"engine": "engine-1", "turns": [{"who": "user", "say": "Hello"}]}


def test_a_broken_package_is_named_with_its_distribution(site: Path) -> None:
    (site / "acme_provider.py").write_text("raise RuntimeError('half installed')")
    done = subprocess.run(
        [sys.executable, "-c", USE_ACME],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert (
        done.stderr.decode()
        .splitlines()[-1]
        .endswith(
            "BrokenProvider: provider kind 'acme' of lockgate-acme can't be imported: "
            "RuntimeError('half installed')"
        )
    )
