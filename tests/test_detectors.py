import pytest
import torch
from detectors import HEADS, TwoStage, YoloV8, YoloV8Suppressed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eyeriss_sim import simulate
from eyeriss_sim.cli import main
from eyeriss_sim.importers import load_network
from eyeriss_sim.importers.constants import ShapesBesideConstants
from eyeriss_sim.importers.torch_module import network_from_module

SHAPE = (2, 3, 64, 64)
VALUES_DECIDE = {"v3", "v8 suppressed", "two stages", "SSD", "RetinaNet", "FCOS"}


def seeded(factory):
    torch.manual_seed(0)
    return factory().eval()


def torch_macs(module, images):
    """What torch itself counts; none of these heads has a transposed convolution."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images)
    return counter.get_total_flops() // 2


def seeded_image(shape):
    """The image of a real run: the same for the whole batch."""
    image = torch.rand((1, *shape[1:]), generator=torch.Generator().manual_seed(0))
    return image.expand(shape).contiguous()


@pytest.mark.parametrize("kind", HEADS)
def test_head_of_each_generation_counts_what_torch_counts(kind):
    module = seeded(HEADS[kind])
    network = network_from_module(module, SHAPE)
    assert network.macs == torch_macs(module, seeded_image(SHAPE))
    assert bool(network.notes) == (kind in VALUES_DECIDE)
    assert network_from_module(module, SHAPE) == network


@pytest.mark.parametrize("kind", HEADS)
def test_batch_of_a_head_is_that_many_times_an_image(kind):
    module = seeded(HEADS[kind])
    one = network_from_module(module, (1, *SHAPE[1:]))
    assert one.with_batch(2).layers == network_from_module(module, SHAPE).layers


@pytest.mark.parametrize("kind", sorted({*HEADS} - VALUES_DECIDE))
def test_decoding_needs_no_values_of_the_image_nor_memory_for_weights(kind):
    with ShapesBesideConstants():
        module = HEADS[kind]()
    assert all(weight.is_meta for weight in module.parameters())
    assert network_from_module(module, SHAPE) == network_from_module(
        seeded(HEADS[kind]), SHAPE)


def test_note_names_the_layers_whose_rows_were_decided():
    note, = network_from_module(seeded(TwoStage), SHAPE).notes
    assert note.startswith("values decide in the network (nonzero, index): one run on "
                           "seeded random input; rows") and "\n" not in note
    rows = network_from_module(seeded(TwoStage), SHAPE).layer("mask.0").N // 2
    assert rows == 20
    assert note.endswith(f"box.1 to mask.2 {rows}; --proposals K fixes them")
    none, = network_from_module(seeded(YoloV8Suppressed), SHAPE).notes
    assert none.endswith("no later product has a number of rows that was decided")


def test_layers_that_no_row_reached_are_named_and_left_out():
    network = network_from_module(TwoStage(sure=2.0), SHAPE)
    assert [layer.name for layer in network.layers][-2:] == ["box.1", "box.3"]
    assert "mask.0 to mask.2 0 (left out)" in network.notes[0]


@pytest.mark.parametrize("K", [2, 13, 20])
@pytest.mark.parametrize("sure", [0.0, 2.0])
def test_proposals_fix_the_rows_whatever_the_values_say(K, sure):
    network = network_from_module(TwoStage(sure), SHAPE, proposals=K)
    rows = {layer.name: layer.N * layer.E * layer.F for layer in network.layers}
    assert rows["box.1"] == rows["box.3"] == 2 * K
    assert {network.layer("mask.0").N, network.layer("mask.2").N} == {2 * K}
    assert f"box.1 to mask.2 {K}" in network.notes[0]
    assert f"{K} rows fixed at each decision" in network.notes[0]


BRANCH = "(.item()): one run on seeded random input; each branch on .item() counts as"


@pytest.mark.parametrize("forward, notes", [
    (lambda m, x: m.conv(x) if x.sum() > 0 else x, [BRANCH]),
    (lambda m, x: m.conv(x) * x.max().item(), [BRANCH]),
    (lambda m, x: m.conv(x)[x > 0], ["no later product has a number of rows that"]),
    (lambda m, x: m.conv(x).numpy(), []),
    (lambda m, x: m.conv(x[:, :, :int((x[0, 0, 0] >= 0).sum())]), [BRANCH]),
])
def test_forward_that_depends_on_values_goes_on_by_a_real_run(forward, notes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return forward(self, x)
    module = Net()
    network = network_from_module(module, (2, 3, 4, 4))
    assert network.macs == 2 * 3 * 3 * 16 and len(network.notes) == len(notes)
    assert all(said in note for said, note in zip(notes, network.notes, strict=True))
    assert module.training and all(one.requires_grad for one in module.parameters())


def test_size_that_a_number_decides_is_named():
    conv = nn.Conv2d(3, 3, 1)

    class Cut(nn.Module):
        def forward(self, x):
            return conv(x[:, :, :int((x[0, 0, :, 0] > 0.3).sum())])
    note, = network_from_module(Cut(), (1, 3, 40, 4)).notes
    assert "(.item())" in note and "conv2d 1;" in note


def test_a_forward_that_fails_in_its_real_run_is_refused_in_one_line():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(x[x > 0.5])
    told = r"^Broken: module fc fails on an input of 1x3: "
    with pytest.raises(ValueError, match=told) as caught:
        network_from_module(Broken(), (2, 3))
    assert "\n" not in str(caught.value)


def test_values_cannot_decide_in_a_module_without_any():
    with torch.device("meta"):
        module = YoloV8Suppressed()
    with pytest.raises(ValueError, match="is on meta and has none; build"):
        network_from_module(module, SHAPE)


@pytest.mark.parametrize("K, words", [(5, "no values decide.*leave it out"),
                                      (0, "at least 1, got 0"),
                                      (2.5, "at least 1, got 2.5")])
def test_proposals_of_no_use_are_refused(K, words):
    with pytest.raises(ValueError, match=words):
        network_from_module(YoloV8(), SHAPE, proposals=K)


def test_command_line_takes_a_detector(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text(f"import sys; sys.path.insert(0, {str(tmp_path.parent)!r})\n"
                    "from detectors import TwoStage as Net\n")
    printed = []
    for _ in range(2):
        main(["simulate", f"{path}:Net", "--input", "1,3,64,64", "--proposals", "9"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "9 rows fixed at each decision" in " ".join(printed[0].split())
    result = simulate(f"{path}:Net", input_shape=(1, 3, 64, 64), proposals=9)
    assert result.network == load_network(f"{path}:Net", 1, (1, 3, 64, 64), 9)
    with pytest.raises(SystemExit):
        main(["simulate", "alexnet", "--proposals", "9"])
    assert "proposals are of a torch module" in capsys.readouterr().err
