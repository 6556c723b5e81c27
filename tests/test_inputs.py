"""What a torch module is called with, and what it comes wrapped in."""

import numpy as np
import pytest
import torch
from torch import nn

from eyeriss_sim import simulate
from eyeriss_sim.importers.tensors import load_weights
from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.importers.weights import effective_weight
from eyeriss_sim.terminal import network_input, network_inputs


class Net(nn.Module):
    """Takes an image, tokens by name, and a mask."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.table = nn.Embedding(10, 4)
        self.fc = nn.Linear(4, 5)

    def forward(self, image, tokens=None, mask=None):
        y = self.conv(image).mean((2, 3))
        if tokens is not None:
            assert tokens.dtype == torch.int64
            y = y + self.table(tokens).sum(1)
        if mask is not None:
            assert mask.dtype == torch.bool
            y = torch.where(mask, y, 0)
        return self.fc(y)


class TakesADict(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, batch):
        return self.net(batch["image"], *batch["more"])


SHAPE = (2, 3, 8, 8)
TOKENS = ((2, 7), torch.int64)
MASK = ((2, 4), "bool")


@pytest.mark.parametrize("given", [
    [SHAPE, TOKENS, MASK], [SHAPE, torch.zeros(2, 7, dtype=torch.long)],
    {"image": SHAPE, "tokens": TOKENS, "mask": MASK}, {"image": SHAPE, "mask": MASK},
    {"image": list(SHAPE)}, (np.int64(2), 3, 8, 8)])
def test_inputs_come_by_order_or_name_with_their_dtypes(given):
    network = network_from_module(Net(), given)
    assert network.batch == 2
    assert network.layers == network_from_module(Net(), SHAPE).layers


def test_a_dict_within_a_list_is_one_argument():
    network = network_from_module(
        TakesADict(), [{"image": SHAPE, "more": [TOKENS, MASK]}])
    assert [layer.name for layer in network.layers] == ["net.conv", "net.fc"]
    assert network.batch == 2


@pytest.mark.parametrize("given, words", [
    ({"image": (2, 0)}, "whole numbers of at least 1"), ({}, "input shape is needed"),
    ([SHAPE, ((2, 7), "int65")], "torch has no dtype 'int65'"),
    (None, "needs the shape of its input"),
    ({"picture": SHAPE}, "unexpected keyword argument 'picture'")])
def test_inputs_that_are_none_are_refused_in_one_line(given, words):
    with pytest.raises(ValueError, match=words) as caught:
        network_from_module(Net(), given)
    assert "\n" not in str(caught.value)


def test_command_line_names_inputs_and_their_dtypes(tmp_path, capsys):
    from eyeriss_sim.cli import main
    assert network_inputs([network_input("1,3,8,8")]) == (1, 3, 8, 8)
    assert network_inputs(None) is None
    named = [network_input("image=2,3,8,8"), network_input("tokens=2,7:int64")]
    assert network_inputs(named) == {"image": SHAPE, "tokens": ((2, 7), "int64")}
    with pytest.raises(ValueError, match="own name, or none"):
        network_inputs([*named, network_input("2,4:bool")])
    (tmp_path / "net.py").write_text(
        "import sys; sys.path.insert(0, '.')\nfrom test_inputs import Net\n")
    main(["simulate", f"{tmp_path}/net.py:Net", "--input", "image=2,3,8,8",
          "--input", "tokens=2,7:int64"])
    assert "Net, batch 2" in capsys.readouterr().out


def test_a_batch_of_images_in_a_list_is_their_number():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            found = [self.conv(image[None])[0] for image in images]
            return found[0]
    network = network_from_module(Stack(), [[(3, 8, 8), (3, 9, 9)]])
    assert network.batch == 2 and [layer.N for layer in network.layers] == [1, 1]


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrapped_module_is_the_module_in_it(wrap):
    net = Net()
    wrapped = wrap(net)
    assert network_from_module(wrapped, SHAPE) == network_from_module(net, SHAPE)
    assert np.array_equal(effective_weight(wrapped, "conv"), net.conv.weight.detach())


@pytest.mark.parametrize("batch", [None, 6])
def test_exported_program_brings_its_shapes_and_layers(batch):
    net = Net().eval()
    keywords = {"mask": torch.ones(2, 4, dtype=torch.bool)}
    program = torch.export.export(net, (torch.rand(SHAPE),), keywords)
    network = network_from_module(program)
    assert network.layers == network_from_module(net, SHAPE).layers
    assert simulate(program, batch=batch).network.batch == (batch or 2)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_saved_from_a_wrapped_module_fit_the_module(tmp_path, prefix):
    saved, net = Net(), Net()
    torch.save({prefix + key: value for key, value in saved.state_dict().items()},
               tmp_path / "w.pt")
    load_weights(nn.DataParallel(net), tmp_path / "w.pt")
    assert torch.equal(net.fc.weight, saved.fc.weight)
    load_weights(Net(), tmp_path / "w.pt")
