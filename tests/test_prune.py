"""prune(): methods meet their targets, train under their masks, say what is left."""

import copy
import json
import re
import shutil
from contextlib import contextmanager

import pruning_nets
import pytest
import torch
from pruning_nets import Tokens, make, pictures
from torch import nn
from torch.nn.utils import prune as torch_prune

from eyeriss_sim.oracle import EnergyOracle
from pruning import Density, Energy, Loaders, Macs, Masks, Params, Recipe, prune, scores
from pruning.calibration import columns_of, gather
from pruning.channels import find_channels
from pruning.controls import CONTROLS, control_epochs, shuffled
from pruning.loaders import accuracy
from pruning.meters import Reference, meter_of
from pruning.methods import METHODS
from pruning.methods.channel_filters import _worth
from pruning.methods.psconv import periodic_supports
from pruning.problem import Problem
from pruning.progress import telling
from pruning.prunable import prunable
from pruning.schedules import geometric
from pruning.selection import Order, OutOfReach
from pruning.settling import settle
from pruning.shrink import shrink

ONE_EPOCH = Recipe(epochs=1, lr=0.01, precision="float32")
BY_TARGET = [name for name, one in METHODS.items()
             if not one.own_levels and not one.shrinks]


def batches(count=4, seed=1):
    """Batches of two images: of all eight one run measures the zeros."""
    return pruning_nets.batches(count, seed, images=2)


def problem_of(model, target, images=8, **options):
    weights = prunable(model)
    oracle = EnergyOracle("eap_tool")
    reference = Reference.of(model, weights, oracle, pictures())
    return Problem(copy.deepcopy(model), weights, reference, oracle, pictures(images),
                   target, Masks.dense(model, weights), zero_images=8, **options)


@pytest.mark.parametrize("target", [Energy(0.7), Density(0.4), Macs(0.5), Params(0.5)])
@pytest.mark.parametrize("name", BY_TARGET)
def test_a_method_meets_its_target_to_one_weight(name, target):
    model = make("option A")
    options = {"iterations": 5} if name == "synflow" else {}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = prune(model, name, target, data=batches(), **options)
    assert found.report["met"] <= target.share
    weights = prunable(model)
    meter = meter_of(target, model, weights, found.baseline.reference,
                     EnergyOracle("eap_tool"),
                     Loaders.of(batches()).images(512, 0)[:64])
    largest = max(float(price.max()) for price in meter.prices.values())
    assert found.report["met"] > target.share - largest * (1 + 1e-9)
    assert Masks.of(found.network, weights).nested_in(found.masks)
    assert all(torch.equal(value, before[key])
               for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", [*BY_TARGET, "channels", "psconv", "psconv_random"])
def test_a_pruned_network_never_costs_more_than_the_dense_one_with_its_zeros(name):
    model = make("option A")
    problem = problem_of(model, Energy(0.8))
    masks = METHODS[name].choose(problem)
    dense = problem.oracle(model, problem.few_images).total_uJ
    pruned = copy.deepcopy(model)
    problem.oracle(pruned, problem.few_images)
    masks.apply(pruned)
    assert problem.oracle(pruned).total_uJ < dense


@pytest.mark.parametrize("name", ["option A", "option B", "chain", "separable"])
@pytest.mark.parametrize("target", [Energy(0.8), Macs(0.5), Params(0.5), Density(0.5)])
def test_channels_meet_a_target_with_the_network_that_is_really_built(name, target):
    model = make(name)
    problem = problem_of(model, target)
    masks = METHODS["channels"].choose(problem)
    small = shrink(model, pictures(), masks)
    assert problem.cost(small) <= target.share
    masked = copy.deepcopy(model)
    masks.apply(masked)
    with torch.no_grad():
        assert torch.allclose(small(pictures()), masked(pictures()), atol=1e-5)


def test_channels_save_on_a_machine_where_zero_weights_save_nothing():
    chip = EnergyOracle("eyeriss_chip")
    found = prune(make("option A"), "channels", Energy(0.8), data=batches(),
                  oracle=chip)
    assert found.report["energy_rel_eyeriss_chip"] == found.report["met"] <= 0.8
    with pytest.raises(ValueError, match=r"energy=0\.8 cannot be reached: with all prun"
                       r"able weights at zero 1\.0000 of the energy on eyeriss_chip"):
        prune(make("option A"), "energy_budget", Energy(0.8), data=batches(),
              oracle=chip)


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "dense", "eyeriss_rtl"])
@pytest.mark.parametrize("target", [Energy(0.9), Macs(0.6), Params(0.6), Density(0.6)])
def test_layers_are_taken_by_what_they_cost_of_the_targets_quantity(hardware, target):
    model = make("chain")
    oracle = EnergyOracle(hardware, zeros="skip_either", objective="energy")
    weights = prunable(model)
    table = oracle(model, pictures()).table.set_index("layer")
    joules, normalised = (table[column].sort_values(ascending=False).index.tolist()
                          for column in ("total_uJ", "energy_MAC"))
    assert joules != normalised     # clock and leakage are in joules alone
    order = {Energy: joules, Macs: ["0", "4", "8"]}.get(type(target), ["8", "4", "0"])
    told = []
    problem = Problem(
        copy.deepcopy(model), weights, Reference.of(model, weights, oracle, pictures()),
        oracle, pictures(), target, Masks.dense(model, weights), tell=told.append)
    METHODS["energy_aware"].choose(problem)
    assert [line.split()[1] for line in told] == [f"{layer}.weight," for layer in order]


@pytest.mark.parametrize("target, column", [
    (Energy(0.9), "total_uJ"), (Macs(0.9), "macs"), (Density(0.9), None)])
def test_channels_go_by_what_goes_with_them_of_the_targets_quantity(target, column):
    model, oracle = make("chain"), EnergyOracle("eyeriss_chip")
    weights = prunable(model)
    problem = Problem(
        model, weights, Reference.of(model, weights, oracle, pictures()), oracle,
        pictures(), target, Masks.dense(model, weights))
    table = oracle(model, pictures()).table.set_index("layer")
    costs = {"0": 8 * 3 * 9, "4": 12 * 8 * 9, "8": 5 * 192} if column is None else (
        table[column].to_dict())
    worth = _worth(find_channels(model, pictures()), problem, True)
    shares = [one.square().flatten(1).sum(1) / one.square().sum()
              for one in (model[0].weight.detach().double(),
                          model[4].weight.detach().double())]
    expected = [*(shares[0] / ((costs["0"] + costs["4"]) / 8)),
                *(shares[1] / ((costs["4"] + costs["8"]) / 12))]
    assert worth.tolist() == pytest.approx(torch.stack(expected).tolist(), rel=1e-6)


def with_a_small_layer():
    """A network of which one threshold takes the third layer first."""
    model = make("option A")
    with torch.no_grad():
        model.conv1b.weight *= 1e-3
    return model


def test_a_layer_keeps_its_largest_weight_and_is_named_unless_asked_otherwise():
    kept, empty = (prune(with_a_small_layer(), "magnitude_global", Density(0.5),
                         data=batches(), **options)
                   for options in ({}, {"empty_layers": True}))
    assert kept.report["kept_alive"] == "conv1b" and "kept_alive" not in empty.report
    size = with_a_small_layer().conv1b.weight.abs()
    assert torch.equal(kept.masks["conv1b.weight"], size == size.max())
    assert not empty.masks["conv1b.weight"].any()
    assert kept.masks.kept == empty.masks.kept      # another weight went instead
    # A layer that was empty before stays so.
    again = prune(empty.network, "magnitude_global", Density(0.4), data=batches(),
                  baseline=empty.baseline)
    assert not again.masks["conv1b.weight"].any() and "kept_alive" not in again.report


@pytest.mark.parametrize("name", BY_TARGET)
def test_where_no_layer_is_emptied_masks_are_the_same_either_way(name):
    options = {"iterations": 5} if name == "synflow" else {}
    one, other = (prune(make("option A"), name, Energy(0.75), data=batches(),
                        empty_layers=empty, **options) for empty in (False, True))
    assert one.masks == other.masks and "kept_alive" not in one.report


@pytest.mark.parametrize("target", [Density(1e-5), Params(0.01), Macs(1e-5)])
def test_one_weight_a_layer_is_the_least_of_a_count(target):
    with pytest.raises(OutOfReach, match=(
            r"cannot be reached: with all prunable weights at zero .* is left; ask for "
            r"0\.0.* is the least of what was")):
        prune(make("option A"), "magnitude_global", target, data=batches())


def test_methods_compose_channels_first():
    model = make("option A")
    found = prune(model, "channels+energy_budget", [Energy(0.8), Energy(0.6)],
                  data=batches(), recipe=ONE_EPOCH)
    assert found.report["met"] <= 0.6 < found.report["met"] + 0.01
    assert found.shrinks[0].keys() == prunable(model).keys()
    rebuilt = shrink(model, pictures(), found.shrinks[0])
    rebuilt.load_state_dict(found.network.state_dict())
    assert Masks.of(rebuilt, found.masks).nested_in(found.masks)


def test_training_keeps_the_masks_and_steps_are_nested(tmp_path):
    model = make("option A")
    data = Loaders(batches(), batches(1, seed=2))
    found = prune(model, "magnitude_global", Density(0.3), data=data, recipe=ONE_EPOCH,
                  steps=3, folder=tmp_path)
    assert [row["step"] for row in found.history] == ["step1", "step2", "step3"]
    assert found.report["weights_rel"] == pytest.approx(0.3, abs=1e-3)
    assert Masks.of(found.network, found.masks).nested_in(found.masks)
    assert (tmp_path / "magnitude_global" / "step3").is_dir()
    again = prune(model, "magnitude_global", Density(0.3), data=data, recipe=ONE_EPOCH,
                  steps=3, folder=tmp_path)
    assert again.masks == found.masks
    for key, value in found.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key])


# No energies, to which a training settles at every epoch: that takes four times longer.
@pytest.mark.parametrize("name, target", [
    ("channels", Params), ("magnitude_global", Density)])
def test_a_method_that_comes_twice_trains_twice(name, target, tmp_path):
    found = [prune(make("option A"), f"{name}+{name}", [target(0.9), target(0.7)],
                   data=batches(), recipe=ONE_EPOCH, folder=folder)
             for folder in (None, tmp_path)]
    for key, value in found[0].network.state_dict().items():
        assert torch.equal(value, found[1].network.state_dict()[key])


def test_a_step_below_the_accuracy_floor_is_taken_back():
    data = Loaders(batches(), batches(1, seed=2))
    found = prune(make("chain"), "energy_aware", data=data, accuracy_floor=1.0)
    assert found.report["met"] == 1 and found.masks.density == 1
    assert found.report["accuracy"] == accuracy(make("chain"), data.choose)
    assert found.report["stopped"].startswith("step 1: accuracy 0.")
    assert found.report["stopped"].endswith("is below the floor 1")
    found = prune(make("chain"), "magnitude_global", data=data, accuracy_floor=0.0)
    assert found.report["met"] - found.report["floor"] < 1e-3
    assert "stopped" not in found.report


def test_both_methods_of_a_composition_say_where_the_accuracy_floor_stopped_them():
    found = prune(make("option A"), "channels+random", [Energy(0.9), Energy(0.8)],
                  data=Loaders(batches(), batches(1, seed=2)), accuracy_floor=1.0)
    first, second = found.report["stopped"].split("; ")
    assert first.startswith("channels step 1") and second.startswith("random step 1")


def test_a_step_that_cannot_be_reached_ends_a_search_for_the_accuracy_floor(
        monkeypatch):
    settled = []

    def out_of_reach_in_third(*args):
        settled.append(1)
        if len(settled) == 3:
            raise OutOfReach("energy=0.7 cannot be reached")
        return settle(*args)

    monkeypatch.setattr("pruning.method_run.settle", out_of_reach_in_third)
    call = dict(data=Loaders(batches(), batches(1, seed=2)), accuracy_floor=0.0)
    found = prune(make("chain"), "magnitude_global", **call)
    assert found.report["floor"] < found.report["met"] < 0.8
    assert found.report["stopped"] == "step 3: energy=0.7 cannot be reached"
    settled[:] = [1, 1]
    with pytest.raises(OutOfReach):         # where a target was asked for
        prune(make("chain"), "magnitude_global", Energy(0.7), **call)


@pytest.mark.parametrize("target", [Energy(0.8), Macs(0.7)])
def test_energy_aware_pruning_leaves_a_layer_that_never_runs_alone(target):
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.aside = make("chain"), nn.Conv2d(3, 4, 3)

        def forward(self, images):
            return self.net(images)

    found = prune(Aside().eval(), "energy_aware", target, data=batches())
    assert found.report["met"] <= target.share
    assert found.masks["aside.weight"].all()


@pytest.mark.parametrize("allocation", ["energy", "magnitude", "uniform"])
@pytest.mark.parametrize("imitate", ["dense", "current"])
def test_energy_aware_errors_are_below_those_of_removal_alone(allocation, imitate):
    model = make("option A")
    problem = problem_of(model, Density(0.3), images=64)
    masks = METHODS["energy_aware"].choose(
        problem, allocation=allocation, imitate=imitate, rows=2048)
    plain = problem_of(model, Density(0.3), images=64)
    METHODS["magnitude_uniform"].choose(plain).apply(plain.model)
    assert masks.density == pytest.approx(0.3, abs=1e-3)
    # Each layer alone, on the inputs that it really gets, beside dense outputs.
    for name, one in problem.prunables.items():
        moments = gather(problem.model, [one.layer], pictures(64), dense=model)
        error = float(moments[one.layer].error(columns_of(
            problem.model.get_parameter(name), one.groups)).sum())
        assert error < float(moments[one.layer].output_power.sum())
    with torch.no_grad():
        truth = model(pictures())
        errors = [float((one.model(pictures()) - truth).square().mean())
                  for one in (problem, plain)]
    assert errors[0] < errors[1]


def test_energy_aware_pruning_goes_on_within_its_own_masks():
    model = make("chain")
    found = prune(model, "energy_aware", Energy(0.6), data=batches(), steps=2)
    first = prune(model, "energy_aware", Energy(
        geometric(1, 0.6, 2, found.report["floor"])[0]), data=batches())
    assert found.masks.nested_in(first.masks)


@pytest.mark.parametrize("name", ["chain", "option A", "option B"])
def test_synaptic_flow_is_conserved(name):
    model = make(name)
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    flow = {key: float(score.sum()) for key, score in scores.synflow(
        model, prunable(model), pictures()).items()}
    if name == "chain":
        assert list(flow.values()) == pytest.approx([flow["8.weight"]] * 3, rel=1e-9)
        return
    total = flow["fc.weight"]
    assert flow["stem.weight"] == pytest.approx(total, rel=1e-9)
    # A branch alone carries less than the whole, and a block's two layers the same.
    assert flow["conv1a.weight"] == pytest.approx(flow["conv1b.weight"], rel=1e-9)
    assert flow["conv1a.weight"] < total
    if name == "option B":          # a cut through the branch and the projection
        assert flow["conv2b.weight"] + flow["project.weight"] == pytest.approx(
            total, rel=1e-9)


def test_synflow_scores_no_weight_zero_behind_max_pooling():
    flow = scores.synflow(make("chain"), ["0.weight"], pictures())
    assert (flow["0.weight"] > 0).all()


@pytest.mark.parametrize("pool", [
    nn.MaxPool2d(2), lambda x: torch.nn.functional.max_pool2d(x, 2),
    lambda x: torch.max_pool2d(x, [2, 2]), lambda x: torch.nn.functional.max_pool2d(
        x, kernel_size=2, stride=2), nn.AdaptiveMaxPool2d(4),
    lambda x: torch.nn.functional.adaptive_max_pool2d(x, (4, 4)),
    lambda x: torch.nn.functional.adaptive_max_pool2d(input=x, output_size=4),
    lambda x: torch.nn.functional.max_pool2d(x, 2, return_indices=True)[0]])
def test_synflow_averages_whichever_way_a_model_pools(pool):
    class Pooled(nn.Module):
        def __init__(self, pool):
            super().__init__()
            self.net, self.pool = make("chain"), pool

        def forward(self, x):
            return self.net[4:](self.pool(self.net[:3](x)))

    flow, same = (scores.synflow(Pooled(one), ["net.0.weight"], pictures())
                  for one in (pool, nn.AvgPool2d(2)))
    assert torch.equal(flow["net.0.weight"], same["net.0.weight"])


def test_synflow_leaves_indices_and_dilated_windows_as_they_are():
    class Unpooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(144, 2)

        def forward(self, x):
            pool = nn.functional.max_pool2d
            pooled, where = pool(self.first(x), 2, return_indices=True)
            wide = pool(nn.functional.max_unpool2d(pooled, where, 2), 3, 1, 1, 2)
            return self.last(wide.flatten(1))

    flow = scores.synflow(Unpooled(), ["first.weight", "last.weight"], pictures())
    assert all((score >= 0).all() and score.sum() > 0 for score in flow.values())


def test_synflow_in_many_iterations_keeps_every_layer_where_one_empties_some():
    torch.manual_seed(0)
    layers = []
    for width in (32, 4, 32, 4, 32):
        layers += [nn.LazyConv2d(width, 3, padding=1, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))
    model(pictures())
    left = {iterations: min(prune(
        model, "synflow", Density(0.01), data=batches(), iterations=iterations
        ).masks.densities.values()) for iterations in (1, 100)}
    assert left[100] > 0 and left[1] < left[100]


@pytest.mark.parametrize("support, taps", [(1, 16), (2, 23), (3, 30), (4, 37)])
def test_periodic_kernels_have_exact_densities(support, taps):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3),
                          nn.Conv2d(24, 8, 1), nn.Flatten(), nn.Linear(8 * 16, 5))
    found = prune(model, "psconv", data=batches(), support=support)
    densities = found.masks.densities
    assert densities["1.weight"] == taps / 72
    assert [densities[f"{name}.weight"] for name in (0, 2, 4)] == [1, 1, 1]
    assert "energy_rel_eap_tool_periodic" in found.report
    alone = prune(model, "psconv_random", data=batches(), support=support)
    assert alone.masks.densities["1.weight"] == pytest.approx(support / 9)
    assert (alone.masks["1.weight"].flatten(2).sum(-1) == support).all()


def test_the_first_layer_stays_dense_and_no_other_where_it_is_excluded():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3),
                          nn.Conv2d(24, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 5))
    found = prune(model, "psconv_random", data=batches(), exclude=["0"])
    assert found.masks.densities["1.weight"] == pytest.approx(2 / 9)
    assert found.masks == Masks({name: mask for name, mask in prune(
        model, "psconv_random", data=batches()).masks.items() if name != "0.weight"})


def test_supports_of_a_period_cover_all_taps_and_repeat_where_variants_are_few():
    assert periodic_supports(2, 8)[:7].any(0).all()
    few = periodic_supports(4, 8, 1, variants=3)
    assert len({tuple(one.flatten().tolist()) for one in few}) == 4
    assert torch.equal(few[0], few[3]) and few[7].all()
    assert periodic_supports(3, 4, dense_kernels=0).sum() == 12


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_train_what_they_say(control):
    model = make("chain")
    found = prune(model, "magnitude_global", Density(0.4), data=batches(),
                  recipe=ONE_EPOCH, control=control, dense_epochs=2)
    plain = prune(model, "magnitude_global", Density(0.4), data=batches()).masks
    assert len(found.history) == control_epochs(control, 1, 2)
    if control == "dense":
        assert found.masks.density == 1
    else:
        assert found.masks.densities == plain.densities
        assert (found.masks == plain) == (control in ("reinit", "scratch"))
    assert Masks.of(found.network, found.masks).nested_in(found.masks)


def test_controls_from_fresh_weights_learn_at_the_pace_of_fresh_weights():
    call = dict(data=batches(), recipe=ONE_EPOCH, dense_epochs=2,
                fresh_recipe=Recipe(epochs=9, lr=0.08, precision="float32"))
    for control, quick in (("scratch", True), ("dense", False), ("shuffle", False)):
        found = prune(make("chain"), "magnitude_global", Density(0.4), control=control,
                      **call)
        assert (found.history[0]["lr"] > ONE_EPOCH.lr) == quick
        assert len(found.history) == control_epochs(control, 1, 2)
    # A method for fresh weights has had the whole schedule: so much is equal compute.
    found = prune(make("chain"), "random", Density(0.4), control="scratch", **call)
    alone = prune(make("chain"), "synflow", Density(0.4), control="scratch", **call)
    assert (len(found.history), len(alone.history)) == (3, 1)


def test_weights_of_excluded_layers_count_as_what_they_are():
    model = make("chain")
    found = prune(model, "magnitude_global", Density(0.5), data=batches(),
                  exclude=["8"])
    weights = {name: model.get_parameter(name).numel() for name in prunable(model)}
    left = sum(weights.values()) - (sum(weights.values()) - weights["8.weight"]) / 2
    assert found.report["weights_rel"] == pytest.approx(
        left / sum(weights.values()), abs=1e-3)


def test_a_folders_training_is_taken_up_by_the_same_call_alone(tmp_path):
    call = dict(data=batches(), recipe=ONE_EPOCH, folder=tmp_path)
    first = prune(make("chain"), "magnitude_global", Density(0.7), **call)
    again = prune(make("chain"), "magnitude_global", Density(0.7), **call)
    assert again.history == first.history       # only read
    for change, told in ((dict(seed=1), "another seed"), (dict(steps=2), "steps"),
                         (dict(exclude=["0"]), "another exclude")):
        with pytest.raises(ValueError, match=told):
            prune(make("chain"), "magnitude_global", Density(0.7), **call, **change)
    with pytest.raises(ValueError, match=r"another target; .*density=0\.7"):
        prune(make("chain"), "magnitude_global", Density(0.2), **call)
    with pytest.raises(ValueError, match="another model"):
        prune(make("chain", seed=3), "magnitude_global", Density(0.7), **call)


JUDGED = dict(data=Loaders(batches(), batches(1, 2)), recipe=ONE_EPOCH)


@pytest.fixture(scope="module")
def begun_pruning(tmp_path_factory):
    """A folder in which a network was pruned and trained, to be copied."""
    folder = tmp_path_factory.mktemp("pruning")
    prune(make("chain"), "magnitude_global", Energy(0.9), folder=folder, **JUDGED)
    return folder


@pytest.mark.parametrize("change, told", [
    (dict(oracle=EnergyOracle("eap_tool", batch=16)), "another batch; 1, not 16"),
    (dict(oracle=EnergyOracle("eyeriss_chip")), "another oracle; eap_tool, not eyeris"),
    (dict(oracle=EnergyOracle("eap_tool", zeros="dense")), "another zeros; "),
    (dict(oracle=EnergyOracle("eap_tool", filter_code="periodic")),
     "another filter_code; "),
    (dict(oracle=EnergyOracle("eap_tool", objective="joules")),
     "another objective; energy, not joules"),
    (dict(accuracy_floor=0.1), "another accuracy_floor; None, not 0.1"),
    (dict(data=batches(seed=7)), "another calibration_images"),
    (dict(teacher=make("chain", 3)), "another teacher"),
    (dict(dense_epochs=3), "another dense_epochs; None, not 3")])
def test_a_folders_training_is_not_taken_up_for_another_judge(
        change, told, begun_pruning, tmp_path):
    shutil.copytree(begun_pruning, tmp_path, dirs_exist_ok=True)
    call = JUDGED | dict(folder=tmp_path)
    with pytest.raises(ValueError, match=told):
        prune(make("chain"), "magnitude_global", Energy(0.9), **{**call, **change})
    note = json.loads((tmp_path / "pruning.json").read_text())
    del note["batch"]
    (tmp_path / "pruning.json").write_text(json.dumps(note))
    with pytest.raises(ValueError, match="an earlier version began, which did not note "
                       "its batch; delete the folder or name another"):
        prune(make("chain"), "magnitude_global", Energy(0.9), **call)


@pytest.mark.parametrize("schedule", ["geometric", "cubic"])
def test_steps_to_a_target_below_the_floor_are_refused_before_any_training(
        schedule, tmp_path):
    with pytest.raises(ValueError, match=r"^energy=0\.05 cannot be reached"):
        prune(make("chain"), "magnitude_global", Energy(0.05), data=batches(), steps=3,
              recipe=ONE_EPOCH, schedule=schedule, folder=tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_what_is_under_way_is_told_while_masks_are_chosen(monkeypatch, capsys):
    @contextmanager
    def told_here(wanted):
        assert wanted
        yield said.append

    monkeypatch.setattr("pruning.method_run.telling", told_here)
    for method, first, options in (
            ("energy_aware", r"energy_aware: \d.weight, layer 1 of 3", {}),
            ("channels", r"channels: cost without \d+ of \d+ groups", {}),
            ("synflow", "synflow: iteration 1 of 4", {"iterations": 4})):
        said = []
        prune(make("chain"), method, Energy(0.85), data=batches(), progress=True,
              **options)
        assert said[0] == f"{method}: choosing" and re.fullmatch(first, said[1])
        assert said[-1].startswith("channels" if method == "channels" else "settling: ")
    with telling(True) as tell:
        tell("out of a terminal nothing is said")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_of_a_composition_train_the_smaller_network(control):
    made = []

    def make_fresh():
        made.append(1)
        return make("option A", seed=7)

    targets = [Energy(0.8), Density(0.3)]
    call = dict(data=batches(), recipe=ONE_EPOCH, control=control, dense_epochs=2,
                make_fresh=make_fresh)
    found = prune(make("option A"), "channels+magnitude_global", targets, **call)
    small = make("option A")
    for channels in found.shrinks:
        small = shrink(small, pictures(), channels)
    assert len(found.shrinks) == (control != "dense")   # that one trains the dense one
    assert {name: mask.shape for name, mask in found.masks.items()} == {
        name: small.get_parameter(name).shape for name in found.masks}
    assert found.history[0]["step"] == "channels step1"
    assert len(found.history) - 1 == {"reinit": 2, "random": 2, "scratch": 4,
                                      "dense": 2}.get(control, 1)
    assert (found.masks.density == 1) == (control == "dense")
    assert Masks.of(found.network, found.masks).nested_in(found.masks)
    assert len(made) == (control in ("reinit", "random", "scratch"))
    if control in ("reinit", "scratch"):
        alone = prune(make("option A"), "channels", Energy(0.8), **call)
        assert len(alone.history) == {"reinit": 2, "scratch": 3}[control]
        pruned = prune(make("option A"), "channels", Energy(0.8), data=batches(),
                       recipe=ONE_EPOCH)
        assert alone.shrinks == pruned.shrinks and alone.masks.density == 1
    else:
        with pytest.raises(ValueError, match=f"control '{control}' is for masks of weig"
                           "hts; of a network of fewer channels there are reinit, scr"):
            prune(make("option A"), "channels", Energy(0.8), **call)


def test_a_shuffled_mask_keeps_its_count():
    masks = Masks({"a": torch.arange(100).reshape(10, 10) < 30})
    other = shuffled(masks, 0)
    assert other.kept == 30 and other != masks == masks


def test_the_readmes_ten_lines_run(tmp_path, monkeypatch):
    from pathlib import Path
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S)
                if "prune(" in block)
    names = {"my_model": make("option A"), "my_loader": batches()}
    exec(code.replace("Energy(0.5)", "Energy(0.8)"), names)
    assert names["pruned"].report["met"] <= 0.8


class Picky(nn.Conv2d):
    """A model that looks at its images itself."""

    def __init__(self, how):
        super().__init__(4, 4, 3)
        self.how = how

    def forward(self, images):
        if self.how == "assert":
            raise AssertionError        # as a bare assert does
        raise TypeError("only 4 channels")


@pytest.mark.parametrize("call, words", [
    (dict(method="lottery"), "unknown method 'lottery'; known: channels, energy_aware"),
    (dict(target=Energy(0.05)), r"energy=0.05 cannot be reached: with all .*; ask "),
    (dict(method="synflow", target=Energy(0.05)), "energy=0.05 cannot be reached"),
    (dict(method="channels", target=Energy(0.05)), "one channel a layer"),
    (dict(target=0.5), "a target is Energy, Density, Macs or Params, got 0.5"),
    (dict(target=None), "needs a target, as Energy"),
    (dict(method="psconv"), "psconv has levels of its own and takes no target; set "),
    (dict(method="psconv", target=None, support=5), "support must be 1 to 4 of 9"),
    (dict(include=["layer9.*"]), r"pattern 'layer9.\*' matches no layer of Residual"),
    (dict(model=nn.Sequential(nn.ReLU())), "Sequential has no layer to prune"),
    (dict(data=[torch.randn(4, 3, 8, 8)]), r"data must give batches of \(images, lab"),
    (dict(data=[]), "data gave no image"),
    (dict(data=[(torch.randn(4, 1, 8, 8), torch.zeros(4).long())]),
     r"Residual does not take images of shape \(4, 1, 8, 8\)"),
    (dict(model=Picky("assert"), target=Density(0.5)), r"Picky does not take images of "
     r"shape \(8, 3, 8, 8\): AssertionError"),
    (dict(model=Picky("type"), target=Density(0.5)), "Picky does not .*: only 4 chan"),
    (dict(method="channels+energy_budget", target=[Energy(0.9)]), "2 methods need"),
    (dict(steps=0), "steps must be a whole number of at least 1, got 0"),
    (dict(steps=2.5), "steps must be a whole number of at least 1, got 2.5"),
    (dict(calibration=0), "calibration must be a whole number of images"),
    (dict(oracle="eap_tool"), r"as EnergyOracle\('eap_tool'\); got 'eap_tool'"),
    (dict(data=None), r"data is needed: batches of \(images, labels\)"),
    (dict(method="synflow", iterations=0), "synflow: iterations must be at least 1"),
    (dict(accuracy_floor=50), "is a share of the images, 0 to 1, got 50"),
    (dict(accuracy_floor=float("nan")), "share of the images, 0 to 1, got nan"),
    (dict(method="psconv", target=None, steps=2), "psconv goes in one step, got step"),
    (dict(method="channels", steps=4), "channels goes in one step, got steps 4; give"),
    (dict(schedule="x"), "known: geometric"),
    (dict(alpha=3), "energy_aware has no option 'alpha'; it has removed, rows"),
    (dict(imitate="me"), "imitate must be one of dense, current"),
    (dict(ridge=0.0), "energy_aware: ridge must be above 0 and finite, got 0.0"),
    (dict(ridge=True), "energy_aware: ridge must be a number, got True"),
    (dict(rows=0), "energy_aware: rows must be at least 1, got 0"),
    (dict(chunks=0), "energy_aware: chunks must be at least 1, got 0"),
    (dict(removed=1.1), r"energy_aware: removed must be in 0..1, got 1.1"),
    (dict(accuracy_floor=0.9), "an accuracy floor needs images to choose by"),
    (dict(model=Tokens().eval(), target=Density(0.5)), "attend.out_proj: is not called "
     r"as a module for the .*; leave it out with exclude=\['attend.out_proj'\]"),
    (dict(control="x"), "unknown control 'x'; known: reinit"),
    (dict(control="reinit"), "control 'reinit' is a training and needs a recipe"),
])
def test_what_cannot_be_pruned_is_refused_in_one_line(call, words):
    call = {"model": make("option A"), "method": "energy_aware", "target": Energy(0.8),
            "data": batches(), **call}
    with pytest.raises(ValueError, match=words) as caught:
        prune(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels, words", [
    (torch.zeros(16, 1).long(), r"labels must be int64, shape \(16,\), .* \(16, 1\)"),
    (torch.zeros(16, 5), r"labels must be int64, .*got torch.float32"),
    (torch.full((16,), 5), "labels 5 to 5 for a model with 5 classes")])
def test_an_accuracy_needs_one_class_an_image(labels, words):
    data = Loaders(batches(), [(pictures(16), labels)])
    with pytest.raises(ValueError, match=words):
        prune(make("chain"), "magnitude_global", Density(0.5), data=data)


def test_an_accuracy_needs_logits():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make("chain")

        def forward(self, x):
            return self.net(x), x

    with pytest.raises(ValueError, match="one tensor; in evaluation mode it gives a"):
        accuracy(Two().eval(), batches(1))


@pytest.mark.parametrize("target", [Density(0.5), Macs(0.5), Params(0.5)])
def test_energy_aware_pruning_meets_counts_where_inputs_are_always_zero(target):
    torch.manual_seed(0)
    # Of the second layer's taps only the centres see the one pixel.
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8),
                        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
                        nn.Linear(32, 5)).eval()
    for recipe in (None, ONE_EPOCH):
        found = prune(net, "energy_aware", target, data=batches(), recipe=recipe)
        got = found.report[{"density": "weights_rel"}.get(
            target.quantity, f"{target.quantity}_rel")]
        assert got == pytest.approx(found.report["met"], abs=1e-6)
        assert 0.5 - 160 / 5200 < got <= 0.5


def test_a_weight_that_two_layers_share_costs_the_macs_of_both():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.Flatten(), nn.Linear(128, 5)).eval()
    net[4].weight = net[2].weight
    found = prune(net, "magnitude_global", Macs(0.7), data=batches())
    left = sum(int((weight != 0).sum()) * pixels for weight, pixels in (
        (found.network[0].weight, 64), (found.network[2].weight, 64),
        (found.network[4].weight, 16), (found.network[6].weight, 1)))
    every = 27 * 8 * 64 + 72 * 8 * 80 + 640
    assert found.report["macs"] == left
    assert found.report["macs_rel"] == pytest.approx(left / every)
    assert found.report["met"] == pytest.approx(left / every)
    assert 0.7 - 80 / every < left / every <= 0.7
    # Two copies of which one shrinks would be two weights.
    with pytest.raises(ValueError, match="no channel that can go"):
        prune(net, "channels", Energy(0.99), data=batches())


def test_channels_of_a_network_with_zeros_count_what_is_left_of_it():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 20),
                        nn.ReLU(), nn.Linear(20, 5)).eval()
    sparse = prune(net, "magnitude_global", Density(0.3), data=batches())
    for target in (Density(0.5), Macs(0.5), Params(0.5), Density(0.2)):
        found = prune(sparse.network, "channels", target, data=batches(),
                      baseline=sparse.baseline)
        got = found.report[{"density": "weights_rel"}.get(
            target.quantity, f"{target.quantity}_rel")]
        assert got == pytest.approx(found.report["met"], rel=1e-6)
        assert got == pytest.approx(min(target.share, 0.3), abs=0.03)


@pytest.mark.parametrize("control, epochs", [
    ("shuffle", 1), ("dense", 1), ("reinit", 2), ("scratch", 3)])
def test_a_control_trains_as_long_as_the_network_that_is_kept(control, epochs,
                                                              monkeypatch):
    falls = iter([0.9, 0.1])
    monkeypatch.setattr("pruning.step_training.StepTraining.accuracy",
                        lambda self, network: next(falls, 0.9))
    found = prune(make("chain"), "magnitude_global", Density(0.4), steps=4,
                  data=Loaders(batches(), batches(1, seed=2)), recipe=ONE_EPOCH,
                  accuracy_floor=0.5, control=control, dense_epochs=2)
    assert found.report["stopped"].startswith("step 2")
    assert len(found.history) == epochs


def test_an_order_is_exact_on_a_meter_of_one_layer():
    weights = nn.Linear(4, 1, bias=False)
    order = Order({"weight": torch.tensor([[3.0, 1.0, 4.0, 2.0]])},
                  {"weight": weights.weight.shape})
    assert order.masks(2)["weight"].tolist() == [[True, False, True, False]]


def test_a_compiled_model_is_pruned_as_the_model_itself():
    net = make("option A")
    plain, compiled = (
        prune(model, "energy_budget", Energy(0.8), data=batches())
        for model in (net, torch.compile(make("option A"), backend="eager")))
    assert compiled.masks == plain.masks
    assert compiled.report["met"] == plain.report["met"]


def test_masks_of_torchs_own_pruning_have_to_be_made_permanent():
    net = make("chain")
    torch_prune.l1_unstructured(net[4], "weight", 0.5)
    with pytest.raises(ValueError, match=r"^4: has a mask .* prune.remove\(layer, "):
        prune(net, "energy_budget", Energy(0.8), data=batches())
    torch_prune.remove(net[4], "weight")
    found = prune(net, "energy_budget", Energy(0.8), data=batches())
    assert not found.network[4].weight[net[4].weight == 0].any()


@pytest.mark.parametrize("batch, words", [
    ((torch.ones(2, 3, 8, 8).numpy(), 1), r"two tensors, got \(ndarray, int\)"),
    (torch.ones(2, 3, 8, 8), "got a Tensor")])
def test_batches_that_are_no_tensors_are_told_what_they_are(batch, words):
    with pytest.raises(ValueError, match=words):
        prune(make("chain"), "energy_budget", Energy(0.8), data=[batch])
