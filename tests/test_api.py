"""What ``import eyeriss_sim`` shows, and how results look in a notebook."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import eyeriss_sim
from eyeriss_sim import ConvLayer, Machine, Network, explain, simulate
from eyeriss_sim.levels import DIRECTIONS, KINDS, LEVELS


@pytest.fixture(scope="module")
def result():
    return simulate("alexnet", batch=4, mapping="published")


def test_the_package_shows_what_a_user_needs():
    assert {"EnergyOracle", "Machine", "explain", "load_hardware", "search", "simulate",
            "__version__"} <= set(dir(eyeriss_sim))
    assert all(getattr(eyeriss_sim, name) for name in dir(eyeriss_sim))


@pytest.mark.parametrize("first, second", list(itertools.permutations(
    ("eyeriss_sim.explain", "eyeriss_sim.search", "eyeriss_sim"), 2)))
def test_functions_are_functions_in_every_order_of_imports(first, second):
    code = (f"import {first}; import {second}\n"
            "from eyeriss_sim import explain, search, simulate\n"
            "assert callable(explain) and callable(search) and callable(simulate)\n"
            "import eyeriss_sim\n"
            "assert eyeriss_sim.search.search is search\n"
            "from eyeriss_sim.search import search as again\n"
            "from eyeriss_sim.importers import load_network\n"
            "from eyeriss_sim.networks import load_zoo\n"
            "assert again is search")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_is_the_program_and_says_its_version():
    done = subprocess.run([sys.executable, "-m", "eyeriss_sim", "--version"],
                          capture_output=True, text=True, check=True)
    assert done.stdout == f"eyeriss-sim {eyeriss_sim.__version__}\n"


def test_a_result_is_one_line_and_a_page_in_a_notebook(result):
    assert repr(result) == (
        f"<alexnet, batch 4, on eyeriss_chip: {result.total_uJ:,.0f} uJ, "
        f"{result.total_ms:,.2f} ms, 8 layers>")
    page = result._repr_html_()
    assert "CONV3" in page and "clock" in page and "&lt;" not in page


def test_parts_of_a_network_add_up_to_its_joules(result):
    assert sum(result.parts_uJ.values()) == pytest.approx(result.total_uJ, rel=1e-12)


def test_accesses_are_read_by_name(result):
    words = result.accesses
    assert words.shape == (8 * 4 * 3 * 5,)
    for one in result.by_layer:
        for level, kind, direction in ((0, 0, 0), (3, 1, 0), (1, 2, 4), (2, 2, 3)):
            assert words[one.layer.name, LEVELS[level], KINDS[kind],
                         DIRECTIONS[direction]] == one.accesses[level, kind, direction]


def test_an_explanation_is_text_and_a_page(result):
    said = explain(result, "conv3")
    assert "Loop nest" in str(said) and str(said) in str(said)
    assert repr(said) == "<Explanation: CONV3 of alexnet on eyeriss_chip; print it>"
    assert said._repr_html_().startswith("<pre>")
    with pytest.raises(ValueError, match="CONV9"):
        explain(result, "CONV9")


def test_the_machine_runs_a_layer_on_a_users_values():
    rng = np.random.default_rng(0)
    layer = ConvLayer(name="tokens", M=5, C=8, H=1, W=7, R=1, S=1)
    ifmap = rng.integers(-9, 9, (1, 8, 1, 7))
    filters = rng.integers(-9, 9, (5, 8, 1, 1))
    machine = Machine()
    run = machine.run(layer, ifmap, filters)
    expected = np.einsum("nchw,mc->nmhw", ifmap, filters[:, :, 0, 0])
    assert (run.ofmap == expected).all()
    assert machine.time(layer).phases.array > 0
    with pytest.raises(ValueError, match="tokens: ifmap holds values"):
        machine.run(layer, ifmap + 0.5, filters)
    with pytest.raises(ValueError, match="can be stepped"):
        Machine("isca16_256")


def test_the_machine_lays_a_product_on_the_map_that_a_mapping_names():
    layer = ConvLayer(name="tokens", M=4, C=8, H=1, W=7, R=1, S=1)
    ifmap = np.arange(56).reshape(1, 8, 1, 7)
    mapping = eyeriss_sim.Mapping(4, 1, 2, 4, 2, 1, 1, map_H=2, map_W=4)
    run = Machine().run(layer, ifmap, np.ones((4, 8, 1, 1)), mapping=mapping)
    assert run.ofmap.shape == (1, 4, 2, 4)
    assert run.ofmap[0, 0].ravel().tolist() == [*ifmap.sum((0, 1, 2)), 0]


def test_a_short_network_of_ones_own_is_simulated_and_explained():
    network = Network("own", [ConvLayer(name="a", M=2, C=1, H=5, W=5, R=3, S=3)])
    assert "own" in str(explain(simulate(network), "a"))
