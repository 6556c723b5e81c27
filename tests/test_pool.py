"""Levels of several ladders and architectures in one study, and the hull of all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pruning_nets import Residual, chain
from test_cascade import images_and_labels

from cascade.bench import enter, verdicts
from cascade.choose import MOST_OF_NEXT, candidates
from cascade.curve import hull_energy, on_hull
from cascade.folder_study import folder_study
from cascade.levels import Level, ladder_levels, pooled_levels
from cascade.study import Choice, Study
from eyeriss_sim import EnergyOracle
from pruning.ladder import Rung, climb
from pruning.targets import Energy

ORACLE = EnergyOracle("eap_tool")


@pytest.fixture(scope="module", autouse=True)
def small_study():
    """One size of selector, little trained, and two losses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cascade.routers.selector.SIZES", ((0, 0.3),))
        patch.setattr("cascade.routers.selector.STEPS", 10)
        patch.setattr("cascade.bench.LOSSES", (1.0, 3.0))
        yield


@pytest.fixture(scope="module")
def dense():
    """A network that does not say one class of all images."""
    torch.manual_seed(0)
    net = Residual().eval()
    with torch.no_grad():
        logits = net(torch.randn(500, 3, 8, 8))
        net.fc.weight.mul_(3 / logits.std(0).mean())
        net.fc.bias.sub_(net(torch.randn(500, 3, 8, 8)).mean(0))
    return net


@pytest.fixture(scope="module")
def ladders(dense, tmp_path_factory):
    """Folders of a ladder of weights and of one of channels, without training."""
    places = []
    for method, shares in (("magnitude_global", (0.85, 0.7)), ("slim", (0.7, 0.5))):
        places.append(tmp_path_factory.mktemp(method))
        climb(dense, method, [Rung(Energy(share)) for share in shares], places[-1],
              data=[images_and_labels(9, 64, dense)], config={}, recipe=None,
              make_fresh=Residual, oracle=ORACLE)
    return places


@pytest.fixture(scope="module")
def study(dense, ladders, tmp_path_factory):
    levels = pooled_levels([ladder_levels(one, dense) for one in ladders])
    torch.manual_seed(1)
    other = Level("other", chain().eval(), architecture="chain", ladder="other")
    parts = {name: images_and_labels(place, 240, dense)
             for place, name in enumerate(("selector", "choosing", "test"))}
    return Study([Level("dense", dense), *levels, other], parts, ORACLE,
                 cache=tmp_path_factory.mktemp("cache"))


def test_levels_of_several_ladders_are_told_apart_by_name(dense, ladders):
    read = [ladder_levels(one, dense) for one in ladders]
    assert [one.name for one in pooled_levels(read)] == [
        "magnitude_global energy=0.85", "magnitude_global energy=0.7",
        "slim energy=0.7", "slim energy=0.5"]
    assert [one.ladder for one in pooled_levels(read)] == [
        "magnitude_global"] * 2 + ["slim"] * 2
    # One ladder is called as ever.
    assert pooled_levels(read[:1]) == read[0]
    assert [one.name for one in read[0]] == ["energy=0.85", "energy=0.7"]
    with pytest.raises(ValueError, match=r"are both slim energy=0.7; give one of them"):
        pooled_levels([read[1], read[1]])


def test_two_architectures_are_told_apart_by_name(dense, ladders):
    first = ladder_levels(ladders[0], dense, "residual")
    second = [Level("energy=0.85", chain().eval(), architecture="chain",
                    ladder="magnitude_global")]
    assert pooled_levels([first, second])[-1].name == (
        "chain magnitude_global energy=0.85")


def test_levels_of_any_ladder_and_architecture_are_pairs(study):
    table = candidates(study)
    names = [level.name for level in study.levels]
    pairs = {(names[mild], names[few]) for mild, few in zip(
        table.mild, table.aggressive, strict=True)}
    energies = {name: study.mean_energy(place) for place, name in enumerate(names)}
    assert pairs == {
        (mild, few) for mild in names for few in names
        if energies[few] < MOST_OF_NEXT * energies[mild]
        and names.index(mild) < names.index(few)}
    assert any("slim" in few and "magnitude" in mild for mild, few in pairs)
    assert any(few == "other" or mild == "other" for mild, few in pairs)


def test_levels_that_cost_alike_are_pairs_only_where_there_are_no_others(dense):
    parts = {name: images_and_labels(place, 240, dense)
             for place, name in enumerate(("selector", "choosing"))}
    table = candidates(Study(
        [Level("dense", dense), Level("twin", dense)], parts, ORACLE))
    assert set(zip(table.mild, table.aggressive, strict=True)) == {(0, 1)}


@pytest.fixture(scope="module")
def entrant(study):
    return enter(study, "residual", "pool", 0)


def test_a_system_is_measured_against_all_levels_and_against_its_own(entrant):
    judged = verdicts([entrant])
    assert len(judged)
    # The hull of all levels lies nowhere above that of some.
    assert (judged.hull_rel <= judged.own_hull_rel + 1e-6).all()
    assert (judged.test_hull_rel <= judged.hull_rel + 1e-6).all()
    for column, difference in (("hull_rel", "below_hull"),
                               ("own_hull_rel", "below_own_hull"),
                               ("test_hull_rel", "below_test_hull")):
        np.testing.assert_allclose(judged[column] - judged.energy_rel,
                                   judged[difference], atol=1e-6)
    assert (judged.worst_rel >= judged.energy_rel - 1e-9).all()
    assert not judged.wins[judged.below_hull <= 0].any()


def test_the_levels_of_a_hull_are_chosen_without_the_test_images(study, entrant):
    accuracies, energies = (one.mean(1) for one in entrant.levels("choosing"))
    own = entrant.hull_levels(["slim"])
    assert {study.levels[place].ladder for place in own} <= {"", "slim"}
    every = entrant.hull_levels()
    assert set(own) <= set(every) and 0 in own
    for place in set(range(len(study.levels))) - set(every):
        assert hull_energy(accuracies, energies, accuracies[place]) < energies[place]


def test_the_worst_case_is_an_image_that_every_network_sees(study):
    few, mild = len(study.levels) - 1, 0
    worst, ms = study.worst(Choice((few, mild), ("margin",), (0.5,)), "choosing")
    everyone, costs, _ = study.system(
        Choice((few, mild), ("margin",), (-np.inf,)), "choosing")
    assert worst == pytest.approx(costs.mean(), rel=1e-9) and len(everyone)
    assert ms == pytest.approx(sum(
        study.costs[one][1].part()[study.groups["choosing"]].mean()
        for one in (few, mild)))
    # A router that looks half-way leaves the rest of the network out.
    early = study.taps[few][0].name
    half, _ = study.worst(Choice((few, mild), (f"selector@{early}",), (0.5,)),
                          "choosing")
    assert half < worst


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1,
                max_size=8), st.integers(0, 60))
def test_more_levels_never_raise_the_hull(points, wanted):
    accuracies, energies = np.array(points, float).T / 60
    whole = hull_energy(accuracies, energies, np.array(wanted / 60))
    mask = on_hull(accuracies, energies)
    assert mask.any()
    for count in range(1, len(points) + 1):
        if accuracies[:count].max() < min(wanted / 60, accuracies.max()):
            continue        # some levels reach less, and are asked for less
        some = hull_energy(accuracies[:count], energies[:count], np.array(wanted / 60))
        assert some >= whole - 1e-12
    np.testing.assert_allclose(
        hull_energy(accuracies[mask], energies[mask], np.array(wanted / 60)), whole)


def test_folders_without_a_ladder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a cascade needs a ladder"):
        folder_study("resnet20", tmp_path, [], splits=None)
