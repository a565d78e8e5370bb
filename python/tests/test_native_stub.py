"""`_native.pyi` promises what the compiled module takes: names, kinds and parameters."""

import ast
import inspect
from pathlib import Path

import pytest
from steadygrad import _native

STUB = Path(_native.__file__).with_name("_native.pyi")
# Conversions and comparisons that every class has, or that `object` declares.
UNTOLD = {"__doc__", "__module__", "__new__", "__repr__", "__getattribute__"}


def is_property(node):
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


def stubs(nodes):
    """By name: the classes, functions and constants among these nodes."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            # Of overloads the first names every parameter.
            found.setdefault(node.name, node)
        elif isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_"):
            found[node.target.id] = node
    return found


def parameters(function, skip):
    """Names, and whether each has a default."""
    arguments = function.args
    given = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][skip:]
    defaults = len(arguments.defaults)
    return [(name, place >= len(given) - defaults) for place, name in enumerate(given)]


def taken(callable_):
    found = inspect.signature(callable_).parameters.values()
    return [
        (each.name, each.default is not inspect.Parameter.empty)
        for each in found
        if each.name != "self"
    ]


MODULE = stubs(ast.parse(STUB.read_text()).body)
CLASSES = {name: node for name, node in MODULE.items() if isinstance(node, ast.ClassDef)}


def test_the_module_has_these_names_and_no_others():
    names = {name for name in vars(_native) if not name.startswith("__")}
    assert set(MODULE) == names


@pytest.mark.parametrize("name", sorted(set(MODULE) - set(CLASSES)))
def test_a_function_or_constant(name):
    node, value = MODULE[name], getattr(_native, name)
    if isinstance(node, ast.FunctionDef):
        assert parameters(node, 0) == taken(value)
    else:
        assert node.annotation.id == type(value).__name__


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class(name):
    cls, members = getattr(_native, name), stubs(CLASSES[name].body)
    assert {each.id for each in CLASSES[name].decorator_list} == {"final"}
    if "__new__" in members:
        assert parameters(members.pop("__new__"), 1) == taken(cls)
    else:
        with pytest.raises(TypeError, match=r"instances|constructor"):
            cls()
    assert set(members) == set(vars(cls)) - UNTOLD
    for member, node in members.items():
        value = inspect.getattr_static(cls, member)
        if is_property(node):
            assert inspect.isgetsetdescriptor(value), member
        elif isinstance(value, staticmethod):
            assert node.decorator_list[0].id == "staticmethod", member
            assert parameters(node, 0) == taken(value.__func__), member
        elif not member.startswith("__"):
            assert parameters(node, 1) == taken(value), member


def test_final_classes_have_no_subclasses():
    for name in CLASSES:
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type(name, (getattr(_native, name),), {})
