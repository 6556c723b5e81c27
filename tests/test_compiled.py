"""Compiled functions keep to their own file, since Numba's cache knows no other.

A cached kernel is compiled anew when its own file changes, and never when one changes
whose numbers or functions it uses.
"""

import ast
import importlib
import inspect
import pkgutil
from types import CodeType

import pytest

import cascade
import eyeriss_sim
import pruning
from eyeriss_sim.dataflows import isca16_kernels
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.base import OBJECTIVES, SKIPS
from eyeriss_sim.machine import array

# What a kernel may use beside its own file: nothing that this project would change.
LIBRARIES = {"numpy", "numba", "math"}


def modules():
    """Names of all modules of the three packages."""
    return sorted(
        module.name for package in (eyeriss_sim, pruning, cascade)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))


def is_compiled(function):
    """Whether a function definition has a decorator of Numba."""
    for mark in function.decorator_list:
        mark = mark.func if isinstance(mark, ast.Call) else mark
        name = mark.attr if isinstance(mark, ast.Attribute) else getattr(mark, "id", "")
        if name in ("njit", "jit", "vectorize", "guvectorize", "stencil"):
            return True
    return False


def names_used(code):
    """Names that a code object, and those within it, look up outside themselves."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_used(constant)
    return names


def imported_names(tree):
    """Names that a file imports anywhere, and the module that each comes from."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {one.asname or one.name: "." * node.level + (node.module or "")
                      for one in node.names}
        elif isinstance(node, ast.Import):
            names |= {(one.asname or one.name).split(".")[0]: one.name
                      for one in node.names}
    return names


def foreign_names(source):
    """(kernel, name, module) of all that compiled functions take from other files."""
    tree = ast.parse(source)
    imported = imported_names(tree)
    code = {one.co_name: one for one in compile(tree, "a file", "exec").co_consts
            if isinstance(one, CodeType)}
    return {(node.name, name, imported[name])
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and is_compiled(node)
            for name in names_used(code[node.name]) & set(imported)
            if imported[name].split(".")[0] not in LIBRARIES}


@pytest.mark.parametrize("name", modules())
def test_no_compiled_function_uses_a_name_of_another_file(name):
    spec = importlib.util.find_spec(name)
    with open(spec.origin, encoding="utf-8") as file:
        assert foreign_names(file.read()) == set()


def test_a_kernel_that_uses_a_name_of_another_file_is_found():
    source = inspect.cleandoc("""
        import numpy as np
        from numba import njit
        from eyeriss_sim.dataflows.rs_kernels import RF, ceil_div
        OWN = 3

        @njit(cache=True)
        def kernel(a):
            return np.sum(a) + OWN + ceil_div(RF, 2)

        def not_compiled(a):
            return RF
        """)
    assert foreign_names(source) == {
        ("kernel", "RF", "eyeriss_sim.dataflows.rs_kernels"),
        ("kernel", "ceil_div", "eyeriss_sim.dataflows.rs_kernels")}


def test_the_files_of_kernels_are_among_those_looked_at():
    compiled = set()
    for name in modules():
        with open(importlib.util.find_spec(name).origin, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        if any(isinstance(node, ast.FunctionDef) and is_compiled(node)
               for node in ast.walk(tree)):
            compiled.add(name)
    assert {"eyeriss_sim.dataflows.rs_kernels", "eyeriss_sim.dataflows.isca16_kernels",
            "eyeriss_sim.zero_kernels", "eyeriss_sim.machine.array"} <= compiled


@pytest.mark.parametrize("name", ["ceil_div", "score_of", "keep_best"])
def test_helpers_of_both_searches_are_the_same(name):
    one, other = (inspect.getsource(getattr(module, name).py_func)
                  for module in (kernels, isca16_kernels))
    assert one == other


def test_both_searches_number_objectives_and_skips_as_their_names_stand():
    for module in (kernels, isca16_kernels):
        assert module.TIE == kernels.TIE
        assert [getattr(module, name.upper()) for name in OBJECTIVES] == [0, 1, 2, 3]
        assert [getattr(module, f"SKIP_{name.upper()}") for name in SKIPS] == [0, 1, 2]


def test_machine_and_model_have_the_same_pipeline():
    assert array.PIPELINE == kernels.PIPELINE
