import resource
import sys

import pytest
import torch
import torch.nn.functional as F
from models import MobileNetV2, ResNet18, SmallViT
from torch import nn

from eyeriss_sim import simulate
from eyeriss_sim.importers.torch_module import load_module, network_from_module
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.networks import load_zoo

META = torch.device("meta")


class Call(nn.Module):
    """A module whose forward is a function of itself and its inputs."""

    def __init__(self, function, **weights):
        super().__init__()
        self.function = function
        for key, shape in weights.items():
            setattr(self, key, nn.Parameter(torch.zeros(shape)))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def only_layer(module, input_shape):
    layer, = network_from_module(module, input_shape).layers
    return layer


@pytest.mark.parametrize("batch", [1, 3])
def test_traced_resnet18_is_the_zoos_layer_by_layer(batch):
    traced = network_from_module(ResNet18(), (batch, 3, 224, 224))
    zoo = load_zoo("resnet18", batch)
    assert traced.layers == zoo.layers
    assert {op.op: op for op in traced.not_counted} == {
        op.op: op for op in zoo.not_counted}
    assert traced.batch == batch


def test_traced_mobilenet_v2_is_the_zoos_layer_by_layer():
    with META:
        module = MobileNetV2()
    traced = network_from_module(module, (1, 3, 224, 224))
    zoo = load_zoo("mobilenet_v2")
    assert traced.layers == zoo.layers
    assert {op.op: (op.calls, op.outputs) for op in traced.not_counted} == {
        # ReLU6 is a clamp in aten.
        op.op.replace("relu6", "hardtanh"): (op.calls, op.outputs)
        for op in zoo.not_counted}


def test_small_vit_has_the_products_of_its_heads():
    network = network_from_module(SmallViT(), (2, 3, 32, 32))
    block = [name.format(i) for i in (0, 1) for name in (
        "blocks.{}.attn.qkv", "blocks.{}.attn.matmul", "blocks.{}.attn.matmul#2",
        "blocks.{}.attn.proj", "blocks.{}.mlp.0", "blocks.{}.mlp.2")]
    assert [layer.name for layer in network.layers] == ["patch", *block, "head"]
    qk = network.layer("blocks.0.attn.matmul")
    assert qk == ConvLayer(name=qk.name, N=1, M=2 * 4 * 17, C=8, H=1, W=17, R=1, S=1,
                           groups=2 * 4, dynamic_filters=True)
    weighted = 2 * 17 * (4 * 32 * 32 + 2 * 32 * 64) * 2 + 2 * 32 * (16 * 3 * 64 + 10)
    products = 2 * 2 * (2 * 4 * 17 * 17 * 8)
    assert network.macs == weighted + products
    one = network_from_module(SmallViT(), (1, 3, 32, 32))
    assert one.with_batch(2).layers == network.layers


@pytest.mark.parametrize("module, input_shape, sizes", [
    pytest.param(
        nn.Conv2d(4, 6, (3, 5), (2, 3), (1, 2), (2, 1), groups=2), (2, 4, 17, 19),
        {"N": 2, "M": 6, "C": 2, "H": 19, "W": 23, "R": 3, "S": 5, "U": 2, "V": 3,
         "groups": 2, "dilation": (2, 1), "padding": (1, 1, 2, 2)}, id="conv2d"),
    pytest.param(
        Call(lambda m, x: F.conv2d(x, m.kernel, padding="same"), kernel=(6, 4, 3, 3)),
        (2, 4, 8, 8), {"N": 2, "M": 6, "C": 4, "H": 10, "W": 10, "R": 3, "S": 3,
                       "padding": 1}, id="functional, same"),
    pytest.param(
        nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 8, 8),
        {"N": 2, "M": 6, "C": 4, "H": 8, "W": 8, "R": 3, "S": 3}, id="valid"),
    pytest.param(
        nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 8, 8),
        {"N": 2, "M": 6, "C": 4, "H": 12, "W": 12, "R": 3, "S": 3}, id="reflect"),
    pytest.param(
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 8, 8),
        {"N": 2, "M": 6, "C": 4, "H": 10, "W": 10, "R": 3, "S": 3}, id="circular"),
    pytest.param(
        nn.Conv1d(4, 6, 3, 2, 1, 2), (2, 4, 17),
        {"N": 2, "M": 6, "C": 4, "H": 1, "W": 19, "R": 1, "S": 3, "U": 2,
         "dilation": 2, "padding": (0, 0, 1, 1)}, id="conv1d"),
    pytest.param(
        nn.Conv1d(4, 6, 1), (2, 4, 18),
        {"N": 2, "M": 6, "C": 4, "H": 3, "W": 6, "R": 1, "S": 1}, id="conv1d, one tap"),
    pytest.param(
        nn.Conv1d(4, 6, 1, padding=1), (2, 4, 16),
        {"N": 2, "M": 6, "C": 4, "H": 1, "W": 18, "R": 1, "S": 1,
         "padding": (0, 0, 1, 1)}, id="conv1d, one tap, padded"),
    pytest.param(
        nn.Conv1d(4, 6, 1, 2), (2, 4, 18),
        {"N": 2, "M": 6, "C": 4, "H": 1, "W": 18, "R": 1, "S": 1, "U": 2},
        id="conv1d, one tap, stride 2"),
    pytest.param(
        nn.Conv3d(4, 6, (2, 3, 3), (2, 1, 1), (1, 0, 1)), (2, 4, 8, 9, 9),
        {"N": 2 * 5, "M": 6, "C": 4 * 2, "H": 9, "W": 11, "R": 3, "S": 3,
         "padding": (0, 0, 1, 1)}, id="conv3d"),
    pytest.param(
        nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), (2, 4, 8, 8),
        {"N": 2, "M": 6, "C": 2, "H": 18, "W": 18, "R": 3, "S": 3, "groups": 2,
         "padding": (1, 2, 1, 2)}, id="transposed"),
    pytest.param(
        nn.Linear(8, 5), (3, 8),
        {"N": 3, "M": 5, "C": 8, "H": 1, "W": 1, "R": 1, "S": 1}, id="linear"),
    pytest.param(
        nn.Linear(8, 5, bias=False), (3, 2, 7, 8),
        {"N": 3, "M": 5, "C": 8, "H": 2, "W": 7, "R": 1, "S": 1}, id="linear 4-D"),
    pytest.param(
        nn.Linear(8, 5), (3, 8, 6, 8),
        {"N": 3, "M": 5, "C": 8, "H": 6, "W": 8, "R": 1, "S": 1},
        id="linear of pixels with channels last"),
    pytest.param(
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(36, 5)),
        (3, 4, 6, 6),
        {"N": 3, "M": 5, "C": 4, "H": 3, "W": 3, "R": 3, "S": 3}, id="FC of a map"),
    pytest.param(
        Call(lambda m, x: x @ m.w, w=(8, 5)), (3, 7, 8),
        {"N": 3, "M": 5, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1}, id="@ weight"),
    pytest.param(
        Call(lambda m, x: m.w @ x, w=(9, 7)), (3, 7, 8),
        {"N": 3, "M": 9, "C": 7, "H": 2, "W": 4, "R": 1, "S": 1}, id="weight @"),
    pytest.param(
        Call(lambda m, x: torch.einsum("nhk,hkm->nhm", x, m.w), w=(2, 8, 5)), (3, 2, 8),
        {"N": 3, "M": 10, "C": 8, "H": 1, "W": 1, "R": 1, "S": 1, "groups": 2},
        id="weight per head"),
    pytest.param(
        Call(lambda m, x: x @ m.w, w=(2, 8, 5)), (3, 2, 7, 8),
        {"N": 3, "M": 10, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1, "groups": 2},
        id="weight broadcast over the batch"),
    pytest.param(
        Call(lambda m, x, y: x @ y), [(3, 2, 7, 8), (3, 2, 8, 5)],
        {"M": 3 * 2 * 5, "C": 8, "H": 1, "W": 7, "R": 1, "S": 1, "groups": 6,
         "dynamic_filters": True}, id="product of activations"),
])
def test_operator_becomes_the_layer_that_does_its_work(module, input_shape, sizes):
    layer = only_layer(module, input_shape)
    assert layer == ConvLayer(name=layer.name, **sizes)


@pytest.mark.parametrize("module, input_shape", [
    (nn.Conv2d(4, 6, (3, 5), (2, 3), (1, 2), (2, 1), groups=2), (2, 4, 17, 19)),
    (nn.Conv1d(4, 6, 3, 2, 1, 2), (2, 4, 17)),
    (nn.Conv3d(4, 6, (2, 3, 3), (2, 1, 1), (1, 0, 1)), (2, 4, 8, 9, 9)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), (2, 4, 8, 8)),
    (nn.ConvTranspose2d(4, 6, 2, 3, 3, dilation=2), (2, 4, 8, 8)),
    (nn.ConvTranspose3d(4, 6, 3, 2, 1), (2, 4, 5, 6, 7)),
    (nn.Linear(8, 5), (3, 2, 7, 8)),
    (nn.Conv1d(4, 6, 1), (2, 4, 18)),
    (nn.ConvTranspose1d(4, 6, 1, 2), (2, 4, 18)),
])
def test_layer_has_as_many_ofmap_values_as_torch_computes(module, input_shape):
    assert only_layer(module, input_shape).ofmap_words == module(
        torch.zeros(input_shape)).numel()


def test_channels_last_makes_a_pointwise_convolution_no_dearer():
    convolution = network_from_module(nn.Conv2d(16, 32, 1), (1, 16, 12, 12))
    product = network_from_module(nn.Linear(16, 32), (1, 12, 12, 16))
    for hardware in ("eyeriss_chip", "eap_tool"):
        costs = [simulate(one, hardware=hardware) for one in (convolution, product)]
        assert costs[0].total_uJ == costs[1].total_uJ
        assert costs[0].total_ms == costs[1].total_ms


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_has_its_four_products(need_weights):
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    network = network_from_module(
        Call(lambda m, x: attention(x, x, x, need_weights=need_weights)[0]), (2, 5, 8))
    assert network.macs == 2 * 5 * 4 * 8 * 8 + 2 * 2 * 5 * 5 * 8


def test_encoder_layer_counts_the_same_without_its_fast_path():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = network_from_module(encoder, (2, 5, 8))
    assert [layer.name for layer in network.layers] == [
        "self_attn.in_proj", "self_attn.matmul", "self_attn.matmul#2",
        "self_attn.out_proj", "linear1", "linear2"]
    assert network.macs == 2 * 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * 5 * 5 * 8


@pytest.mark.parametrize("fused", [True, False])
def test_scaled_dot_product_attention_is_two_products(fused):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def attend(module, q, k):
        backend = SDPBackend.FLASH_ATTENTION if fused else SDPBackend.MATH
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, k)
    first, second = network_from_module(
        Call(attend), [(2, 3, 7, 16), (2, 3, 9, 16)]).layers
    assert (first.groups, first.W, first.C, first.M_group) == (6, 7, 16, 9)
    assert (second.groups, second.W, second.C, second.M_group) == (6, 7, 9, 16)


@pytest.mark.parametrize("kind, gates", [(nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrent_network_runs_two_products_per_step(kind, gates):
    network = network_from_module(kind(8, 6, batch_first=True), (2, 5, 8))
    # The inputs of all steps at once, as torch runs it where there are values.
    first, again = network.layers
    assert (first.N * first.W, first.C, first.M) == (10, 8, gates * 6)
    assert (again.N * again.W, again.C, again.M, again.steps) == (2, 6, gates * 6, 5)


def test_inference_mode_inside_the_forward_hides_nothing():
    @torch.inference_mode()
    def forward(module, x):
        return F.linear(F.conv2d(x, module.kernel).flatten(1), module.weight)
    network = network_from_module(
        Call(forward, kernel=(6, 4, 3, 3), weight=(5, 6)), (2, 4, 3, 3))
    assert [layer.macs for layer in network.layers] == [2 * 6 * 4 * 9, 2 * 6 * 5]


def test_layer_that_runs_twice_gets_a_number():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    network = network_from_module(nn.Sequential(conv, nn.ReLU(), conv), (1, 3, 8, 8))
    assert [layer.name for layer in network.layers] == ["0", "0#2"]


def test_functional_call_is_named_after_the_weights_owner_or_the_operator():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.inner = Call(lambda m, x: x @ m.free @ x.mT, free=(8, 8))

        def forward(self, x):
            return self.inner(F.linear(x, self.fc.weight))
    network = network_from_module(Outer(), (1, 4, 8))
    assert [layer.name for layer in network.layers] == [
        "fc", "inner.linear", "inner.matmul"]


def test_masks_and_parametrizations_keep_names_and_add_no_work():
    from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
    module = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        spectral_norm(nn.Conv2d(4, 4, 3)),
        prune.l1_unstructured(nn.Conv2d(4, 4, 3), "weight", 9),
        parametrizations.orthogonal(nn.Linear(24, 24)))
    with pytest.warns(FutureWarning):
        module.append(weight_norm(nn.Linear(24, 5)))
    network = network_from_module(module, (2, 3, 32, 32))
    assert [layer.name for layer in network.layers] == list("012345")
    assert network.not_counted == ()


class WorkOnWeights(nn.Module):
    """A filter of low rank, and a bias that a small network makes of a table."""

    def __init__(self):
        super().__init__()
        self.u = nn.Parameter(torch.randn(64, 8))
        self.v = nn.Parameter(torch.randn(8, 16))
        self.register_buffer("table", torch.randn(6, 2))
        self.bias = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))
        self.blur = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        bias = self.blur(self.bias(self.table).reshape(1, 1, 6)).sum()
        return F.linear(x, self.u @ self.v) + bias


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_work_on_weights_alone_is_no_layer_whatever_the_batch(batch):
    layer = only_layer(WorkOnWeights(), (batch, 16))
    assert (layer.N, layer.M, layer.C * layer.W) == (batch, 64, 16)


def test_users_module_stays_as_it_is():
    from torch.nn.utils import prune
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    prune.l1_unstructured(module[0], "weight", 9)
    module.extra = [module[0].weight * 2]           # no leaf: deepcopy refuses these
    before = {key: value.clone() for key, value in module.state_dict().items()}
    network_from_module(module, (1, 3, 8, 8))
    assert module.training and module[0].training
    assert all(torch.equal(value, before[key]) and value.device.type == "cpu"
               for key, value in module.state_dict().items())
    assert "forward" not in vars(module[0]) and len(module[0]._forward_pre_hooks) == 1


def test_tensors_with_values_from_anywhere_take_part():
    kernel = torch.ones(3, 1, 3, 3)

    def forward(module, x):
        y = F.conv2d(x, kernel, groups=3) * torch.tensor(2.0)
        return y + torch.ones(6, device="cpu") + x.new_ones(1).cpu()
    layer = only_layer(Call(forward), (2, 3, 8, 8))
    assert (layer.groups, layer.dynamic_filters) == (3, False)


class Anchored(nn.Module):
    """A head that decodes its map by strides, in each way that a constant is made."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("strides", torch.tensor([8.0, 16.0]))
        self.plain = torch.arange(1, 4)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        sides = x.new_tensor([3, 5], dtype=torch.long)
        sizes = torch.tensor([[2, 2], [4, 4]], device=x.device)
        grid = torch.meshgrid(*(torch.arange(int(n), device=x.device) for n in sides),
                              indexing="ij")
        ones = x.new_zeros(6)
        ones[grid[0].flatten()[:5] * 0] = 1
        assert int(self.strides[1] / self.strides[0]) == 2
        assert [round(self.scale.item()), *self.plain.tolist()] == [2, 1, 2, 3]
        assert ones.nonzero().shape == (1, 1) and torch.ones_like(x[0, 0]).sum() == 64
        y = F.interpolate(self.conv(x), size=tuple(sizes.prod(1)[1:].tolist()) * 2)
        offsets = torch.stack(grid).sum(0)[None, None].expand(1, 1, 3, 5)
        return F.conv2d(F.pad(y, (0, 0, 0, int(offsets.max()))), self.conv.weight.mT)


def test_a_constant_that_depends_on_no_input_keeps_its_value():
    module = Anchored()
    module.conv = nn.Conv2d(3, 3, 1)
    layers = network_from_module(module, (2, 3, 8, 8)).layers
    assert [(layer.H, layer.W) for layer in layers] == [(8, 8), (16 + 6, 16)]


def test_a_constant_that_an_activation_is_written_to_has_no_value_any_more():
    seen = []

    def forward(module, x):
        table = torch.zeros(3)
        row = table[1:2]
        assert row.item() == 0
        seen.append(table.device)
        row.copy_(x.mean().reshape(1))
        seen.append(table.device)               # lost with its view
        return F.linear(x, module.weight) * table
    only_layer(Call(forward, weight=(3, 3)), (2, 3))
    assert seen == [torch.device("cpu"), META]


def test_filters_made_from_an_activation_are_dynamic():
    correlate = Call(lambda m, x, z: F.conv2d(x, z))
    assert only_layer(correlate, [(1, 3, 9, 9), (4, 3, 3, 3)]).dynamic_filters


def test_lazy_modules_learn_their_shape():
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))
    network = network_from_module(module, (2, 1, 8, 8))
    assert [layer.C for layer in network.layers] == [1, 4]


def test_embedding_gets_token_numbers():
    network = network_from_module(
        nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 4)), (2, 5))
    assert network.macs == 2 * 5 * 8 * 4
    assert [op.op for op in network.not_counted] == ["embedding"]


def test_work_that_is_no_layer_is_listed_and_views_are_free():
    def forward(module, x):
        x = F.interpolate(F.conv2d(x, module.weight), scale_factor=2).mT
        x = torch.cat([x, torch.erfinv(x)]).reshape(2, -1).unsqueeze(1)
        return x[:, :, :4].expand(2, 3, 4)
    network = network_from_module(Call(forward, weight=(2, 3, 1, 1)), (1, 3, 4, 4))
    assert {op.op: (op.calls, op.outputs) for op in network.not_counted} == {
        "upsample_nearest2d": (1, 128), "erfinv": (1, 128), "cat": (1, 256)}


def test_wrong_input_shape_is_refused_with_the_module_and_both_shapes():
    with pytest.raises(ValueError, match="^ResNet18: module conv1 fails on an input of "
                       r"1x1x64x64: .*\(convolution of 1x1x64x64, 64x3x7x7\); is the"):
        network_from_module(ResNet18(), (1, 1, 64, 64))


@pytest.mark.parametrize("shape", [(), (0, 3, 8, 8), "1x3", (1, 2.5), []])
def test_input_shape_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match="input shape is"):
        network_from_module(nn.Conv2d(3, 3, 1), shape)


@pytest.mark.parametrize("module, shape", [
    (nn.Conv2d(3, 8, 3), (3, 32, 32)), (nn.Conv1d(3, 8, 3), (3, 32)),
    (nn.ConvTranspose2d(3, 8, 3), (3, 32, 32))])
def test_an_input_without_a_batch_is_no_batch_of_its_channels(module, shape):
    with pytest.raises(ValueError, match=r"sees N=1, but the input 3x32.* says 3 "
                       r"images; the batch comes first, as in 1x3x32"):
        network_from_module(module, shape)


class Permuted(nn.Module):
    """(time, images, channels) to (images, channels, time)."""

    def forward(self, x):
        return x.permute(1, 2, 0)


def test_convolutions_of_other_batches_than_the_input_are_left_alone():
    class Bank(nn.Module):
        """One of its convolutions sees a parameter, whatever the batch is."""

        def __init__(self):
            super().__init__()
            self.pos = nn.Parameter(torch.zeros(1, 3, 8, 8))
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.a(x) + self.b(self.pos.expand(1, -1, -1, -1) + 0 * x.mean())

    network = network_from_module(Bank(), (4, 3, 8, 8))
    assert [layer.N for layer in network.layers] == [4, 1]
    times = nn.Sequential(Permuted(), nn.Conv1d(8, 4, 3))
    assert network_from_module(times, (10, 2, 8)).layers[0].N == 2


def test_module_without_layers_is_refused():
    with pytest.raises(ValueError, match="no CONV, FC or matmul layer found"):
        network_from_module(nn.ReLU(), (1, 3))


def test_large_layer_is_traced_without_its_10_GB():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with META:
        module = nn.Linear(50_000, 50_000)
    assert only_layer(module, (1, 50_000)).filter_words == 2_500_000_000
    grown_KiB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_KiB < 200_000


def test_copy_for_the_trace_needs_no_memory_either():
    module = nn.Linear(10_000, 10_000, bias=False)      # 400 MB of its own
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    only_layer(module, (1, 10_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


SOURCE = """
import torch
from torch import nn
import neighbour

def small():
    return nn.Conv2d(3, neighbour.FILTERS, 3)

def large():
    assert nn.Linear(50_000, 50_000).weight.is_meta
    return nn.Linear(50_000, 50_000)

def constants():
    net = nn.Conv2d(3, int(torch.ones(4).sum()), 3)
    net.register_buffer("strides", torch.tensor([8.0, 16.0]))
    assert net.weight.is_meta and net.strides.tolist() == [8, 16]
    return net

def needs_values():
    return nn.Conv2d(3, 4 + int(torch.rand(4).argmax() > 9), 3)

def wrong():
    return 7

def broken(width):
    return nn.Linear(width, width)

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 5, 1))

ready = Net()
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "neighbour.py").write_text("FILTERS = 6\n")
    path = tmp_path / "nets.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("factory, filters", [
    ("small", 6), ("constants", 4), ("needs_values", 4), ("Net", 5), ("ready", 5)])
def test_file_gives_its_module(source, factory, filters):
    assert only_layer(load_module(f"{source}:{factory}"), (1, 3, 8, 8)).M == filters


def test_factory_of_a_large_module_is_called_without_memory(source):
    assert load_module(f"{source}:large").weight.is_meta


@pytest.mark.parametrize("factory, words", [
    ("other", "has no 'other'; it has Net, broken, constants, large, needs_values, "
     "ready, small"),
    ("wrong", "gives a int, not a torch.nn.Module"),
    ("broken", "broken raised TypeError: .*width.*must run without arguments"),
])
def test_file_without_such_a_module_is_refused(source, factory, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_module(f"{source}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code, words", [
    ("\nraise SystemExit(3)\n", r"SystemExit: 3 \(line 2\)"),
    ("import no_such_thing_at_all\n", "ModuleNotFoundError: No module named"),
    ("def f(:\n", "SyntaxError"),
])
def test_file_that_raises_is_refused_with_its_reason(tmp_path, code, words):
    path = tmp_path / "bad.py"
    path.write_text(code)
    with pytest.raises(ValueError, match=words):
        load_module(f"{path}:net")


@pytest.mark.parametrize("text", ["missing.py:net", "nets.py", "nets.txt:net"])
def test_no_file_of_a_module_is_refused(text):
    with pytest.raises(ValueError, match=r"no such file|write path/to/file\.py:fact"):
        load_module(text)


def test_forward_that_exits_is_an_error_and_not_a_silent_success():
    class Quits(nn.Module):
        def forward(self, x):
            sys.exit()

    with pytest.raises(ValueError, match=r"its forward fails on .*: SystemExit"):
        network_from_module(Quits(), (1, 3, 8, 8))


@pytest.mark.parametrize("size", [10**11, 10**20])
def test_input_that_torch_cannot_address_is_refused_with_its_shape(size):
    with pytest.raises(ValueError, match=f"an input of 1x3x{size}x{size} is more than"):
        network_from_module(nn.Conv2d(3, 3, 3), (1, 3, size, size))
