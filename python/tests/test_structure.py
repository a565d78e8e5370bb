"""The package's own rules: no circle of imports, and files that fit on a few screens."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import steadygrad

ROOT = Path(steadygrad.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# The face of the package imports its parts by name, when they are first used.
NAMES = {".".join(("steadygrad", *path.relative_to(ROOT).with_suffix("").parts)) for path in FILES}
NAMES = {name.removesuffix(".__init__") for name in NAMES}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("steadygrad", *parts)).removesuffix(".__init__")


def imported_by(path):
    """All modules of the package that a file imports, inside of functions as well."""
    package = name_of(path) if path.stem == "__init__" else name_of(path).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package.split(".")[: len(package.split(".")) - node.level + 1]
        module = ".".join([*base, node.module] if node.module else base)
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            found.add(inner if inner in NAMES else module)
    # A package does not depend on itself, and the native part imports nothing.
    return {name for name in found if name in NAMES and name != name_of(path)}


def test_no_imports_form_a_circle():
    graph = {name_of(path): imported_by(path) for path in FILES}
    assert graph["steadygrad._guard.guard"] > {"steadygrad._guard.snapshots", "steadygrad.clip"}
    # Raises a CycleError that names the circle.
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name} has {lines} lines"
