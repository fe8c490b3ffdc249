"""The house stands: arrows point down, heavy imports stay where they belong, the face is light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = [  # from the roof to the ground; a module imports only from layers below its own
    {"cli"},
    {"bundle"},
    {"environment"},
    {"runner", "doctor", "endtoend", "evaluation", "export"},
    {"grading"},
    {"widgets"},
    {"exercises"},
    {"models"},
    {"minis"},
    {"ternary", "ple"},
    {"figures"},
    {"energy"},
    {"catalog", "claims", "bench"},
    {"quant", "ledger", "records", "thinking", "copies"},
    {"places"},
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
OWNERS = {  # who may import what
    "torch": {"models", "ternary", "ple", "minis", "endtoend", "evaluation", "export"},
    "transformers": {"models", "ternary", "minis", "endtoend", "evaluation", "export"},
    "plotly": {"figures", "widgets"},
    "ipywidgets": {"widgets"},
}
FILES = sorted(p for p in (ROOT / "slmlab").rglob("*.py") if p.name != "__main__.py")


def module_of(file: Path) -> str:
    """The top module of a file: slmlab/widgets/x.py -> widgets; slmlab/__init__.py -> "" (the face)."""
    first = file.relative_to(ROOT / "slmlab").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(file: Path) -> set[str]:
    """Absolute dotted names of everything a file imports, wherever in the file the import stands."""
    package = file.relative_to(ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def slmlab_modules(names: set[str]) -> set[str]:
    found = {name.split(".")[1] for name in names if name.startswith("slmlab.")}
    return found - {"__version__"}


def test_every_module_has_a_layer():
    modules = {module_of(file) for file in FILES} - {""}

    assert modules == set(DEPTH), "name a new module's layer in LAYERS and in slmlab/__init__.py"


def test_every_package_is_installed():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {file.parent.relative_to(ROOT).as_posix().replace("/", ".") for file in FILES if file.stem == "__init__"}

    assert folders == {name for name in wanted if name.startswith("slmlab")} - {"slmlab._datasets", "slmlab._labs"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_arrows_never_turn_back(file):
    here = module_of(file)
    for other in slmlab_modules(imports(file)) - {here}:
        assert here and DEPTH[other] > DEPTH[here], f"{here or 'slmlab/__init__.py'} must not import {other}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_heavy_libraries_are_imported_by_their_owners_alone(file):
    for name in {name.split(".")[0] for name in imports(file)} & set(OWNERS):
        assert module_of(file) in OWNERS[name], f"{file.name} imports {name}; only {OWNERS[name]} may"


@pytest.mark.parametrize("file", sorted((ROOT / "cython_kernels").rglob("*.py*")), ids=lambda f: f.name)
def test_the_kernels_stand_alone(file):
    assert "slmlab" not in {
        word
        for line in file.read_text(encoding="utf-8", errors="ignore").splitlines()
        if line.lstrip().startswith(("import ", "from ", "cimport "))
        for word in line.replace(".", " ").split()
    }


def test_the_face_loads_nothing_heavy():
    heavy = ["torch", "plotly", "ipywidgets", "transformers", "numpy"]
    code = f"import sys, slmlab; print([m for m in {heavy!r} if m in sys.modules])"

    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout

    assert found.strip() == "[]"


@pytest.mark.parametrize("module", sorted(set(DEPTH) - {"figures", "widgets", "ternary"}))
def test_a_module_loads_nothing_heavy_before_it_is_used(module):
    heavy = ["torch", "plotly", "ipywidgets", "transformers"]
    code = f"import sys, slmlab.{module}; print([m for m in {heavy!r} if m in sys.modules])"

    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout

    assert found.strip() == "[]"


def test_no_catch_all_module():
    names = {file.stem for file in FILES}

    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_the_map_in_the_face_names_every_module():
    face = (ROOT / "slmlab" / "__init__.py").read_text(encoding="utf-8")

    assert [name for name in DEPTH if name not in face.split()] == []
