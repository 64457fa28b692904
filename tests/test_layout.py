"""The shape of the code base: small modules, each with its tests, none of them a drawer."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "providers")
MODULES = sorted(
    path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
)
MAX_LINES = 400
MIN_MODULES = 3
DRAWERS = {"utils", "helpers", "common", "base", "core", "manager", "handler", "service", "misc"}
TESTED_AS_PROCESSES = {Path("gateway/__main__.py"), Path("gateway/demo.py")}
"""Modules whose only test is to run them: tests/system does."""


def _code(path: Path) -> list[ast.stmt]:
    body = ast.parse((ROOT / path).read_text()).body
    return [node for node in body if not _is_docstring(node)]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _only_re_exports(path: Path) -> bool:
    return all(
        isinstance(node, ast.ImportFrom)
        or (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) in {"__all__", "__version__"}
        )
        for node in _code(path)
    )


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_is_small(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_a_drawer(path: Path) -> None:
    assert not DRAWERS & set(path.with_suffix("").parts)


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p not in TESTED_AS_PROCESSES and not _only_re_exports(p)],
    ids=str,
)
def test_a_module_has_a_test_file_of_its_own(path: Path) -> None:
    assert (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()


# Migrations become more with time.
@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in MODULES if path.parent.name not in {*PACKAGES, "migrations"}}),
    ids=str,
)
def test_a_folder_has_more_than_two_modules(folder: Path) -> None:
    modules = [path for path in MODULES if path.parent == folder and path.name != "__init__.py"]
    assert len(modules) >= MIN_MODULES


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_is_imported_inside_a_function(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = [
        n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not inner
