"""A ladder becomes pairs, a study, a choice, a folder, and runs as it was counted."""

import itertools
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pruning_nets import Residual, chain, make, pictures

from cascade.bench import (
    COLUMNS,
    Entrant,
    curves,
    learned_against_free,
    network_table,
    shipped_router,
    verdicts,
)
from cascade.building import build, check_routed, offline
from cascade.choose import as_choice, best, candidates, chance, choose, perfect
from cascade.cli import RUNGS, default_rungs, rung_folder, study_of
from cascade.cli import main as command
from cascade.costs import Strata, floor_of, module_cost, network_costs
from cascade.curve import charge, threshold_curve
from cascade.figures import draw
from cascade.folder import load_cascade, route_costs, save_cascade
from cascade.levels import (
    Level,
    check_same_dense,
    check_same_task,
    dense_level,
    ladder_levels,
    pairs,
    storage,
)
from cascade.outputs import check_disjoint, outputs_of
from cascade.report import print_learned_against_free, print_verdicts
from cascade.study import Choice, Study
from eyeriss_sim.oracle import EnergyOracle
from pruning.ladder import Rung, climb
from pruning.masks import Masks
from pruning.meters import Reference, meter_of
from pruning.models import make_model
from pruning.prunable import prunable
from pruning.result import weights_hash
from pruning.targets import Energy

SHAPE = (3, 8, 8)


def images_and_labels(seed, count, net):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, *SHAPE, generator=generator)
    with torch.no_grad():
        labels = net(images).argmax(1)
    flipped = torch.rand(count, generator=generator) < 0.1
    return images, torch.where(flipped, (labels + 1) % 5, labels)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """A network, its ladder without training, images that it mostly gets right."""
    torch.manual_seed(0)
    net = Residual().eval()
    with torch.no_grad():       # so that it does not say one class of all images
        logits = net(torch.randn(500, *SHAPE))
        net.fc.weight.mul_(3 / logits.std(0).mean())
        net.fc.bias.sub_(net(torch.randn(500, *SHAPE)).mean(0))
    folder = tmp_path_factory.mktemp("ladder")
    data = [images_and_labels(9, 64, net)]
    climb(net, "magnitude_global", [Rung(Energy(0.8)), Rung(Energy(0.65))], folder,
          data=data, config={"network": "residual"}, recipe=None, make_fresh=Residual)
    return net, folder


@pytest.fixture(scope="module", autouse=True)
def two_sizes_of_selectors():
    """Fewer, and less trained, than in a real study: ``test_selector.py`` has those."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cascade.routers.selector.SIZES", ((0, 0.3), (32, 0.3)))
        patch.setattr("cascade.routers.selector.STEPS", 30)
        yield


@pytest.fixture(scope="module")
def study(ladder, tmp_path_factory):
    net, folder = ladder
    parts = {name: images_and_labels(place, 240, net)
             for place, name in enumerate(("selector", "choosing", "test"))}
    levels = [Level("dense", net), *ladder_levels(folder, net)]
    return Study(levels, parts, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def table(study):
    return candidates(study)


def test_a_ladder_is_read_mildest_first(ladder):
    net, folder = ladder
    assert [one.name for one in ladder_levels(folder, net)] == [
        "energy=0.8", "energy=0.65"]
    with pytest.raises(ValueError, match="no finished rung"):
        ladder_levels(folder / "energy=0.8", net)


def test_a_rung_whose_metrics_are_cut_short_is_named(ladder, tmp_path):
    (tmp_path / "energy=0.8").mkdir()
    (tmp_path / "energy=0.8" / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json: rung is missing"):
        ladder_levels(tmp_path, ladder[0])


def test_outputs_are_the_networks_own_and_kept(ladder, tmp_path):
    net, _ = ladder
    images, labels = images_and_labels(1, 30, net)
    first = outputs_of(net, images, labels, tmp_path)
    with torch.no_grad():
        assert torch.allclose(first.logits, net(images), atol=1e-5)
    file, = tmp_path.iterdir()
    again = outputs_of(net, images, labels, tmp_path)
    assert torch.equal(first.logits, again.logits)
    assert all(torch.equal(first.summaries[key], again.summaries[key])
               for key in first.summaries)
    file.write_bytes(file.read_bytes()[:100])           # cut short: made anew
    assert torch.equal(outputs_of(net, images, labels, tmp_path).logits, first.logits)
    outputs_of(net, images + 1, labels, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_networks_of_the_same_weights_are_kept_apart(study, tmp_path):
    def net(activation, stride=1):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride), activation, torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()

    class Doubled(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.net, self.factor = net(torch.nn.ReLU()), factor

        def forward(self, x):
            return self.net(x * self.factor)

    images, labels = study.parts["test"]
    for one in (net(torch.nn.ReLU()), net(torch.nn.Tanh()), net(torch.nn.ReLU(), 2),
                Doubled(1), Doubled(2)):
        kept, fresh = (outputs_of(one, images[:9], labels[:9], cache).logits
                       for cache in (tmp_path, None))
        assert torch.equal(kept, fresh)
    costs = [network_costs(net(torch.nn.ReLU(), stride), study.strata, "eap_tool",
                           cache=tmp_path)[0].alone.sum() for stride in (1, 2)]
    assert costs[1] < 0.9 * costs[0]


def test_images_in_two_parts_are_refused(study):
    images, labels = study.parts["choosing"]
    parts = dict(study.parts)
    parts["fit"] = torch.cat([torch.zeros(1, *SHAPE), images[5:7]]), labels[:3]
    with pytest.raises(ValueError, match="2 images are in choosing as well as in fit"):
        Study(study.levels, parts)
    for other in (images.double(), images.to(memory_format=torch.channels_last),
                  images.flip(0)):
        with pytest.raises(ValueError, match="240 images are in b as well as in a"):
            check_disjoint({"b": images, "a": other})
    zeros = torch.zeros(1, *SHAPE, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="1 images"):
        check_disjoint({"b": zeros, "a": -zeros.float()})
    check_disjoint({name: part[0] for name, part in study.parts.items()})


def test_levels_of_other_classes_or_images_are_refused(ladder, study):
    net, _ = ladder
    other = Residual()
    other.fc = torch.nn.Linear(16, 7)
    with pytest.raises(ValueError, match="pair m, a: 5 and 7 classes; all levels must"):
        check_same_task([Level("m", net), Level("a", other.eval())], SHAPE)
    with pytest.raises(ValueError, match="a does not take images of shape") as problem:
        check_same_task([Level("m", net), Level("a", torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval())], SHAPE)
    assert "\n" not in str(problem.value)
    with pytest.raises(ValueError, match="a does not take images of shape"):
        Study([study.levels[0], Level("a", torch.nn.Conv2d(1, 5, 3).eval())],
              study.parts)
    assert len(pairs(study.levels)) == 3


def test_a_stage_that_costs_more_than_the_next_one_is_refused(study, tmp_path):
    swapped = Choice((1, 2), ("margin",), (0.5,))
    with pytest.raises(ValueError, match=r"pair energy=0.65, energy=0.8: energy=0.8 "
                                         r"needs .* uJ an image on eap_tool.* swap"):
        save_cascade(tmp_path / "c", study, swapped, "residual", {})
    assert not list(tmp_path.iterdir())
    # By the hardware at hand: zeros of weights save nothing there.
    same = Study(study.levels, study.parts, "dense", cache=study.cache)
    same.check_order(swapped)


def test_levels_of_several_ladders_and_architectures_make_one_cascade(
        study, tmp_path):
    small = make("chain", seed=3)
    levels = [*study.levels[:2], Level("small", small, architecture="chain")]
    pool = Study(levels, study.parts, cache=study.cache)
    table = candidates(pool)
    small_place, = (place for place, level in enumerate(pool.levels)
                    if level.name == "small")
    rows = table[(table.aggressive == small_place) & (table.mild == 0)
                 & (table.router == "margin") & table.share.between(0.1, 0.9)]
    choice = as_choice(rows.iloc[0])
    save_cascade(tmp_path / "c", pool, choice, "residual", {})
    models = {"residual": Residual(), "chain": chain()}
    images = study.parts["test"][0][:30]
    routed, differences = check_routed(tmp_path / "c", images, models)
    assert differences["routes"] == 0 and 0 < routed.routes.sum() < 30
    assert torch.equal(routed.stages, torch.from_numpy(
        pool.answering(choice, "test")[:30]))
    with pytest.raises(ValueError, match=r"is of chain, none of .*give load_cascade"):
        load_cascade(tmp_path / "c", {"residual": Residual()})


def chain_of_three(study):
    """Two routers, thresholds that some images pass."""
    name = next(one for one in study.routers(2) if one.startswith("selector@")
                and study.router(2, 1, one) is not None)
    thresholds = [float(np.quantile(study.scores(*step, "choosing"), 0.4))
                  for step in ((2, 1, name), (1, 0, "margin"))]
    return Choice((2, 1, 0), (name, "margin"), tuple(thresholds))


def test_a_chain_of_one_level_is_that_level_exactly(study):
    for hardware in (study, Study(study.levels, study.parts, batch=4,
                                  cache=study.cache)):
        for level in range(3):
            right, costs, stages = hardware.system(Choice((level,)), "test")
            alone, energy = hardware.level(level, "test")
            assert np.array_equal(right, alone) and np.array_equal(costs, energy)
            assert not stages.any()


@pytest.mark.parametrize("batch", [1, 4])
def test_in_a_chain_of_three_each_stage_is_paid_by_those_that_reach_it(study, batch):
    pool = Study(study.levels, study.parts, batch=batch, cache=study.cache)
    choice = chain_of_three(pool)
    right, costs, stages = pool.system(choice, "test")
    assert set(stages) == {0, 1, 2}
    for number, level in enumerate(choice.levels):
        there = stages == number
        assert np.array_equal(right[there],
                              pool.outputs[level]["test"].right.numpy()[there])
    parts = pool.chain_costs(choice.levels, choice.routers, "test")
    shares = [np.array([(stages >= number).mean()]) for number in range(4)]
    for number in range(3):
        expected = sum(
            parts[k].asked * parts[k].asked_share(shares[k]) for k in range(number + 1)
        ) + parts[number].back * parts[number].back_share(
            shares[number] - shares[number + 1])
        assert np.allclose(costs[stages == number], expected[stages == number])
    if batch == 1:      # the second router sees logits: all of its network has run
        alone = sum(pool.level(level, "test")[1] for level in choice.levels[1:])
        first = parts[0].asked
        assert np.allclose(costs[stages == 2], (alone + first)[stages == 2])


def test_infinite_thresholds_of_a_chain_of_three_give_the_formula(study):
    routers = chain_of_three(study).routers
    for thresholds, reached in (((math.inf, 0.5), 0), ((-math.inf, math.inf), 1),
                                ((-math.inf, -math.inf), 2)):
        choice = Choice((2, 1, 0), routers, thresholds)
        right, costs, stages = study.system(choice, "test")
        assert (stages == reached).all()
        assert np.array_equal(right, study.level(2 - reached, "test")[0])
        parts = study.chain_costs(choice.levels, routers, "test")
        assert np.array_equal(costs, sum(one.asked for one in parts[:reached + 1])
                              + parts[reached].back)


def test_chains_of_any_length_are_kept_and_run_as_they_were_counted(study, tmp_path):
    images = study.parts["test"][0][:60]
    for choice in (Choice((1,)), chain_of_three(study)):
        place = tmp_path / str(len(choice.levels))
        save_cascade(place, study, choice, "residual", {})
        assert sorted(one.name for one in place.iterdir()) == ["cascade.json", *(
            f"stage{number}" for number in range(1, len(choice.levels) + 1))]
        routed, differences = check_routed(place, images, Residual())
        assert differences["predictions"] == differences["routes"] == 0
        assert differences["energy"] < 1e-12
        assert np.array_equal(routed.stages.numpy(),
                              study.answering(choice, "test")[:60])
        energies, latencies = route_costs(study, choice)
        net = load_cascade(place, Residual())
        assert net.energies == energies and net.latencies == latencies
    single = EnergyOracle("eap_tool")(
        study.levels[1].network, study.parts["choosing"][0]).total_uJ
    assert route_costs(study, Choice((1,)))[0][0].front == pytest.approx(single)


def as_earlier_version(folder):
    """Turn a folder of two stages into what versions before 0.4 wrote."""
    file = folder / "cascade.json"
    told = json.loads(file.read_text())
    first, last = told.pop("stages")
    for number, name in ((1, "aggressive"), (2, "mild")):
        (folder / f"stage{number}").rename(folder / name)
    router = folder / "aggressive" / "router.safetensors"
    if router.exists():
        router.rename(folder / "selector.safetensors")
    for key in ("total_uJ_per_image", "latency_ms"):
        told[key] = {**first[key], "mild": last[key]["front"]}
    told |= {"router": first["router"], "tap": first["tap"],
             "threshold": first["threshold"], "mild": last["name"],
             "aggressive": first["name"], "weights": {
                 "aggressive": first["weights"], "mild": last["weights"]}}
    file.write_text(json.dumps(told))
    return told


def test_rungs_of_another_training_are_refused(ladder, tmp_path):
    net, _ = ladder

    def level(name, config):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        return Level(name, net, tmp_path / name)

    rung = level("rung", {"dense": {"lr": 0.1, "seed": 1}})
    check_same_dense(level("dense", {"recipe": {"lr": 0.1, "seed": 1}}), [rung])
    check_same_dense(level("longer", {"recipe": {"lr": 0.02, "seed": 0},
                                      "dense": {"lr": 0.1, "seed": 1}}), [rung])
    with pytest.raises(ValueError, match=r"another training than .*; seed 1, not 0"):
        check_same_dense(level("other", {"recipe": {"lr": 0.1, "seed": 0}}), [rung])
    cut = level("cut", {"dense": {"lr": 0.1, "seed": 1, "cutout": 4}})
    with pytest.raises(ValueError, match=r"another training than .*; cutout 4, not"):
        check_same_dense(level("plain", {"recipe": {"lr": 0.1, "seed": 1}}), [cut])


def test_a_second_training_by_the_same_recipe_is_another_network(tmp_path):
    recipe = {"lr": 0.1, "seed": 1}

    def level(name, net, config):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        return Level(name, net, tmp_path / name)

    first, second = Residual(), Residual()
    trained = level("trained", first, {"recipe": recipe})
    of_first = {"dense_weights": weights_hash(first)}
    rung = level("rung", second, {"dense": recipe, **of_first})
    own = level("from Python", second, of_first)
    check_same_dense(trained, [rung, own])
    longer = level("longer", second, {"recipe": {}, "dense": recipe, **of_first})
    check_same_dense(longer, [rung, own])
    again = level("again", second, {"recipe": recipe})
    with pytest.raises(ValueError, match="rung was pruned from other weights than"):
        check_same_dense(again, [rung])


def test_a_folder_that_names_no_network_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json names no network; the folder"):
        dense_level(tmp_path)


def test_two_networks_share_a_store_only_where_values_are_equal(ladder):
    net, folder = ladder
    mild, few = ladder_levels(folder, net)
    # Pruned, never trained: the first is a part of the second.
    one = storage([few.network, mild.network])
    assert one["stores"] == 1
    assert one["total_kB"] < sum(one["stage_kB"])
    # And both are parts of the dense one.
    assert storage([few.network, mild.network, net])["stores"] == 1
    # Jointly trained networks share weights and have normalisations of their own.
    with torch.no_grad():
        few.network.bn.weight.add_(0.5)
        few.network.bn.running_mean.add_(0.5)
    own = storage([few.network, mild.network])
    assert own["stores"] == 1
    assert own["total_kB"] == pytest.approx(one["total_kB"] + 2 * 8 * 2 / 1e3)
    weight = next(p for p in few.network.parameters() if p.ndim > 1)
    with torch.no_grad():
        weight[weight != 0] *= 1.01
    two = storage([few.network, mild.network])
    assert two["stores"] == 2
    assert two["total_kB"] == pytest.approx(sum(two["stage_kB"]))


def test_costs_of_parts_sum_to_the_network(study):
    for costs in study.costs:
        for one in costs:
            front = study.taps[0][0].layer_names
            rest = [name for name in one.layer_names if name not in front]
            assert np.allclose(one.part(front) + one.part(rest), one.part())
            with pytest.raises(ValueError, match="no layer 'nowhere'"):
                one.part(["nowhere"])


def test_costs_are_kept_and_read_as_they_were(study, tmp_path):
    net = study.levels[1].network
    first = network_costs(net, study.strata, "eap_tool", (1, 2), tmp_path)
    again = network_costs(net, study.strata, "eap_tool", (1, 2), tmp_path)
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.alone, other.alone)
        assert one.layer_names == other.layer_names
        assert all(np.array_equal(one.batches[k], other.batches[k]) for k in (1, 2))
    assert first[0].part(batch=2).mean() < first[0].part().mean()


def test_costs_of_other_batches_are_kept_apart(study, tmp_path):
    net = study.levels[1].network
    for batches in ((1, 4), (1, 2, 4), (4, 2, 1)):
        for one in network_costs(net, study.strata, "eap_tool", batches, tmp_path):
            assert set(one.batches) == set(batches)
    assert len(list(tmp_path.iterdir())) == 2       # the last is the one before it


@pytest.mark.parametrize("hardware", ["eap_tool", "eyeriss_chip", "dense"])
def test_levels_are_in_the_order_of_the_studys_own_hardware(study, hardware):
    dense, *rungs = study.levels
    for given in (rungs, rungs[::-1]):
        own = Study([dense, *given], study.parts, hardware, cache=study.cache)
        energies = [energy.part().mean() for energy, _ in own.costs]
        assert own.levels[0] is dense and energies[1:] == sorted(
            energies[1:], reverse=True)
        if hardware == "dense":         # all cost the same
            assert own.levels == [dense, *given]
        for level, outputs in zip(own.levels, own.outputs, strict=True):
            with torch.no_grad():
                assert torch.equal(level.network(study.parts["choosing"][0][:4]).argmax(
                    1), outputs["choosing"].logits[:4].argmax(1))


def test_every_setting_of_an_oracle_reaches_costs_and_their_cache(study, tmp_path):
    usual = EnergyOracle("eap_tool")
    oracles = [usual, EnergyOracle("eap_tool", "dense"),
               EnergyOracle("eap_tool", bits=8),
               EnergyOracle("eap_tool", filter_code="none"),
               EnergyOracle("eap_tool", objective="cycles"),
               EnergyOracle("eap_tool", search="sparse", objective="joules")]
    net, totals = study.levels[1].network, []
    for oracle in oracles:
        kept, fresh = (network_costs(net, study.strata, oracle, cache=cache)[0].alone
                       for cache in (tmp_path, None))
        assert np.array_equal(kept, fresh)
        totals.append(kept.sum())
    assert len({*tmp_path.iterdir()}) == len(oracles)
    assert totals[1] > totals[0] > totals[2] and totals[3] > totals[0]
    named = Study(study.levels, study.parts, oracles[2], cache=study.cache)
    assert named.hardware == "eap_tool bits=8" and named.batch == 1
    assert named.reference[0] < study.reference[0]
    step = 2, 0, f"selector@{study.taps[2][0].name}"
    layers, inputs = study.router(*step).layers, study.router_inputs(*step)
    assert module_cost(layers, inputs, oracles[2])[0] < module_cost(
        layers, inputs, "eap_tool")[0]


def test_an_oracle_of_another_batch_is_as_one_made_for_it(study):
    net, images = study.levels[1].network, study.strata.images[0]
    one = EnergyOracle("eyeriss_chip", objective="joules", bits=8)
    one(net, images)
    derived = one.with_batch(4)
    made = EnergyOracle("eyeriss_chip", batch=4, objective="joules", bits=8)
    assert derived(net, images).total_uJ == made(net, images).total_uJ
    assert (one.batch, derived.batch) == (1, 4)
    assert one(net).total_uJ < derived(net).total_uJ
    with pytest.raises(ValueError, match="not measured yet"):
        one.with_batch(2)(net)
    with pytest.raises(ValueError, match="batch must be"):
        one.with_batch(0)


@pytest.mark.parametrize("text", ["null", "[1, 2]", "[]", "{}", "[{}, {}]", "x"])
def test_kept_costs_that_are_damaged_are_named(study, tmp_path, text):
    network_costs(study.levels[0].network, study.strata, "eap_tool", cache=tmp_path)
    file, = tmp_path.iterdir()
    file.write_text(text)
    with pytest.raises(ValueError, match=f"{file.name}: damaged"):
        network_costs(study.levels[0].network, study.strata, "eap_tool",
                      cache=tmp_path)


def test_the_dense_network_costs_one_where_images_tie(study, monkeypatch):
    monkeypatch.setattr(Study, "difficulty", lambda self, part: np.array(
        [0.0] * 150 + list(np.linspace(0.1, 1, 90))))
    tied = Study(study.levels, study.parts, cache=study.cache)
    counts = np.bincount(tied.groups["choosing"], minlength=8)
    assert counts.max() == 150
    each = tied.costs[0][0].part(batch=1)
    assert each.std() > 0
    assert tied.reference[0] == pytest.approx((each * counts).sum() / 240)


def test_every_image_has_a_group_and_groups_are_even(study):
    counts = np.bincount(study.groups["choosing"], minlength=8)
    assert counts.sum() == 240 and counts.min() >= 28 and counts.max() <= 32
    with pytest.raises(ValueError, match="give more"):
        Strata.of(torch.zeros(3, *SHAPE), np.arange(3))


def test_the_floor_lies_below_every_level(study):
    floor = floor_of(study.levels[0].network, study.strata, "eap_tool")
    assert 0 < floor < min(study.level(place, "test")[1].mean() for place in (1, 2))


@pytest.mark.parametrize("part", ("choosing", "test"))
def test_a_system_is_what_its_threshold_says_of_every_image(study, table, part):
    for _, row in best(table).iterrows():
        choice = as_choice(row)
        right, costs, stages = study.system(choice, part)
        routes = stages > 0
        few, many = (study.outputs[level][part] for level in choice.levels)
        wanted = torch.where(torch.from_numpy(routes), many.right, few.right)
        assert np.array_equal(right, wanted.numpy())
        if part == "choosing":
            assert right.mean() == pytest.approx(row.accuracy)
            assert costs.mean() == pytest.approx(row.energy)
            assert routes.mean() == row.share


def test_without_a_route_a_free_cascade_is_its_aggressive_network(study):
    right, costs, _ = study.system(Choice((2, 0), ("margin",), (math.inf,)), "test")
    alone, energy = study.level(2, "test")
    assert np.array_equal(right, alone) and np.allclose(costs, energy)
    right, costs, _ = study.system(Choice((2, 0), ("margin",), (-math.inf,)), "test")
    assert np.array_equal(right, study.level(0, "test")[0])
    assert np.allclose(costs, energy + study.level(0, "test")[1])


def test_of_the_aggressive_network_less_has_run_at_an_earlier_tap(study):
    names = [name for name in study.routers(2) if name.startswith("selector@")]
    # Beside a network this small the selectors' own sizes would decide.
    asked = [study.chain_costs((2, 0), (name,), "test")[0].asked.mean()
             - study.router_cost(2, 0, name)[0] / study.reference[0] for name in names
             if study.router(2, 0, name) is not None]
    assert asked == sorted(asked) and len(asked) > 2 and asked[0] < asked[-1]


def test_a_wish_is_met_or_refused_with_the_best_there_is(study, table):
    dense = study.outputs[0]["choosing"].accuracy
    choice, row = choose(table, study, accuracy=dense - 0.05)
    assert row.accuracy >= dense - 0.05
    cheaper = table[table.energy < row.energy]
    assert (cheaper.accuracy < dense - 0.05).all()
    choice, row = choose(table, study, energy=0.9)
    assert row.energy <= 0.9
    assert (table[table.energy <= 0.9].accuracy <= row.accuracy).all()
    with pytest.raises(ValueError, match=r"the least is 0\.6\d+, of energy=0.65"):
        choose(table, study, energy=0.1)
    with pytest.raises(ValueError, match="allow more loss"):
        choose(table, study, accuracy=1.01)
    # All go to the dense network, after the pruned one has run.
    dear = table[table.energy > 1]
    with pytest.raises(ValueError, match=r"at least 1\.\d+, the dense network [01]\.\d+"
                                         "; take that one"):
        choose(dear, study, accuracy=dear.accuracy.max())
    # No image goes anywhere: what is never run should be small to store.
    level = study.outputs[2]["choosing"].accuracy
    choice, _ = choose(table[table.aggressive == 2], study, accuracy=level)
    assert choice.thresholds == (math.inf,) and choice.levels == (2, 1)


def test_chance_and_perfection_enclose_a_router(study, table):
    choice, row = choose(table[table.system == "margin"], study, energy=0.8)
    right, _ = chance(study, choice, "choosing", row.share)
    assert right.mean() == pytest.approx(
        (1 - row.share) * study.level(choice.levels[0], "choosing")[0].mean()
        + row.share * study.level(choice.levels[1], "choosing")[0].mean())
    known, _, share = perfect(study, choice, "choosing")
    assert known.mean() >= row.accuracy
    assert known.mean() >= study.level(choice.levels[1], "choosing")[0].mean()
    assert share <= known.mean()


@pytest.mark.parametrize("router", ("margin", "selector"))
@pytest.mark.parametrize("threshold", ("chosen", math.inf, -math.inf))
def test_a_folder_runs_as_it_was_counted_offline(
        study, table, tmp_path, router, threshold):
    rows = table[table.router.str.startswith(router) & table.share.between(.05, .5)]
    row = rows.iloc[len(rows) // 2]
    choice = as_choice(row)
    if threshold != "chosen":
        choice = replace(choice, thresholds=(threshold,))
    save_cascade(tmp_path / "c", study, choice, "residual", {"accuracy": row.accuracy})
    images, labels = study.parts["test"]
    routed, differences = check_routed(tmp_path / "c", images[:100], Residual())
    assert differences["predictions"] == differences["routes"] == 0
    assert differences["energy"] < 1e-12
    right, _, stages = study.system(choice, "test")
    assert np.array_equal(routed.stages.numpy(), stages[:100])
    assert np.array_equal((routed.predictions == labels[:100]).numpy(), right[:100])
    (costs, last), _ = route_costs(study, choice)
    net = load_cascade(tmp_path / "c", Residual())
    if threshold == -math.inf:
        back = costs.back if net.asks_all[0] else 0
        assert float(routed.uJ.mean()) == pytest.approx(
            costs.front + costs.router + back + last.front, rel=1e-15)
    if threshold == math.inf:
        assert float(routed.uJ.mean()) == pytest.approx(
            costs.front + costs.router + costs.back, rel=1e-15)
        assert torch.equal(offline(net, images[:5])[0], routed.predictions[:5])


def test_the_mild_network_costs_what_its_own_images_leave(study):
    scores = study.scores(2, 1, "margin", "choosing")
    everyone, some = (       # nobody goes: measured on all
        route_costs(study, Choice((2, 1), ("margin",), (threshold,)))[0]
        for threshold in (math.inf, float(np.median(scores))))
    assert some[0].front == everyone[0].front and some[1].front != everyone[1].front
    assert some[1].front == pytest.approx(everyone[1].front, rel=0.05)


def test_building_writes_what_it_promises_and_nothing_else(study, table, tmp_path):
    told = build(study, tmp_path / "c", "residual", accuracy_loss=5.0, table=table,
                 data="noise")
    written = json.loads((tmp_path / "c" / "cascade.json").read_text())
    for part in ("choosing", "test"):
        assert written[part] == told[part]
        assert 0 < written[part]["energy_rel"] < 1.5
        assert written[part]["routed_uJ"] == pytest.approx(
            written[part]["energy_rel"] * written["reference_uJ"], rel=0.03)
        quantiles = list(written[part]["energy_rel_quantiles"].values())
        assert quantiles == sorted(quantiles)
    others, own = written["rivals_choosing"], written["choosing"]["energy_rel"]
    assert others["dense"] == pytest.approx(1) and min(
        others[one] for one in ("cascade", "margin", "max_softmax") if one in others
    ) == pytest.approx(own)
    assert others["hull"] <= others["single"] <= others["dense"]
    assert (tmp_path / "c" / "stage2" / "weights.safetensors").stat().st_mode & 0o044
    assert written["choosing"]["accuracy"] >= (
        written["choosing"]["dense_accuracy"] - 0.05)
    assert [one.name for one in tmp_path.iterdir()] == ["c"]
    before = (tmp_path / "c" / "cascade.json").read_bytes()
    net = load_cascade(tmp_path / "c", Residual())
    with pytest.raises(ValueError, match="threshold 7 is out of its range"):
        net.thresholds = [7]
    with pytest.raises(ValueError, match="the least is"):
        build(study, tmp_path / "c", "residual", energy=0.1, table=table)
    assert (tmp_path / "c" / "cascade.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"thesis\.txt, which is no part of a cascade"):
        build(study, tmp_path / "mine", "residual", energy=0.9, table=table)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    (tmp_path / "levels" / "mild").mkdir(parents=True)      # as a cascade's are called
    with pytest.raises(ValueError, match="mild, which is no part"):
        build(study, tmp_path / "levels", "residual", energy=0.9, table=table)
    with pytest.raises(ValueError, match=r"cascade\.json is a file"):
        build(study, tmp_path / "c" / "cascade.json" / "d", "residual", energy=0.9,
              table=table)
    (tmp_path / "c" / "images.csv").write_text("precious")
    with pytest.raises(ValueError, match=r"holds images\.csv, which is no part"):
        build(study, tmp_path / "c", "residual", accuracy_loss=5.0, table=table)
    assert (tmp_path / "c" / "images.csv").read_text() == "precious"


def test_a_cascade_that_can_not_be_replaced_stays(study, table, tmp_path, monkeypatch):
    build(study, tmp_path / "c", "residual", energy=0.9, table=table)
    before = (tmp_path / "c" / "cascade.json").read_bytes()
    rename = Path.rename

    def fail(path, place):
        if path.suffix != ".old" and place == tmp_path / "c":
            raise OSError("full")
        return rename(path, place)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="full"):
        build(study, tmp_path / "c", "residual", energy=0.8, table=table)
    assert (tmp_path / "c" / "cascade.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["c"]


def test_a_link_to_a_folder_stays_one(study, table, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    build(study, tmp_path / "link", "residual", energy=0.8, table=table)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "cascade.json").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "real"]


def test_images_of_another_size_are_refused_by_a_built_cascade(study, table, tmp_path):
    build(study, tmp_path / "c", "residual", energy=0.8, table=table)
    net = load_cascade(tmp_path / "c", Residual())
    channels, height, width = SHAPE
    with pytest.raises(ValueError, match="the cascade and its energies are for"):
        net(torch.zeros(1, channels, 2 * height, width))


def test_a_damaged_folder_is_told_in_one_line(study, table, tmp_path):
    build(study, tmp_path / "c", "residual", accuracy_loss=5.0, table=table)
    file = tmp_path / "c" / "stage2" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"stage2.*weights\.safetensors"):
        load_cascade(tmp_path / "c", Residual())
    build(study, tmp_path / "c", "residual", accuracy_loss=5.0, table=table)
    few, many = tmp_path / "c" / "stage1", tmp_path / "c" / "stage2"
    few.rename(tmp_path / "few")
    many.rename(few)
    (tmp_path / "few").rename(many)
    with pytest.raises(ValueError, match="stage1: not the weights that the"):
        load_cascade(tmp_path / "c", Residual())
    with pytest.raises(ValueError, match=r"cascade\.json"):
        load_cascade(tmp_path)
    (tmp_path / "c" / "cascade.json").write_text("{}")
    with pytest.raises(ValueError, match="network is missing"):
        load_cascade(tmp_path / "c")


EDITED = (
    ("threshold", 7, "threshold 7 is out of its range"),
    ("threshold", "nan", "threshold nan is out of its range"),
    ("threshold", "high", "could not convert"),
    ("threshold", None, "cascade.json: float"),
    ("router", "coin", "router 'coin' is not registered; .* give --plugin FILE.py"),
    ("router", "selector", "router 'selector' is not registered"),
    ("router", "margin@relu_2", "router 'margin@relu_2' is not registered"),
    ("tap", ["a"], "tap is \\['a'\\]"),
    ("tap", "nowhere", "no tap 'nowhere'"),
    ("latency_ms", [1, 2], "cascade.json: "))


@pytest.fixture(scope="module")
def built(study, table, tmp_path_factory):
    """A cascade's folder as it is written now, and as earlier versions wrote it."""
    folders = [tmp_path_factory.mktemp("built") / name for name in ("new", "old")]
    for folder in folders:
        build(study, folder, "residual", accuracy_loss=5.0, table=table)
    as_earlier_version(folders[1])
    return folders


def edited(folder, tmp_path, change):
    """The folder with another ``cascade.json``, which ``change`` makes of its own."""
    shutil.copytree(folder, tmp_path / "c")
    file = tmp_path / "c" / "cascade.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))
    return tmp_path / "c"


def refused(folder, told, model):
    with pytest.raises(ValueError, match=told) as raised:
        load_cascade(folder, model)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("key, value, told", (
    *EDITED, ("image_shape", 3, "cascade.json: image_shape must be .* got 3"),
    ("image_shape", [3, 8, math.inf], r"json: image_shape must .* got \[3, 8, inf\]"),
    ("image_shape", [5, 8, 8], r"json: Residual doesn't take .* shape \(5, 8, 8\)"),
    ("latency_ms", {"front": 10**400}, "json: int too large"),
    ("stages", 3, "cascade.json: "),
    ("stages", [], "no stages"), ("total_uJ_per_image", {"back": 1}, "'front'"),
    ("total_uJ_per_image", {"front": -1}, "stage 1: .* front is -1"),
    ("network", 7, "stage 1: network is 7"), ("weights", "x", "not the weights"),
    ("network", "mine", r"load_cascade\(folder, model\)")))
def test_an_edited_folder_is_told_in_one_line(built, tmp_path, key, value, told):
    folder = edited(built[0], tmp_path, lambda notes: (
        notes if key in ("image_shape", "stages") else notes["stages"][0]
    ).update({key: value}))
    refused(folder, told, None if key == "network" else Residual())


@pytest.mark.parametrize("key, value, told", (
    *EDITED, ("image_shape", 3, "json: image_shape must be .* got 3"),
    ("weights", 7, "json: 'int'"),
    ("total_uJ_per_image", {"front": 1}, "router is missing"),
    ("total_uJ_per_image", {"front": -1, "router": 0, "back": 1, "mild": 1},
     "front is -1"),
    ("network", "mine", r"load_cascade\(folder, model\)")))
def test_an_edited_folder_of_an_earlier_version_is_told_in_one_line(
        built, tmp_path, key, value, told):
    folder = edited(built[1], tmp_path, lambda notes: notes.update({key: value}))
    refused(folder, told, None if key == "network" else Residual())


def test_a_last_stage_that_a_router_looks_at_is_refused(built, tmp_path):
    def change(notes):
        notes["stages"] = notes["stages"][:1]

    refused(edited(built[0], tmp_path, change), "but no stage after it", Residual())


def test_the_cascade_of_an_earlier_version_is_read(study, built, tmp_path):
    new, old = (load_cascade(folder, Residual()) for folder in built)
    oldest = load_cascade(edited(built[1], tmp_path, lambda notes: notes.update(
        {"energy_uJ": notes.pop("total_uJ_per_image")})), Residual())
    images = study.parts["test"][0][:40]
    expected = new(images)
    for earlier in (old, oldest):
        assert earlier.energies == new.energies and earlier.energies[0].front > 0
        assert earlier.latencies == new.latencies
        assert earlier.thresholds == new.thresholds
        got = earlier(images)
        assert torch.equal(got.logits, expected.logits)
        assert torch.equal(got.scores, expected.scores)
        assert torch.equal(got.uJ, expected.uJ) and torch.equal(got.ms, expected.ms)


def test_a_folder_of_an_earlier_version_is_replaced(study, table, built, tmp_path):
    folder = edited(built[1], tmp_path, lambda notes: None)
    build(study, folder, "residual", accuracy_loss=5.0, table=table)
    assert sorted(one.name for one in folder.iterdir()) == [
        "cascade.json", "stage1", "stage2"]


def test_what_a_study_can_not_use_is_refused_before_any_work(study):
    levels, parts = study.levels, study.parts
    images, labels = parts["choosing"]

    def refused(told, levels=levels, choosing=(images, labels), **options):
        with pytest.raises(ValueError, match=told):
            Study(levels, {**parts, "choosing": choosing}, cache=study.cache, **options)

    refused("TPU", oracle="TPU")
    refused("bits names layers of one", oracle=EnergyOracle(bits={"fc": 8}))
    refused("batch must be", batch=0)
    refused("at least one level", levels[:1])
    refused(r"labels \(239,\)", choosing=(images, labels[1:]))
    refused("the networks know 0 to 4", choosing=(images, labels + 1))
    refused("images of torch.float64, but the weights of dense are torch.float32",
            choosing=(images.double(), labels))
    worse = images.clone()
    worse[3] = math.nan
    refused("image 4 of 240: the network's logits are no finite numbers, as of 1 in",
            choosing=(worse, labels))
    refused("training mode", [Level("dense", Residual()), *levels[1:]])


@pytest.mark.parametrize("wish", (
    {"energy": math.nan}, {"energy": 0.0}, {"energy": 25.0},
    {"accuracy_loss": math.nan}, {"accuracy_loss": math.inf},
    {}, {"accuracy_loss": 1.0, "energy": 0.5}))
def test_a_wish_that_means_nothing_is_refused_before_any_work(tmp_path, wish):
    with pytest.raises(ValueError, match=r"needed|give one of them"):
        build(None, tmp_path / "c", "residual", **wish)
    assert not list(tmp_path.iterdir())


def test_the_readmes_code_makes_a_cascade_of_an_own_model(
        ladder, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code, = (part for part in readme.split("```")
             if part.startswith("python") and "my_cascade" in part)
    monkeypatch.chdir(tmp_path)
    net, _ = ladder
    (images1, labels1), (images2, labels2), batch = (
        images_and_labels(seed, count, net) for seed, count in ((1, 160), (2, 160),
                                                                (3, 64)))
    names = {"my_model": net, "my_loader": [batch], "images1": images1,
             "labels1": labels1, "images2": images2, "labels2": labels2}
    exec(code.removeprefix("python"), names)
    answer = names["cascade"](images2[:3])
    assert answer.uJ.shape == (3,) and answer.uJ.min() > 0
    assert (tmp_path / "programs" / "cascade.pt2").exists()


def test_the_bench_has_every_rival_at_every_size(study, table, monkeypatch):
    losses = (0, 3, 10, 20)     # without training levels lose more than usual
    monkeypatch.setattr("cascade.bench.LOSSES", losses)
    entrant = Entrant(study, table, "residual", "magnitude_global", 0, (0.4, 0.3, 0.2))
    found = curves(entrant, "test")
    assert tuple(found.columns) == COLUMNS
    assert set(found.system) == {"dense", "single", "hull", "cascade", "max_softmax",
                                 "margin", "random", "perfect"}
    measured = found[found.system != "hull"]
    assert (measured.ci_lo <= measured.accuracy).all()
    assert (measured.ci_hi >= measured.accuracy).all()
    dense = found[found.system == "dense"]
    assert dense.energy_rel.iloc[0] == pytest.approx(1, abs=0.02)
    assert found[found.system == "single"].floor_rel.tolist() == [0.3, 0.2]
    assert set(found[found.system == "margin"].floor_rel) <= {0.3, 0.2}
    # Every router's pairs have their bounds, each once.
    for system in ("random", "perfect"):
        rows = found[found.system == system]
        assert not rows.duplicated(["level", "share_mild"]).any()
        assert {one.split()[0] for one in found[found.system == "margin"].level} <= {
            one.split()[0] for one in rows.level}
    judged = verdicts([entrant, entrant])
    assert (judged.seeds == 2).all()
    dense = study.outputs[0]["choosing"].accuracy
    cheapest = {(loss, system): rows.energy[rows.accuracy >= dense - loss / 100].min()
                for loss in losses for system, rows in table.groupby("system")}
    assert set(zip(judged.loss, judged.system, strict=True)) == {
        key for key, energy in cheapest.items()
        if energy < study.level(0, "choosing")[1].mean()}
    assert (judged.low <= judged.below_hull).all()
    assert (judged.below_hull <= judged.high).all()
    assert judged.share_mild.between(0, 1).all()
    assert judged.level.str.contains(">").all()
    learned = learned_against_free([entrant, entrant])
    assert len(learned) and (learned.low <= learned.points).all()
    assert (learned.points <= learned.high).all()
    same = learned_against_free([entrant], free="margin", part="choosing")
    # Not above what is spent, where it was chosen.
    assert (same.energy_learned <= same.energy_free + 1e-9).all()


def test_verdicts_keep_every_figure_on_a_narrow_terminal(capsys, monkeypatch):
    row = dict.fromkeys(("share_mild", "energy_rel", "saved", "hull_rel"), 0.75) | {
        "network": "resnet20", "method": "channels+energy_aware",
        "hardware": "eyeriss_chip", "objective": "joules", "batch": 16,
        "system": "max_softmax", "loss": 0.5, "lost": 12.34, "below_hull": -0.123,
        "low": -0.456, "high": -0.012, "wins": True, "seeds": 3, "floor_rel": 0.2}
    # What rich takes for a terminal of so many columns.
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_verdicts(pd.DataFrame([row]))
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert ("max_softmax 0.5 12.34 75 % 0.750 75.0 % 0.750 -0.123 -0.456 -0.012 wins"
            in {" ".join(line.split()) for line in lines})


def test_where_no_cascade_saves_anything_the_bench_says_so(study, table, capsys):
    dear = table[table.energy > 1]
    entrant = Entrant(study, dear, "residual", "magnitude_global", 0, (0.4,) * 3)
    judged = verdicts([entrant])
    assert judged.empty
    print_verdicts(judged)
    assert "no cascade loses so little for less" in capsys.readouterr().out
    print_learned_against_free(learned_against_free([entrant]))
    assert not capsys.readouterr().out


def test_the_figure_shows_levels_below_the_dense_networks_floor(study, table):
    entrant = Entrant(study, table, "residual", "channels", 0, (0.99, 0.99, 0.5))
    found = curves(entrant, "test")
    more = pd.concat([found, found.assign(seed=1)])
    assert draw(more, "residual", "noise").get_suptitle() == (
        "residual, seed 0 of 2 seeds (noise)")
    panel = draw(found, "residual, channels", "noise").axes[0]
    low, high = panel.get_xlim()
    assert low < found.energy_rel.min() and high > found[
        found.system == "dense"].energy_rel.iloc[0]
    assert {text.get_text() for text in panel.texts} == {
        "floor, all channels", "floor, fewest channels"}
    sides = {text.get_text(): text.get_ha() for text in draw(
        found.assign(floor_rel=found.floor_rel.where(found.system != "dense", high)),
        "residual, channels", "noise").axes[0].texts}
    assert sides["floor, all channels"] == "right"      # of the panel, without room


def test_the_hull_in_the_table_goes_through_its_own_levels(study, table):
    entrant = Entrant(study, table, "residual", "magnitude_global", 0, (0.4,) * 3)
    found = curves(entrant, "test")
    hull = found[found.system == "hull"].sort_values("accuracy")
    for _, level in found[found.system.isin(("dense", "single"))].iterrows():
        drawn = np.interp(level.accuracy, hull.accuracy, hull.energy_rel)
        assert drawn <= level.energy_rel + 1e-12


def test_a_network_of_fewer_channels_has_a_lower_floor(tmp_path):
    torch.manual_seed(0)
    net, data = make("option A"), [(pictures(64), torch.zeros(64, dtype=torch.int64))]
    climb(net, "channels", [Rung(Energy(0.8))], tmp_path, data=data,
          config={"network": "net"}, recipe=None, make_fresh=None)
    small = ladder_levels(tmp_path, net)[0].network
    strata = Strata.of(pictures(64), np.arange(64.0))
    assert 0 < floor_of(small, strata, "eap_tool", dense=net) < floor_of(
        net, strata, "eap_tool") < floor_of(small, strata, "eap_tool")


def test_the_shipped_router_needs_the_least_energy_over_all_seeds():
    class Seed:
        def __init__(self, **energies):
            self.energies, self.study = energies, self

        def chosen(self, system, loss):
            return system if system in self.energies and loss else None

        def system(self, choice, part):
            assert part == "choosing"
            return None, np.array([self.energies[choice]] * 2), None

    one, two = Seed(margin=0.5, max_softmax=0.6, cascade=0.1), Seed(
        margin=0.5, max_softmax=0.3)
    assert shipped_router([one], 1.0) == "cascade"
    assert shipped_router([one, two], 1.0) == "max_softmax"
    assert shipped_router([one, two], 0.0) is None


def test_a_batch_of_sixteen_costs_less_an_image(study):
    sixteen = Study(study.levels, study.parts, batch=16, cache=study.cache)
    assert sixteen.reference[0] < study.reference[0]
    # An image with a deadline waits for all of its batch: it is served alone.
    assert np.allclose(network_table(sixteen).ms, network_table(study).ms)
    choice = Choice((2, 0), ("margin",), (float(np.median(
        study.scores(2, 0, "margin", "test"))),))
    alone = study.chain_costs((2, 0), ("margin",), "test")[1]
    first, together = sixteen.chain_costs((2, 0), ("margin",), "test")
    _, costs, stages = sixteen.system(choice, "test")
    routes = stages > 0
    expected = (first.asked + together.asked * together.asked_share(
        np.array([routes.mean()])))[routes]
    assert np.allclose(costs[routes], expected)
    # Alone in the mild network, an image saves nothing of the batch.
    rarely = together.asked_share(np.array([1e-6]))
    assert rarely[0] == pytest.approx(1, abs=1e-3)
    assert np.allclose(together.asked * sixteen.reference[0],
                       alone.asked * study.reference[0])


def test_in_a_batch_the_rest_of_the_aggressive_network_runs_for_those_that_stay(study):
    sixteen = Study(study.levels, study.parts, batch=16, cache=study.cache)
    name = next(name for name in sixteen.routers(2)
                if sixteen.router(2, 0, name) is not None)
    both = sixteen.chain_costs((2, 0), (name,), "test")
    costs = both[0]
    layers = sixteen.costs[2][0].layer_names
    rest = [one for one in layers if one not in sixteen.tap_of(2, name).layer_names]
    assert rest and costs.back_share(np.ones(1)) == pytest.approx(1)
    # One that stays alone pays for all the filters of the rest.
    alone = costs.back.mean() * costs.back_share(np.array([1e-6]))[0]
    assert alone * sixteen.reference[0] == pytest.approx(
        sixteen.costs[2][0].part(rest).mean(), rel=0.02)
    assert alone > 1.05 * costs.back.mean()
    scores = sixteen.scores(2, 0, name, "test")
    few, many = (sixteen.outputs[place]["test"].right.numpy() for place in (2, 0))
    found = threshold_curve(scores, few, many, both)
    for threshold, energy in zip(found.threshold, found.energy, strict=True):
        assert energy == pytest.approx(
            charge(both, (scores > threshold).astype(int)).mean(), rel=1e-12)


def test_a_dense_level_is_read_from_a_training_or_a_rung(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json"):
        dense_level(tmp_path)
    from pruning.checkpoint import save_model
    from pruning.records import write_json
    net = make_model("resnet20")
    save_model(tmp_path / "weights.safetensors", net, {"network": "resnet20"})
    write_json(tmp_path / "config.json", {
        "network": "resnet20", "image_shape": [3, 32, 32]})
    level, name = dense_level(tmp_path)
    assert name == "resnet20" and level.name == "dense"
    assert torch.equal(level.network.fc.weight, net.fc.weight)
    with torch.no_grad():
        net.fc.weight[0, 0] = 0
    masks = Masks.of(net, prunable(net))
    masks.save(tmp_path / "masks.safetensors")
    with pytest.raises(ValueError, match="a pruned network, 100 % of the weights; the"):
        dense_level(tmp_path)


@pytest.mark.parametrize("words, told", (
    (["build", "--network", "resnet21", "--data", "d", "--energy", "0.5"],
     "did you mean resnet20"),
    (["bench", "--network", "resnet20", "--data", "d", "--out", "x.pdf"], ".png"),
    (["build", "--network", "resnet20", "--data", "d"], "--accuracy-loss"),
    (["run", "nowhere", "--data", "d"], "d: "),
    (["build", "--network", "resnet20", "--data", "d", "--energy", "nan"],
     "energy nan: a share"),
    (["build", "--network", "resnet20", "--data", "d", "--energy", "0.5", "--hardware",
      "TPU"], "TPU"),
    (["bench", "--network", "resnet20", "--data", "d", "--batch", "0"], "--batch"),
    (["bench", "--network", "resnet20", "--data", "d", "--objective", "joy"], "joules"),
    (["bench", "--network", "resnet20", "--data", "d", "--bits", "0"], "bits"),
    (["build", "--network", "resnet20", "--data", "d", "--energy", "1", "--zeros",
      "all"], "skip_either"),
    (["build", "--network", "resnet20", "--data", "d", "--energy", "0.5", "--bits",
      "colour=8"], "colour"),
    (["bench", "--network", "resnet20", "--data", "d", "--out", "no/x.png"], "no"),
    (["bench", "--network", "resnet20", "--data", "d", "--rung", "nonsense"],
     "nonsense"),
    (["export", "nowhere", "--out", "p"], "cascade.json"),
))
def test_wrong_input_gets_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        command(words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_rung_that_is_missing_or_not_finished_is_named(tmp_path, capsys):
    (tmp_path / "energy=0.7").mkdir()
    (tmp_path / "energy=0.7" / "metrics.json").write_text("{}")
    (tmp_path / "energy=0.5" / "training").mkdir(parents=True)
    with pytest.raises(SystemExit) as stopped:
        command(["bench", "--network", "resnet20", "--data", "d", "--ladder",
                 str(tmp_path), "--rung", "energy=0.3"])
    assert stopped.value.code == 2
    note, error = capsys.readouterr().err.splitlines()
    assert "energy=0.5 is not finished and left out" in note
    assert "--rung energy=0.3" in error and "is there without it" in error
    with pytest.raises(SystemExit):
        command(["bench", "--network", "resnet20", "--data", "d", "--ladder",
                 str(tmp_path), "--rung", "energy=0.8+energy=0.5"])
    assert "energy_aware needs 1, as energy=0.5" in capsys.readouterr().err


def test_a_climb_that_was_stopped_goes_on_to_all_that_it_was_asked_for(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def prune(words):
        asked.append([after for word, after in itertools.pairwise(words)
                      if word == "--target"])
        assert words[words.index("--hardware") + 1] == "eyeriss_chip"
        assert "--download" in words
        out = Path(words[words.index("--out") + 1])
        for rung in asked[-1][:len(asked)]:     # killed after one more each time
            folder = out / rung.replace("+", "_")
            folder.mkdir(exist_ok=True)
            for name in ("metrics.json", "weights.safetensors"):
                (folder / name).write_text("{}")
        if len(asked) < len(asked[-1]):
            raise KeyboardInterrupt

    monkeypatch.setattr("pruning.cli.main", prune)
    monkeypatch.setattr("cascade.cli.load_data", lambda args: None)
    monkeypatch.setattr("cascade.folder_study.folder_study", lambda *a, **k: "study")
    options = SimpleNamespace(
        network="resnet20", method="channels+energy_aware", hardware="eyeriss_chip",
        batch=1, zeros=None, bits=None, objective="energy", threads=None, dense=None,
        seed=0, ladder=None, data="d", dataset="cifar10", data_name="noise",
        download=True, epochs=1, cache=None,
        rung=["energy=0.8+energy=0.7", "energy=0.80+energy=0.5"])
    with pytest.raises(KeyboardInterrupt):
        study_of(options)
    options.rung = None                     # remembered
    prune_again = study_of(options)
    assert prune_again == "study" and len(asked) == 2 and asked[0] == asked[1]
    assert study_of(options) == "study" and len(asked) == 2
    ladder = tmp_path / "runs" / "resnet20_channels+energy_aware_s0"
    assert not list(ladder.glob("*.json"))
    options.rung = ["energy=0.8+energy=0.70"]       # another way to write a rung
    assert study_of(options) == "study" and len(asked) == 2


@pytest.mark.parametrize("noted", [None, {"rungs": ["energy=0.5"]}])
def test_a_climb_that_was_refused_leaves_no_wish_behind(tmp_path, monkeypatch, noted):
    begun = tmp_path / "energy=0.4" / "training"
    begun.mkdir(parents=True)
    (begun / "training.safetensors").write_text("x")
    if noted:
        (tmp_path / "climbing.json").write_text(json.dumps(noted))
    before = sorted(tmp_path.iterdir())

    def refuse(words):
        raise SystemExit(2)

    monkeypatch.setattr("pruning.cli.main", refuse)
    monkeypatch.setattr("cascade.cli.load_data", lambda args: None)
    options = SimpleNamespace(
        network="resnet20", method="energy_awar", hardware="eap_tool", batch=1,
        zeros=None, bits=None, objective="energy", threads=None, dense=None, seed=0,
        ladder=[tmp_path], data="d", dataset="cifar10", data_name="noise",
        download=False, epochs=1, cache=None, rung=["energy=0.33"])
    with pytest.raises(SystemExit):
        study_of(options)
    assert sorted(tmp_path.iterdir()) == before
    if noted:
        assert json.loads((tmp_path / "climbing.json").read_text()) == noted


def test_a_ladder_of_two_methods_has_rungs_of_its_own():
    assert default_rungs("vgg16", "random")[0] == "energy=0.3"
    for network in RUNGS:
        rungs = default_rungs(network, "channels+energy_aware")
        assert all(rung_folder(rung, "channels+energy_aware") for rung in rungs)
    with pytest.raises(ValueError, match=r"name its rungs, as --rung energy=0\.5"):
        default_rungs("vgg16", "channels+channels+random")
    with pytest.raises(ValueError, match="mine has no rungs of its own; name those to"):
        default_rungs("mine", "random")


@pytest.mark.parametrize("network", RUNGS)
def test_rungs_of_weights_lie_above_what_is_left_without_any(network):
    torch.manual_seed(0)
    model, images = make_model(network), torch.randn(8, 3, 32, 32)
    model.train()(images)       # normalises, or hardly an activation would be zero
    model.eval()
    weights, oracle = prunable(model), EnergyOracle("eap_tool")
    meter = meter_of(Energy(1), model, weights,
                     Reference.of(model, weights, oracle, images), oracle, images)
    assert min(RUNGS[network]) > meter.floor > 0.1
