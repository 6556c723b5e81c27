"""Targets are met within one quantum or refused; orders, blocks and patterns."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pruning_nets import make, pictures

from eyeriss_sim.oracle import EnergyOracle
from pruning import scores
from pruning.masks import Masks
from pruning.meters import Reference, meter_of
from pruning.prunable import prunable
from pruning.selection import (
    Order,
    OutOfReach,
    by_layer,
    by_pattern,
    knapsack,
    pooled,
    refuse,
    rounded_up,
    spread,
)
from pruning.targets import Density, Energy, Macs, Params, parse_target


def meter_on(model, target, hardware="eap_tool", **options):
    oracle = EnergyOracle(hardware, **options)
    weights = prunable(model)
    reference = Reference.of(model, weights, oracle, pictures())
    return weights, meter_of(target, model, weights, reference, oracle, pictures())


def quantum(masks, fewer, meter):
    return meter.share(masks) - meter.share(fewer)


@pytest.mark.parametrize("name", ["chain", "option A", "separable"])
@pytest.mark.parametrize("target", [Energy(0.8), Density(0.37), Macs(0.5), Params(0.6)])
@pytest.mark.parametrize("kind", ["magnitude", "uniform", "random", "knapsack"])
def test_a_target_is_met_and_one_weight_less_would_miss_it(name, target, kind):
    model = make(name)
    weights, meter = meter_on(model, target)
    score = {
        "magnitude": lambda: scores.magnitude(model, weights),
        "uniform": lambda: by_layer(scores.magnitude(model, weights)),
        "random": lambda: scores.random(model, weights, 3),
        "knapsack": lambda: knapsack(scores.energy_of_weights(model, weights),
                                     meter.prices)}[kind]()
    order = Order(score, {key: one.shape for key, one in weights.items()})
    masks = order.meet(meter, target.share)
    removed = order.units - masks.kept
    assert meter.share(masks) <= target.share < meter.share(order.masks(removed - 1))
    if kind == "uniform" and isinstance(target, Density):
        for density, one in zip(
                masks.densities.values(), weights.values(), strict=True):
            assert abs(density - target.share) * torch.Size(one.shape).numel() <= 1


@pytest.mark.parametrize("code", ["none", "rlc", "significance_map", "csr"])
def test_a_target_is_met_whatever_the_code_of_the_filters(code):
    model = make("chain")
    weights, meter = meter_on(model, Energy(0.85), filter_code=code)
    order = Order(scores.magnitude(model, weights),
                  {key: one.shape for key, one in weights.items()})
    asked = (1 + meter.floor) / 2
    masks = order.meet(meter, asked)
    # Coded sizes may jump by a 64-bit word or a column's pointer, not more.
    assert asked - 0.01 < meter.share(masks) <= asked


def test_the_meter_says_what_the_oracle_says_of_the_masked_model():
    model = make("option A")
    oracle = EnergyOracle("eap_tool", batch=2)
    weights, meter = meter_on(model, Energy(0.5), batch=2)
    dense = oracle(model, pictures()).total_uJ
    order = Order(by_layer(scores.magnitude(model, weights)),
                  {key: one.shape for key, one in weights.items()})
    masks = order.masks(round(0.7 * order.units))
    masks.apply(model)
    assert meter.share(masks) == pytest.approx(oracle(model).total_uJ / dense, 1e-12)
    assert meter.share(Masks.dense(model, weights)) == 1


@pytest.mark.parametrize("name", ["chain", "option B", "separable"])
def test_prices_add_up_to_all_that_is_above_the_floor(name):
    model = make(name)
    weights, meter = meter_on(model, Energy(0.5))
    total = sum(float(price.expand(weights[key].shape).sum())
                for key, price in meter.prices.items())
    assert total == pytest.approx(1 - meter.floor, rel=1e-9)


@pytest.mark.parametrize("target, words", [
    (Energy(0.01), r"energy=0.01 cannot be reached: with all prunable weights at zero "
     r"0\.\d+ of the energy on eap_tool \(zeros: skip_either, batch 1\) is left; ask "),
    (Params(0.001), "of the parameters is left")])
def test_a_target_below_the_floor_is_refused_with_the_floor(target, words):
    model = make("chain")
    weights, meter = meter_on(model, target)
    order = Order(scores.magnitude(model, weights),
                  {key: one.shape for key, one in weights.items()})
    with pytest.raises(ValueError, match=words) as caught:
        order.meet(meter, target.share, str(target))
    named = float(str(caught.value).split("ask for ")[1].split()[0])
    assert named >= meter.floor
    assert meter.share(order.meet(meter, named)) <= named


def test_no_weight_helps_on_a_machine_that_ignores_zero_weights():
    model = make("chain")
    _, meter = meter_on(model, Energy(0.9), "eyeriss_chip")
    assert meter.floor == 1
    assert all(not price.any() for price in meter.prices.values())


@given(st.integers(0, 400), st.integers(0, 400))
def test_masks_of_one_order_are_nested(few, many):
    model = make("chain")
    weights = prunable(model)
    order = Order(scores.random(model, weights, 0),
                  {key: one.shape for key, one in weights.items()})
    few, many = sorted((few, many))
    assert order.masks(many).nested_in(order.masks(few))
    assert order.masks(many).kept == order.units - many


def test_an_order_within_masks_never_brings_a_weight_back():
    model = make("chain")
    weights = prunable(model)
    shapes = {key: one.shape for key, one in weights.items()}
    first = Order(scores.random(model, weights, 0), shapes).masks(300)
    later = Order(scores.magnitude(model, weights), shapes, within=first)
    assert later.masks(300) == first
    assert later.masks(400).nested_in(first)
    assert later.masks(400).kept == first.kept - 100


@pytest.mark.parametrize("block", [(1, 1, 0, 0), (2, 0, 0, 0), (3, 4, 1, 3)])
def test_blocks_go_as_a_whole(block):
    weights = torch.arange(6 * 8 * 9.0).reshape(6, 8, 3, 3)
    units = pooled(weights, block)
    assert units.sum() == weights.sum()
    order = Order({"w": units}, {"w": weights.shape})
    mask = order.masks(units.numel() // 2)["w"]
    assert set(pooled(mask.double(), block).flatten().tolist()) == {
        0.0, float(mask.numel() / units.numel())}
    assert torch.equal(spread(units, weights.shape)[0, 0, 0, 0], units[0, 0, 0, 0])


def test_ragged_blocks_end_with_the_tensor():
    mask = Order({"w": pooled(torch.arange(7.0), (3,))}, {"w": (7,)}).masks(1)["w"]
    assert mask.tolist() == [False] * 3 + [True] * 4


def test_the_best_pattern_of_each_kernel_is_kept():
    patterns = torch.zeros(9, 3, 3, dtype=torch.bool)
    patterns.view(9, 9)[range(9), range(9)] = True
    weights = torch.rand(4, 5, 3, 3)
    mask = by_pattern(weights, patterns)
    assert torch.equal(weights[mask], weights.flatten(2).amax(-1).flatten())


def test_scores_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="w: 1 scores are NaN"):
        Order({"w": torch.tensor([1.0, float("nan")])}, {"w": (2,)})


@pytest.mark.parametrize("text, words", [
    ("energy=half", "'half' is no number; write energy=0.5"),
    ("joules=0.5", "unknown target 'joules=0.5'; write one of energy=0.5, density"),
    ("macs=1.5", "macs target must be a share of the dense network's, above 0 and at "),
    ("density=0", "got 0.0")])
def test_targets_that_are_none_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_target(text)


def test_a_share_may_be_any_real_number():
    for share in (np.float32(0.5), np.float64(0.5), Fraction(1, 2)):
        target = Energy(share)
        assert target == Energy(0.5) and type(target.share) is float
        assert str(target) == "energy=0.5"
    for share in ("0.5", True, np.float32("nan"), np.float32(0), None):
        with pytest.raises(ValueError, match="energy target must be a share of the de"):
            Energy(share)


def test_an_order_keeps_the_unit_of_each_parameter_that_would_go_last():
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([5.0, 3.0, 6.0])}
    shapes = {"a": (2,), "b": (3,)}
    order = Order(scores, shapes)
    kept = [(order.masks(count)["a"].tolist(), order.masks(count)["b"].tolist(),
             order.spared(count)) for count in range(6)]
    assert kept == [
        ([True, True], [True, True, True], []), ([False, True], [True, True, True], []),
        ([False, True], [True, True, True], ["a"]),
        ([False, True], [True, False, True], ["a"]),
        ([False, True], [False, False, True], ["a"]),
        ([False, True], [False, False, True], ["a", "b"])]
    free = Order(scores, shapes, may_empty=True)
    assert free.masks(2)["a"].tolist() == [False, False] and free.spared(5) == []
    assert free.masks(5).kept == 0 and order.units == free.units == 5
    # What went before never comes back, not even as the last.
    within = Masks({"a": torch.tensor([True, False]), "b": torch.zeros(3).bool()})
    rest = Order(scores, shapes, within)
    assert rest.masks(5)["a"].tolist() == [True, False]
    assert rest.masks(5).kept == 1 and rest.spared(5) == ["a"]


@pytest.mark.parametrize("least, floor, said", [
    (0.32191, None, "0.3219 of it is the least of what was tried; ask for 0.322 or "
     "more"),
    (0.36, 0.3219, "with all prunable weights at zero 0.3219 of it is left; ask for "
     "0.360 or more; 0.3600 is the least of what was tried"),
    (1.0, 1.0, "with all prunable weights at zero 1.0000 of it is left; ask for 1.000 "
     "or more")])
def test_a_refusal_names_the_least_that_may_be_asked_for(least, floor, said):
    with pytest.raises(OutOfReach) as refused:
        refuse("energy=0.1", "of it", least, floor)
    assert str(refused.value) == f"energy=0.1 cannot be reached: {said}"
    assert refused.value.tried == least
    assert OutOfReach("said").tried == 1.0


def test_what_a_message_asks_for_is_rounded_up():
    assert [rounded_up(share) for share in (0.3211, 0.25, 0.9999)] == [0.322, 0.25, 1.0]


def test_a_block_of_which_one_weight_is_left_is_not_gone():
    left = Masks({"w": torch.tensor([False, False, False, True, False, False])})
    order = Order({"w": torch.tensor([1.0, 2.0, 3.0])}, {"w": (6,)}, within=left)
    assert order.masks(2) == left
    assert order.spared(3) == ["w"]
    # The other of two is the last, though it ranks no higher than what has gone.
    left = Masks({"w": torch.tensor([False, True])})
    order = Order({"w": torch.tensor([2.0, 1.0])}, {"w": (2,)}, within=left)
    assert order.masks(2) == left


def test_greedy_filling_takes_what_costs_nothing_first_and_then_the_worth_of_a_price():
    found = knapsack({"w": torch.tensor([2.0, 3.0, 9.0])},
                     {"w": torch.tensor([0.5, 0.0, 3.0])})
    assert found["w"].tolist() == [4.0, float("inf"), 3.0]


def test_ranks_within_a_layer_lie_in_the_middle_of_their_shares():
    found = by_layer({"a": torch.tensor([[5.0, 1.0], [7.0, 3.0]]),
                      "b": torch.tensor([2.0])})
    assert found["a"].tolist() == [[0.625, 0.125], [0.875, 0.375]]
    assert found["b"].tolist() == [0.5]
    assert found["a"].dtype == torch.float64    # else a large layer's would be equal


def test_blocks_that_do_not_tell_their_length_are_refused():
    with pytest.raises(ValueError, match="blocks of 5 do not cut an axis of 7 so that "
                                         "their number tells their length; take 4"):
        pooled(torch.ones(7), (5,))
    with pytest.raises(ValueError, match="zip"):
        spread(torch.ones(2), (2, 3))
