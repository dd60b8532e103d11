"""Who may import whom, what the core may not know, and what a start must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROOT = Path(__file__).parents[1]
COMMON = {"mux", "mux.errors", "mux.limits"}

ALLOWED = {
    "core": {"core"},
    "wire": {"wire", "core"},
    "rendezvous": {"rendezvous", "wire", "core", "failpoints"},
    "config": {"config", "rendezvous"},  # of the rendezvous how a file is replaced
    "shim": {"shim", "config", "rendezvous", "wire", "core", "failpoints"},
    "backend": {"backend", "config", "known", "rendezvous", "wire", "core", "failpoints"},
    # of the shim its options
    "cli": {"cli", "backend", "config", "known", "shim", "rendezvous", "wire", "core"},
}
"""core ← wire ← rendezvous ← shim; core, wire, rendezvous ← backend ← cli. config stands beside the core."""

STDLIB_ONLY = ("wire", "rendezvous", "shim", "config")
IMPURE = words(
    "anyio asyncio datetime logging os pathlib psutil random secrets select selectors signal socket subprocess sys "
    "tempfile threading time uuid uvloop"
)
HEAVY = words(
    "anyio argparse asyncio dataclasses inspect json logging msgspec pathlib psutil random re selectors shutil socket "
    "subprocess tempfile threading typing uvloop"
)
"""What no shim needs that serves; each costs its start milliseconds or its process megabytes."""
FOR_TESTS = {"mcp", "pytest", "hypothesis"}

MODULES = sorted((ROOT / "mux").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever it does it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            module = node.module or ""
            yield module, node.lineno
            if module in {"mux", *(f"mux.{package}" for package in ALLOWED)}:
                for alias in node.names:
                    if _is_module(f"{module}.{alias.name}"):
                        yield f"{module}.{alias.name}", node.lineno


def _is_module(name: str) -> bool:
    base = ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").exists() or base.is_dir()


def package(path: Path) -> str:
    parts = path.relative_to(ROOT / "mux").parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_point_one_way_only(path: Path) -> None:
    mine = package(path)
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if name.startswith("mux.") and name not in COMMON and mine and name.split(".")[1] not in ALLOWED[mine]
    ]
    assert not wrong


@pytest.mark.parametrize("path", [path for path in MODULES if package(path) == "core"], ids=lambda path: path.name)
def test_the_core_knows_no_clock_no_chance_and_no_system(path: Path) -> None:
    assert not [f"line {line}: {name}" for name, line in imports(path) if name.partition(".")[0] in IMPURE]


@pytest.mark.parametrize("path", [path for path in MODULES if package(path) in STDLIB_ONLY], ids=lambda path: path.name)
def test_the_way_of_the_shim_needs_the_standard_library_only(path: Path) -> None:
    known = {*sys.stdlib_module_names, "mux", "__future__"}
    assert not [f"line {line}: {name}" for name, line in imports(path) if name.partition(".")[0] not in known]


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_what_tests_need_is_not_imported(path: Path) -> None:
    assert not [f"line {line}: {name}" for name, line in imports(path) if name.partition(".")[0] in FOR_TESTS]


def loaded_by(statement: str) -> set[str]:
    """Modules in a fresh interpreter after `statement`, without those that any interpreter has."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    python = [sys.executable, "-c", code]
    return set(subprocess.run(python, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT).stdout.split())


def test_importing_mux_loads_nothing_else() -> None:
    assert {name for name in loaded_by("import mux") if name.startswith("mux")} == {"mux"}


def test_a_shim_that_serves_loads_nothing_heavy() -> None:
    names = loaded_by("import mux.shim.main, mux.shim.relay, mux.rendezvous.attach, mux.rendezvous.spawn")
    assert not names & HEAVY


def test_a_backend_loads_neither_the_sdk_nor_the_commands() -> None:
    names = loaded_by("import mux.backend.daemon, mux.backend.runtime")
    assert not {name for name in names if name.partition(".")[0] == "mcp" or name.startswith("mux.cli")}


def test_a_backend_that_a_shim_starts_loads_no_parser_and_no_pickle() -> None:
    names = loaded_by("import mux.backend.daemon, mux.backend.serve, mux.backend.resolve, mux.core.pool")
    assert not names & {"argparse", "logging.handlers", "pickle", "psutil"}
