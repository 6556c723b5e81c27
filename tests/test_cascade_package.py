"""The package shows what a user needs, whatever was imported before."""

import subprocess
import sys

import pytest

import cascade

NEEDED = {"Study", "Chain", "Stage", "ROUTERS", "load_cascade", "build", "Level"}


def test_what_a_user_needs_is_there_by_name():
    assert set(dir(cascade)) >= NEEDED
    for name in dir(cascade):
        assert getattr(cascade, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'built'"):
        _ = cascade.built


@pytest.mark.parametrize("before", ["cascade.building", "cascade.cli"])
def test_names_are_no_modules_and_torch_waits(before):
    code = (f"import sys, cascade; assert 'torch' not in sys.modules; dir(cascade); "
            f"assert 'torch' not in sys.modules; import {before}; from types import "
            "ModuleType; from cascade import *; assert callable(build) and "
            "callable(load_cascade) and not isinstance(cascade.build, ModuleType)")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
