"""Prints what a package's files import from each other, and how long their functions are.

Usage: python_source.py PACKAGE_FOLDER. Each line of the output has its fields separated by tabs:

    import    FROM_FILE  TO_FILE  NAME
    function  FILE       NAME     FIRST_LINE  LINES

Files are named from the package's folder. A docstring's lines are not counted.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# The names that a search has met already, each with its module.
Seen = frozenset[tuple[str, str]]


class Package:
    """The modules of a package, by dotted name; the package itself has the empty name."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.files: dict[str, str] = {}
        self.trees: dict[str, ast.Module] = {}
        for path in sorted(folder.rglob("*.py")):
            file = path.relative_to(folder)
            parts = file.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.files[module] = file.as_posix()
            self.trees[module] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))

    def hands_on(self, module: str) -> bool:
        return self.files[module].endswith("__init__.py")

    def absolute(self, module: str, node: ast.ImportFrom) -> str | None:
        """Returns the module after `from`, or None when it lies outside of the package."""
        named = node.module or ""
        if node.level == 0:
            return self.inside(named)
        parts = module.split(".") if module else []
        up = node.level - 1 if self.hands_on(module) else node.level
        parts = parts[: len(parts) - up]
        return ".".join([*parts, *filter(None, [named])])

    def inside(self, dotted: str) -> str | None:
        first, _, rest = dotted.partition(".")
        return rest if first == self.name else None

    def owner(self, module: str, name: str, seen: Seen = frozenset()) -> str | None:
        """Returns the module that defines `name`, as `from module import name` finds it."""
        below = f"{module}.{name}" if module else name
        if below in self.files:
            return below
        if module not in self.files:
            return None
        if not self.hands_on(module) or (module, name) in seen:
            return module
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    source = self.absolute(module, node)
                    if source is not None and (alias.asname or alias.name) == name:
                        return self.owner(source, alias.name, seen | {(module, name)})
        return module

    def imports(self, module: str) -> Iterator[tuple[str, str]]:
        """Yields each module that this one imports, with the name that it uses."""
        tree = self.trees[module]
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    target = self.inside(alias.name)
                    if target is not None and target in self.files:
                        yield target, alias.name
            elif isinstance(node, ast.ImportFrom):
                source = self.absolute(module, node)
                for alias in node.names if source is not None else ():
                    if self.hands_on(module) and (alias.asname or alias.name) not in used:
                        continue
                    yield from self.named(tree, source, alias)

    def named(self, tree: ast.Module, source: str, alias: ast.alias) -> Iterator[tuple[str, str]]:
        """Yields the module behind an imported name; for a package, those of the names it uses."""
        target = self.owner(source, alias.name)
        if target is None:
            return
        is_package = target != source and self.hands_on(target)
        attributes = attributes_of(tree, alias.asname or alias.name) if is_package else []
        for attribute in attributes:
            owner = self.owner(target, attribute)
            if owner is not None:
                yield owner, attribute
        if not attributes:
            yield target, alias.name


def attributes_of(tree: ast.Module, name: str) -> list[str]:
    """Returns every `x` of the expressions `name.x`."""
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    ]


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """Yields each function's name, first line and number of lines."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = child.end_lineno - child.lineno + 1
            if ast.get_docstring(child, clean=False) is not None:
                docstring = child.body[0]
                lines -= docstring.end_lineno - docstring.lineno + 1
            yield name, child.lineno, lines
        yield from functions(child, f"{name}." if name != prefix else prefix)


def main() -> None:
    package = Package(Path(sys.argv[1]))
    for module, file in package.files.items():
        for target, name in package.imports(module):
            print("import", file, package.files[target], name, sep="\t")
        for name, first, lines in functions(package.trees[module]):
            print("function", file, name, first, lines, sep="\t")


if __name__ == "__main__":
    main()
