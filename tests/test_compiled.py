"""Compiled functions keep to their own file, since Numba's cache knows no other.

A cached kernel is compiled anew when its own file changes, and never when one changes
whose numbers or functions it uses. A contract in pyproject.toml lets the files of
kernels import numpy and numba only; here its list of files is held complete.
"""

import ast
import inspect
import tomllib
from pathlib import Path

import pytest

from eyeriss_sim.dataflows import isca16_kernels
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.base import OBJECTIVES, SKIPS, kernel_place
from eyeriss_sim.machine import array

ROOT = Path(__file__).parent.parent
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "stencil"}


def has_compiled_functions(source):
    """Whether a file decorates a function with one of Numba's compilers."""
    marks = [mark.func if isinstance(mark, ast.Call) else mark
             for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.FunctionDef) for mark in node.decorator_list]
    return any((mark.attr if isinstance(mark, ast.Attribute)
                else getattr(mark, "id", "")) in COMPILERS for mark in marks)


@pytest.mark.parametrize("mark", ["njit", "njit(cache=True)", "numba.njit(cache=True)"])
def test_a_compiled_function_is_found(mark):
    assert has_compiled_functions(f"@{mark}\ndef kernel(a):\n    return a\n")


def test_the_contract_of_kernels_names_all_files_with_compiled_functions():
    compiled = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for package in ("eyeriss_sim", "pruning", "cascade")
        for file in (ROOT / package).rglob("*.py")
        if has_compiled_functions(file.read_text(encoding="utf-8"))}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named, = (contract["source_modules"]
              for contract in settings["tool"]["importlinter"]["contracts"]
              if contract["name"] == "Compiled kernels import numpy and numba only")
    assert compiled == set(named)


@pytest.mark.parametrize("name", ["ceil_div", "score_of", "keep_best"])
def test_helpers_of_both_searches_are_the_same(name):
    one, other = (inspect.getsource(getattr(module, name).py_func)
                  for module in (kernels, isca16_kernels))
    assert one == other


def test_both_searches_number_objectives_and_skips_as_their_names_stand():
    for module in (kernels, isca16_kernels):
        assert module.TIE == kernels.TIE
        # Normalised EDP is EDP where cycles cost nothing.
        assert [getattr(module, name.upper().removesuffix("_NORMALISED"))
                for name in OBJECTIVES] == list(map(kernel_place, OBJECTIVES))
        assert [getattr(module, f"SKIP_{name.upper()}") for name in SKIPS] == [0, 1, 2]


def test_machine_and_model_have_the_same_pipeline():
    assert array.PIPELINE == kernels.PIPELINE
