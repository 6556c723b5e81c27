"""Public functions say the types that they take and give, which ``py.typed`` promises.

mypy checks what is said; here it is held that something is.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("eyeriss_sim", "pruning", "cascade")
# Rooms that say them in part only; whoever completes one takes it from here.
OPEN = {f"eyeriss_sim/{room}" for room in (
    "dataflows", "importers", "lookup")}


def is_public(name):
    return not name.startswith("_") or name in ("__init__", "__call__")


def lacks_types(function, in_class):
    given = function.args
    names = [*given.posonlyargs, *given.args][in_class:] + given.kwonlyargs
    return not all(one.annotation for one in names) or (
        function.returns is None and function.name != "__init__")


def untyped(source):
    """Names of the public functions and methods without all of their types."""
    found = []
    for node in ast.parse(source).body:
        holds = node.body if isinstance(node, ast.ClassDef) else [node]
        if is_public(getattr(node, "name", "_")):
            found += [one.name for one in holds if isinstance(one, ast.FunctionDef)
                      and is_public(one.name) and not is_compiled(one)
                      and lacks_types(one, in_class=one is not node)]
    return found


def is_compiled(function):
    """Numba finds the types of its own."""
    return any("njit" in ast.unparse(mark) for mark in function.decorator_list)


def is_open(path):
    return any(str(one) in OPEN for one in (path, *path.parents))


@pytest.mark.parametrize("source, names", [
    ("def f(a, b: int) -> int: ...", ["f"]), ("def f(a: int) -> int: ...", []),
    ("def f(a: int): ...", ["f"]), ("def _f(a): ...", []),
    ("class A:\n    def __init__(self, a): ...\n    def m(self) -> int: ...",
     ["__init__"]),
    ("class A:\n    def m(self): ...\nclass _B:\n    def m(self): ...", ["m"]),
    ("@njit(cache=True)\ndef f(a): ...", [])])
def test_a_function_without_types_is_found(source, names):
    assert untyped(source) == names


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_say_their_types(package):
    files = [file.relative_to(ROOT) for file in (ROOT / package).rglob("*.py")]
    assert not {str(file): names for file in files if not is_open(file)
                for names in [untyped((ROOT / file).read_text(encoding="utf-8"))]
                if names}


def test_rooms_that_are_named_as_open_are():
    for room in OPEN:
        files = [ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py")
        assert any(untyped(file.read_text(encoding="utf-8")) for file in files), room
