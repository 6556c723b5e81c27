"""The method that averages images, and networks on averaged images."""

import json
from dataclasses import replace

import pytest
import torch
from pruning_nets import Residual, batches, chain, make, pictures
from torch.nn import functional

import pruning
from eyeriss_sim import EnergyOracle
from pruning import Energy, Macs, Params, Recipe
from pruning.averaging import Averaging, averaged
from pruning.channels import find_channels
from pruning.prunable import prunable
from pruning.smaller import load_steps, save_steps

ORACLE = EnergyOracle("eap_tool")


def energy(network, images):
    return ORACLE(network, images)


def prune(*args, **more):
    """pruning.prune(), which reports on one hardware only."""
    return pruning.prune(*args, data=batches(), oracle=ORACLE,
                         reports={"eap_tool": ORACLE}, **more)


@pytest.mark.parametrize("factor", [2, 4])
def test_the_network_sees_the_mean_of_each_square(factor):
    model = make("option A")
    small = averaged(model, (3, 8, 8), Averaging(factor))
    torch.testing.assert_close(
        small(pictures()), model(functional.avg_pool2d(pictures(), factor)))


def test_the_whole_image_is_read_and_every_layer_runs_on_fewer_pixels():
    model, images = make("option A"), pictures()
    small = averaged(model, (3, 8, 8), Averaging(2))
    table = energy(small, images).table.set_index("layer")
    dense = energy(model, images).table.set_index("layer")
    assert table.index[0] == "averaging"
    # Depthwise: each of 3 x 4 x 4 means is of 2 x 2 pixels, each pixel read once.
    assert table.macs["averaging"] == 3 * 4 * 4 * 4
    result = energy(small, images)
    first = next(one for one in result.by_layer if one.layer.name == "averaging")
    assert first.layer.ifmap_words == 3 * 8 * 8
    assert first.layer.ofmap_words == 3 * 4 * 4
    assert (table.macs[dense.index[:-1]] * 4 == dense.macs[dense.index[:-1]]).all()


def test_no_training_and_no_pruning_touches_the_averaging():
    small = averaged(make("chain"), (3, 8, 8), Averaging(1))
    assert set(prunable(small)) == set(prunable(make("chain")))
    small = averaged(make("option B"), (3, 8, 8), Averaging(2))
    assert set(prunable(small)) == set(prunable(make("option B")))
    assert {name for name, _ in small.named_parameters()} == {
        name for name, _ in make("option B").named_parameters()}
    assert small.state_dict().keys() == make("option B").state_dict().keys()
    small.averaging.reset_parameters()
    assert (small.averaging.weight == 1 / 4).all()


def test_the_smallest_factor_that_meets_the_target_is_taken():
    model = make("option A")
    shares = {factor: energy(averaged(model, (3, 8, 8), Averaging(factor)),
                             next(iter(batches(1)))[0]).total_uJ
              for factor in (1, 2, 4, 8)}
    dense = shares[1]
    for factor, before in ((2, 1), (4, 2)):
        target = (shares[factor] + shares[before]) / 2 / dense
        found = prune(model, "resolution", Energy(target))
        assert found.shrinks == (Averaging(factor),)
        assert found.report["met"] == pytest.approx(shares[factor] / dense, rel=0.05)
        assert found.masks.density == 1
    assert prune(model, "resolution", Macs(1.0)).shrinks == (
        Averaging(1),)


def test_a_target_out_of_reach_is_refused_with_the_least():
    with pytest.raises(ValueError, match=r"params=0.5 cannot be reached: with images "
                                         r"as they are 1.0000 of the params"):
        prune(make("option A"), "resolution", Params(0.5))
    # Its linear layer counts on the pixels of the whole image.
    with pytest.raises(ValueError, match=r"as they are \(Sequential does not take "
                                         r"images of 4 x 4: .*\) 1\.0000 of the macs"):
        prune(make("chain"), "resolution", Macs(0.5))


def test_channels_go_and_weights_after_the_pixels():
    model = make("option A")
    images = next(iter(batches(1)))[0]
    half = energy(averaged(model, (3, 8, 8), Averaging(2)), images).total_uJ / energy(
        model, images).total_uJ
    once = Recipe(epochs=1, batch=16, precision="float32")
    found = prune(model, "resolution+slim+energy_aware",
                  [Energy(1.05 * half), Energy(0.8 * half), Energy(0.7 * half)],
                  recipe={"resolution": once, "slim": once,
                          "energy_aware": replace(once, epochs=2)}, progress=False)
    assert [row["step"].split()[0] for row in found.history] == [
        "resolution", "slim", "energy_aware", "energy_aware"]
    assert found.shrinks[0] == Averaging(2)
    assert found.report["met"] <= 0.7 * half and found.masks.density < 1
    assert len(found.network.conv1a.weight) < len(model.conv1a.weight)
    small = energy(found.network, pictures())
    assert small.by_layer[0].layer.name == "averaging"
    assert (found.network.averaging.weight == 1 / 4).all()


def test_it_comes_back_from_its_folder(tmp_path):
    model = make("option A")
    found = prune(model, "slim+resolution", [Params(0.7), Energy(0.6)])
    found.save(tmp_path / "small")
    again = pruning.load(tmp_path / "small", Residual())
    assert again.shrinks[1] == Averaging(2) == found.shrinks[1]
    assert torch.equal(again.network(pictures()), found.network(pictures()))


def test_steps_keep_their_order_in_a_folder(tmp_path):
    model = make("option A")
    channels = prune(model, "slim", Params(0.7)).shrinks[0]
    steps = (Averaging(2), channels, Averaging(4))
    save_steps(tmp_path, steps)
    assert load_steps(tmp_path) == steps


@pytest.mark.parametrize("text", ['{"factor": 0}', '{"factor": 1.5}', "{}",
                                  '{"factor": true}', '{"factor": "2"}'])
def test_a_damaged_step_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "averaging1.json").write_text(text)
    with pytest.raises(ValueError, match=r"averaging1.json: factor must be a whole "
                                         r"number of at least 1, got [^\n]*$"):
        load_steps(tmp_path)


def test_images_without_sides_or_of_other_sides_are_refused():
    with pytest.raises(ValueError, match=r"8 x 8 can't be averaged by 3"):
        averaged(make("option A"), (3, 8, 8), Averaging(3))
    with pytest.raises(ValueError, match=r"shape \(12,\) have no channels"):
        averaged(torch.nn.Linear(12, 2), (12,), Averaging(2))
    with pytest.raises(ValueError, match="factor must be a whole number"):
        Averaging(json.loads("2.0"))


def test_a_network_on_averaged_images_is_averaged_and_traced_again():
    small = averaged(make("option A"), (3, 8, 8), Averaging(2))
    twice = averaged(small, (3, 8, 8), Averaging(2))
    torch.testing.assert_close(
        twice(pictures()), make("option A")(functional.avg_pool2d(pictures(), 4)))
    assert [one.layer.name for one in energy(twice, pictures()).by_layer][:2] == [
        "averaging_again", "averaging"]
    # As many channels can go as in the network on whole images.
    assert find_channels(twice, pictures()).groups == find_channels(
        make("option A"), pictures()).groups


def test_a_network_of_one_size_of_image_stays_in_training_mode():
    model = chain().train()
    assert averaged(model, (3, 8, 8), Averaging(1)).training
    assert averaged(Residual().train(), (3, 8, 8), Averaging(2)).training


def test_a_method_without_a_recipe_among_recipes_by_name_is_refused():
    with pytest.raises(ValueError, match="recipe: none for slim, only for resolution"):
        prune(make("option A"), "slim", Energy(0.7), recipe={"resolution": Recipe()})
