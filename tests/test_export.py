"""Exported programs do what the cascade does, and skip what it skips."""

import pytest
import torch
from pruning_nets import make, pictures
from test_stages import ROUTERS, build, chain_of_two, images_of, selector_for, stages_of
from torch import nn
from torch.profiler import profile

from cascade.export import export_parts, export_whole, run_parts, save_programs
from cascade.routers import Margin
from cascade.stages import Chain
from cascade.taps import find_taps
from pruning.channels import find_channels
from pruning.prunable import prunable
from pruning.shrink import shrink


def shrunk_cascade():
    """Networks with channels gone; placed channels and writes in place in them."""
    networks = []
    for seed in range(2):
        model = make("option A", seed)
        channels = find_channels(model, pictures())
        draw = torch.Generator().manual_seed(seed)
        gone = torch.rand(channels.groups, generator=draw) < 0.3
        masks = channels.masks(gone, prunable(model))
        networks.append(shrink(model, pictures(), masks))
    aggressive = nn.Sequential(networks[0], nn.ReLU(inplace=True)).eval()
    tap = find_taps(aggressive, (3, 8, 8))[0]
    net = chain_of_two(aggressive, tap, selector_for(tap), networks[1].eval())
    net.thresholds = [net(images_of(), mode="one").scores.median().item()]
    return net


@pytest.fixture(scope="module", params=[*ROUTERS, "shrunk"])
def exported(request, tmp_path_factory):
    """A cascade and its programs, written and read again."""
    net = shrunk_cascade() if request.param == "shrunk" else build(request.param)[0]
    folder = tmp_path_factory.mktemp("programs")
    paths = save_programs(net, images_of(1), folder / "new")
    assert sorted(paths) == sorted((folder / "new").iterdir())
    return net, {path.stem: torch.export.load(path).module() for path in paths}


def runners(programs):
    parts = {name: one for name, one in programs.items() if name != "cascade"}
    return programs["cascade"], lambda image: run_parts(parts, image)


def test_programs_give_the_cascades_answers_to_the_last_bit(exported):
    net, programs = exported
    images = images_of(24, seed=3)      # a torch.cond takes a tenth of a second each
    expected = net(images, mode="one")
    assert 4 < expected.routes.sum() < 20
    for run in runners(programs):
        for place, image in enumerate(images.split(1)):
            logits, goes, score = run(image)
            assert torch.equal(logits[0], expected.logits[place])
            assert torch.equal(score[0], expected.scores[place])
            assert goes.dtype == torch.bool and goes.shape == (1,)
            assert goes.item() == expected.routes[place]
            assert not logits.requires_grad


def test_how_an_image_lies_in_memory_does_not_matter(exported):
    _, programs = exported
    image = images_of(1)
    for run in runners(programs):
        for ours, theirs in zip(run(image), run(
                image.to(memory_format=torch.channels_last)), strict=True):
            assert torch.equal(ours, theirs)


def test_a_program_runs_the_convolutions_of_one_branch_alone(exported):
    net, programs = exported

    def convolutions(module):
        return sum(isinstance(one, nn.Conv2d) for one in module.modules())

    stage = net.stages[0]
    asked = stage.front, *([stage.back] if net.asks_all[0] else [])
    first = sum(map(convolutions, asked))
    seen = set()
    for image in images_of(12).split(1):
        for run in runners(programs):
            with profile() as profiled:
                goes = run(image)[1].item()
            counts = {one.key: one.count for one in profiled.key_averages()}
            rest = convolutions(net.stages[1]) if goes else (
                0 if net.asks_all[0] else convolutions(stage.back))
            assert counts["aten::conv2d"] == first + rest
            seen.add(goes)
    assert seen == {True, False}


def test_there_are_two_programs_where_the_router_sees_logits_and_else_three(exported):
    net, programs = exported
    assert set(programs) == {"cascade", "first", "mild"} | (
        set() if net.asks_all[0] else {"back"})


@pytest.mark.parametrize("threshold", [float("inf"), -float("inf")])
def test_infinite_thresholds_are_exported(threshold, tmp_path):
    net = build("margin", threshold=threshold)[0]
    for path in save_programs(net, images_of(1), tmp_path):
        if path.stem != "mild":
            program = torch.export.load(path).module()
            assert program(images_of(1))[1].item() is (threshold < 0)


def test_the_score_is_compared_with_the_threshold_as_it_is():
    net = build("max-softmax")[0]
    image = images_of(1)
    score = net(image, mode="one").scores.item()
    for threshold, goes in ((score, False), (score - 1e-12, True)):
        net.thresholds = [threshold]
        assert export_parts(net, image)["first"].module()(image)[1].item() is goes


def test_exporting_leaves_the_cascade_as_it_was():
    net = build()[0]
    expected = net(images_of(5), mode="one").logits
    needs = [one.requires_grad for one in net.parameters()]
    export_whole(net, images_of(1))
    export_parts(net, images_of(1))
    assert [one.requires_grad for one in net.parameters()] == needs
    assert torch.equal(net(images_of(5), mode="one").logits, expected)


def test_parts_of_an_earlier_cascade_do_not_stay(tmp_path):
    (tmp_path / "back.pt2").write_bytes(b"of an earlier cascade")
    save_programs(build("margin")[0], images_of(1), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cascade.pt2", "first.pt2", "mild.pt2"]


def test_programs_are_not_put_into_a_cascades_folder(tmp_path, exported):
    (tmp_path / "cascade.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a cascade, which takes no other files"):
        save_programs(exported[0], images_of(1), tmp_path)


def test_a_network_that_fails_leaves_no_program_behind(tmp_path):
    class Asks(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    net = build()[0]
    net.stages[1].front = Asks()
    with pytest.raises(ValueError, match="can't be exported") as problem:
        save_programs(net, images_of(1), tmp_path / "new")
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("image", [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8)])
def test_an_example_that_is_not_one_image_is_refused(image):
    for export in (export_whole, export_parts):
        with pytest.raises(ValueError, match="one image, shape"):
            export(build()[0], image)


def test_an_example_with_wrong_channels_is_refused_in_one_line():
    with pytest.raises(ValueError, match="can't be exported") as problem:
        export_whole(build()[0], torch.zeros(1, 4, 8, 8))
    assert "\n" not in str(problem.value)


def test_a_chain_of_other_than_two_stages_is_not_exported():
    for count in (1, 3):
        chain = Chain(stages_of(count), [Margin()] * (count - 1), [0.5] * (count - 1))
        with pytest.raises(ValueError, match=f"a chain of {count} stages can't be"):
            export_whole(chain, images_of(1))
