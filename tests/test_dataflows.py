"""Dataflows behind one protocol, and one that a user's file brings."""

import subprocess
import sys

import pytest

from eyeriss_sim import ConvLayer, Network, simulate
from eyeriss_sim.dataflows import DATAFLOWS
from eyeriss_sim.hardware import load_hardware, preset_names

# Every word of the analysis, but for weights, which come from DRAM for each image.
OWN = '''
from eyeriss_sim.dataflows import DATAFLOWS, register
from eyeriss_sim.levels import DRAM, FILTER, READ

@register
class Forgetful(type(DATAFLOWS["isca16"])):
    """The analysis of 2016, but filters are read anew for every image."""

    name = "forgetful"

    def count(self, layer, hardware, mapping):
        counts = super().count(layer, hardware, mapping)
        counts.accesses[DRAM, FILTER, READ] *= layer.N / -(-layer.N // mapping.n)
        return counts
'''


def test_the_chip_and_the_analysis_are_found_by_name():
    assert {"chip", "isca16"} <= set(DATAFLOWS)
    for preset in preset_names():
        hardware = load_hardware(preset)
        assert hardware.dataflow is DATAFLOWS[hardware.accounting]
        for field in hardware.dataflow.needs:
            assert getattr(hardware, field) is not None
        assert not set(hardware.dataflow.needs) & set(hardware.dataflow.ignores)


def test_a_users_dataflow_is_one_file(tmp_path):
    (tmp_path / "forgetful.py").write_text(OWN)
    (tmp_path / "own.toml").write_text(
        'extends = "isca16_256"\naccounting = "forgetful"\n')
    (tmp_path / "net.csv").write_text("layer,N,M,C,H,W,R,S,U\nfc,4,32,16,1,1,1,1,1\n")
    done = subprocess.run(
        [sys.executable, "-m", "eyeriss_sim", "simulate", tmp_path / "net.csv",
         "--hardware", tmp_path / "own.toml", "--plugin", tmp_path / "forgetful.py",
         "--out", tmp_path / "out.csv"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "forgetful" in done.stdout
    import pandas as pd
    own = pd.read_csv(tmp_path / "out.csv")
    layer = ConvLayer(name="fc", N=4, M=32, C=16, H=1, W=1, R=1, S=1)
    known = simulate(Network("net", [layer]), "isca16_256").table
    assert own.n[0] == known.n[0] == 4
    # Ifmaps and ofmaps once, 200 MAC energies a word; filters 4 times in place of once.
    assert own.dram_MAC[0] - known.dram_MAC[0] == pytest.approx(200 * 3 * 32 * 16)


def test_a_dataflow_that_is_not_known_is_refused_by_name(tmp_path):
    (tmp_path / "own.toml").write_text(
        'extends = "isca16_256"\naccounting = "forgetful"\n')
    with pytest.raises(ValueError, match="unknown accounting 'forgetful'; known: "):
        load_hardware(str(tmp_path / "own.toml"))
