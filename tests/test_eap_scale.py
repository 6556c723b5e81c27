"""The benchmark of energy-aware pruning at AlexNet's size prunes AlexNet."""

import pytest

from benchmarks.eap_scale import alexnet, main, measure
from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.networks import load_zoo


def test_the_random_network_has_the_shapes_of_the_zoos_alexnet():
    found = network_from_module(alexnet(), (1, 3, 227, 227)).layers
    zoo = load_zoo("alexnet").layers
    assert list(found[:5]) == list(zoo[:5])
    # An FC layer of torch has its pixels as channels.
    assert [(one.name, one.M, one.C * one.R * one.S, one.macs) for one in found] == [
        (one.name, one.M, one.C * one.R * one.S, one.macs) for one in zoo]


@pytest.mark.slow
def test_only_the_layers_asked_for_are_pruned_and_the_share_is_met():
    pruned, seconds, _ = measure(["CONV1"], share=0.97, images=4, rows=256)
    assert set(pruned.masks) == {"CONV1.weight"}
    assert 0 < pruned.masks.kept < pruned.masks["CONV1.weight"].numel()
    assert pruned.report["met"] <= 0.97 and seconds > 0


@pytest.mark.parametrize("words, told", [
    (["--threads", "0"], "--threads"), (["--share", "1.5"], "at most 1, got 1.5")])
def test_what_is_no_share_or_thread_is_told_in_one_line(capsys, words, told):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told in error and len(error.splitlines()) == 1
