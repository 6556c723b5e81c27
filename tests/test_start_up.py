"""What a command imports before it answers."""

import subprocess
import sys
import time

import numba
import pytest

from eyeriss_sim.terminal import announced_compilation

# Each takes a tenth of a second or more to import.
HEAVY = ("pandas", "pyarrow", "matplotlib", "torch", "onnx", "scipy.stats", "joblib")


@pytest.mark.parametrize("words", [
    ["simulate", "alexnet"], ["explain", "alexnet", "CONV3"], ["hardware"], ["--help"]])
def test_a_report_in_the_terminal_needs_no_library_of_tables_or_figures(words):
    script = ("import sys\n"
              "from eyeriss_sim.cli import main\n"
              "try:\n"
              f"    main({words!r})\n"
              "except SystemExit:\n"
              "    pass\n"
              f"print([one for one in {HEAVY!r} if one in sys.modules])")
    said = subprocess.run([sys.executable, "-c", script], capture_output=True,
                          text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_compiling_is_announced_and_a_long_run_of_compiled_kernels_is_not(capfd):
    @numba.njit
    def fresh(x):
        return x + 1

    with announced_compilation(patience_s=0):
        time.sleep(0.05)
    assert capfd.readouterr().err == ""
    with announced_compilation(patience_s=0):
        fresh(1)
        time.sleep(0.05)
    assert "compiling the kernels" in capfd.readouterr().err
    with announced_compilation(patience_s=0):
        fresh(2)
        time.sleep(0.05)
    assert capfd.readouterr().err == ""
