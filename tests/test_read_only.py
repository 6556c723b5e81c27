"""What one caller does to an answer must not reach the next one's."""

import gc
import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from functools import _lru_cache_wrapper
from types import FunctionType

import numpy as np
import pandas as pd
import pytest

import cascade
import eyeriss_sim
import pruning
from cascade.bootstrap import mean_interval
from cascade.costs import NetworkCosts
from cascade.curve import ImageCosts, ThresholdCurve
from eyeriss_sim import ConvLayer, Mapping, Network, load_hardware, simulate
from eyeriss_sim.counts import Counts
from eyeriss_sim.cycles import Cycles
from eyeriss_sim.dataflows.rs_geometry import Geometry
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.zeros import Densities, LayerZeros, Savings

NETWORK = Network("tiny", (
    ConvLayer(name="CONV", M=4, C=3, H=9, W=9, R=3, S=3),
    ConvLayer(name="FC", M=5, C=4, H=7, W=7, R=7, S=7)))


def remembering_functions():
    """Every function of the three packages that remembers its answers, by name."""
    found = {}
    for package in (eyeriss_sim, pruning, cascade):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                module = importlib.import_module(info.name)
                for name, value in vars(module).items():
                    if isinstance(value, _lru_cache_wrapper):
                        found[f"{value.__module__}.{name}"] = value
    return found


def remembered(function):
    """The answers that it holds now, and what they were asked by."""
    for one in gc.get_referents(function):
        if isinstance(one, (type, FunctionType)) or one is vars(function):
            continue
        if not isinstance(one, dict):
            yield one
        elif function.cache_info().maxsize is None:
            yield from one.values()
        elif any(type(value).__name__ != "_lru_list_elem" for value in one.values()):
            yield one               # not the table itself


def open_to_writing(value, where):
    """Names of all parts of an answer that one could change."""
    if isinstance(value, np.ndarray):
        return [where] if value.flags.writeable else []
    if isinstance(value, (list, dict, set, pd.DataFrame, pd.Series)):
        return [where]
    parts = []
    if isinstance(value, (tuple, frozenset)):
        parts = enumerate(value)
    elif is_dataclass(value):
        if not value.__dataclass_params__.frozen:
            return [where]
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    return [name for key, part in parts
            for name in open_to_writing(part, f"{where}.{key}")]


def test_nothing_that_is_remembered_can_be_written_to():
    chip = load_hardware("eyeriss_chip")
    for hardware in (chip, "isca16_256"):
        for objective in ("energy", "joules"):
            simulate(NETWORK, hardware, objective=objective)
    time_layer(NETWORK.layers[0], chip, Mapping(4, 1, 7, 4, 3, 1, 1))
    mean_interval(np.ones((2, 30)))
    functions = remembering_functions()
    answers = [(name, one) for name, function in functions.items()
               for one in remembered(function)]
    for name in ("search.search_shape", "dataflows.rs_geometry.cut_shape",
                 "dataflows.rs_geometry.timing",
                 "simulate.evaluate_shape", "machine.schedule.schedule"):
        assert f"eyeriss_sim.{name}" in {name for name, _ in answers}
    assert "cascade.bootstrap._counts" in {name for name, _ in answers}
    for name, one in answers:
        assert open_to_writing(one, name) == []


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "isca16_256"])
def test_a_result_cannot_change_the_next_simulation(hardware):
    result = simulate(NETWORK, hardware)
    total = result.total_uJ
    for layer in result.by_layer:
        for array in (layer.energy_pJ, layer.energy_MAC, layer.accesses,
                      layer.counts.accesses):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1e9
    assert simulate(NETWORK, hardware).total_uJ == total


def test_what_is_written_to_a_table_stays_with_the_writer():
    result = simulate(NETWORK)
    before = result.table
    for mine in (result.table, result.layers):
        mine.loc[0, "total_uJ"] = 0.0
    pd.testing.assert_frame_equal(result.table, before)


def test_costs_of_a_level_cannot_be_written_to():
    costs = NetworkCosts(("CONV",), np.ones((8, 1)), {1: np.ones(1)})
    for array in (costs.alone, costs.batches[1]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@pytest.mark.parametrize("record", [Counts, Geometry, LayerZeros, ImageCosts,
                                    ThresholdCurve])
def test_records_of_arrays_are_fixed_and_equal_only_to_themselves(record):
    assert record.__dataclass_params__.frozen
    assert record.__eq__ is object.__eq__       # arrays have no one truth value


@pytest.mark.parametrize("record", [Cycles, Densities, Mapping, Savings])
def test_records_of_numbers_are_fixed_and_equal_by_them(record):
    assert record.__dataclass_params__.frozen
    numbers = range(1, 1 + len(fields(record)))
    assert record(*numbers) == record(*numbers)
