import weakref
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from models import InvertedResidual, MobileNetV2, ResNet18, SmallViT
from torch import nn

from eyeriss_sim.importers.activations import watch_layers
from eyeriss_sim.importers.torch_module import network_from_module


class Call(nn.Module):
    """A module whose forward is a function of itself and its inputs."""

    def __init__(self, function, **children):
        super().__init__()
        self.function = function
        for key, child in children.items():
            if isinstance(child, tuple):
                child = nn.Parameter(torch.randn(child))
            setattr(self, key, child)

    def forward(self, *inputs):
        return self.function(self, *inputs)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shake(module):
    """Give batch norms something to do."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.affine:
            nn.init.normal_(child.weight)
            nn.init.normal_(child.bias)
            nn.init.normal_(child.running_mean)
    return module


def watch(module, *images):
    """The network, and {layer name: (layer, ifmap, filt, ofmap)} copied."""
    seen = {}

    def keep(layer, *arrays):
        assert layer.name not in seen
        seen[layer.name] = layer, *(array.copy() for array in arrays)
    network = watch_layers(module, list(images), keep)
    assert len(seen) == len(network.layers)
    for layer in network.layers:
        shown, ifmap, filt, ofmap = seen[layer.name]
        assert shown is layer
        assert ifmap.shape == (layer.N, layer.groups * layer.C, layer.H, layer.W)
        assert filt.shape == (layer.M, layer.C, layer.R, layer.S)
        assert ofmap.shape == (layer.N, layer.M, layer.E, layer.F)
    return network, seen


def naive_layer(layer, ifmap, filt):
    """The CONV layer's definition, a loop per tap."""
    ofmap = np.zeros((layer.N, layer.M, layer.E, layer.F))
    for g in range(layer.groups):
        channels = slice(g * layer.C, (g + 1) * layer.C)
        filters = slice(g * layer.M_group, (g + 1) * layer.M_group)
        for i in range(layer.R):
            for j in range(layer.S):
                top, left = i * layer.dilation[0], j * layer.dilation[1]
                pixels = ifmap[:, channels,
                               top:top + (layer.E - 1) * layer.U + 1:layer.U,
                               left:left + (layer.F - 1) * layer.V + 1:layer.V]
                ofmap[:, filters] += np.einsum(
                    "nchw,mc->nmhw", pixels.astype(float),
                    filt[filters, :, i, j].astype(float))
    return ofmap


def check_arithmetic(module, *images):
    """Layers without bias: the arrays reproduce every ofmap."""
    network, seen = watch(module.double(), *images)
    for layer, ifmap, filt, ofmap in seen.values():
        np.testing.assert_allclose(
            naive_layer(layer, ifmap, filt), ofmap,
            atol=1e-9 if ofmap.dtype == np.float64 else 1e-4)
    return network, seen


CONVS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d),
         3: (nn.Conv3d, nn.ConvTranspose3d)}


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_arrays_of_any_convolution_reproduce_its_result(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))
    dims, transposed = draw(1, 3), data.draw(st.booleans())
    each = [dict(taps=draw(1, 3), stride=draw(1, 3), padding=draw(0, 2),
                 dilation=draw(1, 2), size=draw(5, 7)) for _ in range(dims)]
    groups = draw(1, 3)
    channels, filters = groups * draw(1, 2), groups * draw(1, 2)
    sizes = {key: tuple(one[key] for one in each) for key in each[0]}
    extra = {}
    if transposed:
        extra["output_padding"] = tuple(
            draw(0, max(one["stride"], one["dilation"]) - 1) for one in each)
    elif data.draw(st.booleans()):
        extra["padding_mode"] = data.draw(
            st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    conv = CONVS[dims][transposed](
        channels, filters, sizes["taps"], sizes["stride"], sizes["padding"],
        dilation=sizes["dilation"], groups=groups, bias=False, **extra)
    images = torch.randn(draw(1, 2), channels, *sizes["size"])
    conv = conv.double()
    _, seen = check_arithmetic(conv, images)
    (_, _, _, ofmap), = seen.values()
    expected = conv(images.double()).detach()
    if dims == 3:
        expected = expected.transpose(1, 2)
    np.testing.assert_allclose(expected.reshape(ofmap.shape), ofmap, atol=1e-9)


@pytest.mark.parametrize("module, shapes", [
    pytest.param(nn.Linear(8, 5, bias=False), [(3, 8)], id="linear"),
    pytest.param(nn.Linear(8, 5, bias=False), [(3, 2, 7, 8)], id="linear 4-D"),
    pytest.param(
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(),
                      nn.Linear(36, 5, bias=False)), [(3, 4, 6, 6)], id="FC of a map"),
    pytest.param(nn.Conv2d(4, 6, 3, padding="same", bias=False), [(2, 4, 5, 5)],
                 id="same"),
    pytest.param(nn.Conv2d(4, 6, (2, 3), padding="same", bias=False), [(2, 4, 5, 5)],
                 id="same, even"),
    pytest.param(Call(lambda m, x: x @ m.w, w=(8, 5)), [(3, 7, 8)], id="@ weight"),
    pytest.param(Call(lambda m, x: m.w @ x, w=(9, 7)), [(3, 7, 8)], id="weight @"),
    pytest.param(Call(lambda m, x: m.w @ x, w=(9, 7)), [(7, 8)], id="weight @ 2-D"),
    pytest.param(Call(lambda m, x: m.w @ x, w=(3, 9, 7)), [(3, 7, 8)],
                 id="weights @"),
    pytest.param(Call(lambda m, x: m.w @ x, w=(9, 7)), [(7,)], id="weight @ vector"),
    pytest.param(Call(lambda m, x: x @ m.w, w=(8,)), [(3, 8)], id="@ vector"),
    pytest.param(Call(lambda m, x: torch.einsum("nhk,hkm->nhm", x, m.w), w=(2, 8, 5)),
                 [(3, 2, 8)], id="weight per head"),
    pytest.param(Call(lambda m, x: x @ m.w, w=(2, 8, 5)), [(3, 2, 7, 8)],
                 id="weight broadcast over the batch"),
    pytest.param(Call(lambda m, x, y: x @ y), [(3, 2, 7, 8), (3, 2, 8, 5)],
                 id="product of activations"),
    pytest.param(Call(lambda m, x, y: x @ y), [(7, 8), (8, 5)], id="matrices"),
    pytest.param(Call(lambda m, x, y: torch.dot(x, y)), [(8,), (8,)], id="dot"),
    pytest.param(
        Call(lambda m, x, y: torch.addbmm(torch.zeros(4, 6), x, y)),
        [(3, 4, 5), (3, 5, 6)], id="sum of products"),
    pytest.param(Call(lambda m, x, z: F.conv2d(x, z, padding=1)),
                 [(1, 3, 9, 9), (4, 3, 3, 3)], id="dynamic filters"),
    pytest.param(Call(lambda m, x: F.scaled_dot_product_attention(x, x, x)),
                 [(2, 3, 7, 16)], id="attention"),
])
def test_arrays_of_any_product_reproduce_its_result(module, shapes):
    images = [torch.randn(shape, dtype=torch.double) for shape in shapes]
    check_arithmetic(module, *images)


def attend_fused(module, q, k):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        module.result = F.scaled_dot_product_attention(q, k, k, is_causal=True)
    return module.result


def test_fused_attention_is_taken_apart():
    q, k = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8)
    module = Call(attend_fused)
    _, seen = watch(module, q, k)
    _, (_, weights, _, ofmap) = seen.values()
    assert (np.triu(weights.reshape(6, 5, 5).transpose(0, 2, 1), 1) == 0).all()
    expected = F.scaled_dot_product_attention(q, k, k, is_causal=True)
    torch.testing.assert_close(module.result, expected)
    assert np.allclose(ofmap.reshape(2, 3, 8, 5), expected.mT, atol=1e-5)


@pytest.mark.parametrize("module, shape", [
    (ResNet18(), (2, 3, 32, 32)),
    (MobileNetV2(), (1, 3, 32, 32)),
    (SmallViT(), (2, 3, 32, 32)),
    (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
     (2, 5, 8)),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.PReLU(),
                   nn.InstanceNorm2d(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                   nn.Linear(16, 3), nn.Softmax(1)), (2, 3, 9, 9)),
    (nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Upsample(scale_factor=2),
                   nn.Hardswish(), nn.MaxPool2d(2, ceil_mode=True)), (2, 3, 9, 9)),
    (Call(lambda m, x: m.attn(x, x, x)[0],
          attn=nn.MultiheadAttention(8, 2, batch_first=True)), (2, 5, 8)),
])
def test_network_is_the_one_that_a_trace_gives(module, shape):
    traced = network_from_module(module, shape)
    network, _ = watch(module, torch.randn(shape))
    assert network == traced


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_network_is_the_one_of_its_trace(kind):
    module, images = kind(8, 6, bidirectional=True), torch.randn(2, 5, 8)
    shown = Counter()
    network = watch_layers(module, images,
                           lambda layer, *arrays: shown.update([layer.name]))
    traced = network_from_module(module, images.shape)
    assert shown == {layer.name: layer.steps for layer in network.layers}
    # Steps at which products run, not only their MACs: filters are read anew at each.
    assert network.layers == traced.layers


def reference_of(module, images, names):
    """Outputs of some modules, from forward hooks."""
    found = {}
    module.eval()
    hooks = [module.get_submodule(name).register_forward_hook(
        lambda m, x, out, name=name: found.__setitem__(name, out.clone().numpy()))
        for name in names]
    with torch.no_grad():
        module(images)
    for hook in hooks:
        hook.remove()
    return found


def test_ofmaps_of_resnet_are_what_each_block_writes():
    module, images = shake(ResNet18()), torch.randn(2, 3, 32, 32)
    _, seen = watch(module, images)
    blocks = [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    shortcuts = [f"layer{i}.0.downsample" for i in (2, 3, 4)]
    expected = reference_of(module, images, [
        "bn1", "fc", *blocks, *shortcuts, *(f"{block}.bn1" for block in blocks)])

    def same(name, values):
        np.testing.assert_allclose(
            seen[name][3].reshape(values.shape), values, rtol=1e-3, atol=1e-4)
    same("conv1", expected["bn1"].clip(0))
    same("fc", expected["fc"])
    for block in blocks:
        same(f"{block}.conv1", expected[f"{block}.bn1"].clip(0))
        same(f"{block}.conv2", expected[block])
    for shortcut in shortcuts:
        same(f"{shortcut}.0", expected[shortcut])
    next_ifmap = seen["layer1.1.conv1"][1][:, :, 1:-1, 1:-1]
    assert (next_ifmap == seen["layer1.0.conv2"][3]).all()


def test_inverted_residual_ends_with_its_sum():
    module, images = shake(InvertedResidual(4, 4, 1, 2)), torch.randn(2, 4, 8, 8)
    _, seen = watch(module, images)
    expected = reference_of(module, images, ["", "conv.0.1"])
    assert np.allclose(seen["conv.2"][3], expected[""], atol=1e-5)
    assert np.allclose(seen["conv.0.0"][3], expected["conv.0.1"].clip(0, 6), atol=1e-5)


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(True), nn.ReLU6(), nn.ReLU6(True), nn.LeakyReLU(0.1, True),
    nn.SiLU(), nn.SiLU(True), nn.GELU(), nn.Hardswish(), nn.Hardswish(True),
    nn.Sigmoid(), nn.Tanh(), nn.Threshold(0.1, 0.5), nn.Threshold(0.1, 0.5, True),
    nn.ELU(), nn.SELU(True), nn.Mish(), nn.Softplus(), nn.Hardsigmoid(True), nn.PReLU(),
    nn.RReLU(), nn.LogSigmoid(), nn.Softshrink(), nn.Hardtanh(-0.5, 0.5, True),
    nn.Dropout(), nn.Identity(), nn.BatchNorm2d(4), nn.CELU(inplace=True)]
ACTIVATIONS += [Call(function) for function in (
    lambda m, x: x.clamp(min=0.2), lambda m, x: x.clamp_(max=0.2),
    lambda m, x: torch.where(x > 0, x, 0.1 * x), lambda m, x: x * torch.sigmoid(x),
    lambda m, x: x * (x > 0), lambda m, x: torch.maximum(x, torch.zeros(())),
    lambda m, x: x.masked_fill(x < 0, 0.0), lambda m, x: x.masked_fill_(x < 0, 0.0),
    lambda m, x: 2 - x, lambda m, x: x.square() + 1, lambda m, x: x.abs_().sqrt_(),
    lambda m, x: x.to(torch.float64), lambda m, x: F.relu(x.clone()),
    lambda m, x: F.relu_(x.clone()), lambda m, x: x[:].relu(),
    lambda m, x: x.contiguous(memory_format=torch.channels_last).relu(),
    lambda m, x: F.relu(x.flatten(2), inplace=True).view_as(x),
    lambda m, x: x.unsqueeze(0).relu().squeeze(0),
    lambda m, x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255))]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_followed(activation):
    conv, pool = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)
    module = shake(nn.Sequential(conv, activation, pool, nn.ReLU())).eval()
    images = torch.randn(2, 3, 7, 7)
    _, seen = watch(module, images)
    expected = module[:2](images).detach()
    assert np.array_equal(seen["0"][3], expected)


@pytest.mark.parametrize("stop", [
    lambda y: F.max_pool2d(y, 2), lambda y: y.softmax(1), lambda y: y.mean((2, 3)),
    lambda y: torch.cat([y, y]), lambda y: y.permute(0, 2, 3, 1), lambda y: y[:, :2],
    lambda y: F.pad(y, (1, 1)), lambda y: F.layer_norm(y, y.shape[1:]),
    lambda y: F.instance_norm(y), lambda y: y.chunk(2, 1)[0], lambda y: y.cumsum(1),
    lambda y: y.mean() + y, lambda y: y[y > 0], lambda y: y.transpose_(2, 3)])
def test_operator_of_another_kind_ends_the_ofmap(stop):
    module = Call(lambda m, x: F.relu_(stop(m.conv(x))), conv=nn.Conv2d(3, 4, 3))
    images = torch.randn(2, 3, 7, 7)
    _, seen = watch(module, images)
    assert np.array_equal(seen["conv"][3], module.conv(images).detach())


def test_map_that_is_used_twice_is_written_by_its_first_chain():
    def forward(module, x):
        y = module.a(x)
        z = F.relu(y)
        return module.b(z), module.c(y)
    module = Call(forward, **{key: nn.Conv2d(3, 3, 1) for key in "abc"})
    _, seen = watch(module, torch.randn(1, 3, 4, 4))
    assert (seen["a"][3] == seen["b"][1]).all() and (seen["c"][1] < 0).any()


def test_map_that_is_pooled_first_is_written_before_it_is_scaled():
    def forward(module, x):
        y = F.relu(module.a(x))
        scale = torch.sigmoid(module.b(F.adaptive_avg_pool2d(y, 1)))
        return y * scale
    module = Call(forward, a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1))
    images = torch.randn(1, 3, 4, 4)
    _, seen = watch(module, images)
    assert np.array_equal(seen["a"][3], module.a(images).relu().detach())
    assert ((0 < seen["b"][3]) & (seen["b"][3] < 1)).all()


@pytest.mark.parametrize("add", [
    lambda short, deep: short + deep, lambda short, deep: deep + short,
    lambda short, deep: short.add_(deep), lambda short, deep: deep.add_(short),
    lambda short, deep: short.copy_(deep + short)])
@pytest.mark.parametrize("short_first", [True, False])
def test_sum_belongs_to_the_longer_branch(add, short_first):
    def forward(module, x):
        short = module.short(x) if short_first else None
        deep = module.b(module.a(x).relu())
        return F.relu_(add(short if short_first else module.short(x), deep))
    module = Call(forward, **{key: nn.Conv2d(3, 3, 1) for key in ("a", "b", "short")})
    images = torch.randn(1, 3, 4, 4)
    _, seen = watch(module, images)
    short, deep = module.short(images), module.b(module.a(images).relu())
    assert np.array_equal(seen["short"][3], short.detach())
    assert np.array_equal(seen["b"][3], (short + deep).relu().detach())


def test_operands_are_shown_as_they_were_read():
    def forward(module, x):
        y = module.a(x)
        x.relu_()
        module.a.weight.zero_()
        return y + 1
    module = Call(forward, a=nn.Conv2d(3, 3, 1))
    images, weight = torch.randn(1, 3, 4, 4), module.a.weight.detach().clone()
    before = images.clone()
    _, seen = watch(module, images)
    assert np.array_equal(seen["a"][1], before) and torch.equal(images, before)
    assert np.array_equal(seen["a"][2], weight)


def test_masks_and_parametrizations_show_the_weights_that_worked():
    from torch.nn.utils import parametrizations, prune
    pruned = prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", 50)
    normed = parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    _, seen = watch(nn.Sequential(pruned, normed), torch.randn(1, 3, 9, 9))
    assert (seen["0"][2] == 0).sum() == 50
    assert np.allclose(seen["1"][2], normed.weight.detach(), atol=1e-6)


def test_layers_come_in_the_order_of_their_completion():
    order = []
    watch_layers(ResNet18(), torch.randn(1, 3, 32, 32),
                 lambda layer, *arrays: order.append(layer.name))
    assert order[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert order.index("layer2.0.downsample.0") < order.index("layer2.0.conv2")
    assert order[-1] == "fc"


def test_module_stays_as_it_is():
    module = shake(ResNet18())
    module.layer1.eval()
    hook = module.conv1.register_forward_hook(lambda m, x, out: out * 0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    training = [child.training for child in module.modules()]
    _, seen = watch(module, torch.randn(1, 3, 32, 32))
    assert not seen["layer1.0.conv1"][1].any() or module.bn1.bias.any()
    assert [child.training for child in module.modules()] == training
    assert all(weight.requires_grad for weight in module.parameters())
    assert all(torch.equal(value, before[key])
               for key, value in module.state_dict().items())
    assert all("forward" not in vars(child) for child in module.modules())
    assert not any(child._forward_pre_hooks for child in module.modules())
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.mkldnn.enabled
    hook.remove()


def test_forward_that_asks_for_values_runs():
    module = Call(lambda m, x: m.conv(x) if x.sum() > 0 else x, conv=nn.Conv2d(3, 3, 1))
    network, _ = watch(module, torch.ones(1, 3, 4, 4))
    assert [layer.name for layer in network.layers] == ["conv"]


def test_only_one_layer_is_held_at_a_time():
    alive = []

    def look(layer, *arrays):
        # What came before the layer that has just ended is gone.
        assert not any(ref() is not None for refs in alive[:-1] for ref in refs)
        alive.append([weakref.ref(array) for array in arrays])
        sizes.append(sum(storage.nbytes() for storage in storages()))

    def storages():
        import gc
        return {tensor.untyped_storage()._cdata: tensor.untyped_storage()
                for tensor in gc.get_objects()
                if type(tensor) is torch.Tensor and tensor.numel() >= 32 * 32 * 16
                }.values()
    sizes = []
    layers = [nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16),
                            nn.ReLU()) for _ in range(20)]
    images = torch.randn(1, 16, 32, 32)
    others = sum(storage.nbytes() for storage in storages())
    watch_layers(nn.Sequential(*layers), images, look)
    one_map = images.nbytes
    # The copied image, ifmap, padded ifmap, ofmap, and what torch itself passes on.
    assert len(sizes) == 20 and max(sizes) - others <= 5.5 * one_map
    assert sizes[-1] <= sizes[3] * 1.1


def test_arrays_are_views_where_nothing_had_to_change():
    def look(layer, ifmap, filt, ofmap):
        assert np.shares_memory(filt, module.weight.detach().numpy())
        with pytest.raises(ValueError):
            filt[:] = 0
    module = nn.Conv2d(3, 4, 3)
    watch_layers(module, np.ones((1, 3, 5, 5)), look)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_module_of_another_precision_gets_its_images(dtype):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(dtype)
    _, seen = watch(module, np.random.rand(1, 3, 5, 5).astype(">f4")[:, ::-1])
    assert all(array.dtype.kind == "f" for array in seen["0"][1:])


def test_tokens_are_left_whole():
    module = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 4))
    network, _ = watch(module, np.array([[1, 2, 3]]))
    assert network == network_from_module(module, (1, 3))


class OfBuffer(nn.Module):
    """Filters that are a buffer, where infinity is allowed elsewhere."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.full((4, 3, 3, 3), float("inf")))

    def forward(self, x):
        return F.conv2d(x, self.w)


def with_weight(value, key="weight"):
    conv = nn.Conv2d(3, 4, 3)
    getattr(conv, key).data.flatten()[1] = value
    return nn.Sequential(conv)


@pytest.mark.parametrize("module, images, words", [
    (7, torch.ones(1, 3, 8, 8), "torch.nn.Module is needed, got a int"),
    (nn.Conv2d(3, 4, 3), torch.ones(1, 1, 8, 8),
     r"fails on an input of 1x1x8x8: .*\(convolution of 1x1x8x8, 4x3x3x3, 4\)"),
    (nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 8, dtype=torch.uint8),
     r"an input of 1x3x8x8: RuntimeError: .*\(unsigned char\) and bias type"),
    (nn.Conv2d(3, 4, 3), np.full((1, 3, 8, 8), np.nan), "images hold NaN or inf"),
    (nn.Conv2d(3, 4, 3), np.full((1, 3, 8, 8), 1e300), "images hold NaN or inf"),
    (nn.Conv2d(3, 4, 3), "image.png", "must be a torch tensor or a numpy.*got str"),
    (nn.Conv2d(3, 4, 3), np.array(["a"]), "numpy array of floating.*got <U1"),
    (nn.Conv2d(3, 4, 3), np.ones((1, 3, 8, 8), complex), "got complex128"),
    (nn.Conv2d(3, 4, 3), torch.ones(0, 3, 8, 8), "at least one image"),
    (nn.Conv2d(3, 4, 3), [], "no images given"),
    (nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 8, device="meta"), "meta have no values"),
    (nn.Conv2d(3, 4, 3, device="meta"), torch.ones(1, 3, 8, 8),
     "net: weight is on meta .* meta=False"),
    (nn.LazyConv2d(4, 3), torch.ones(1, 3, 8, 8), "weight has no shape yet"),
    (with_weight(float("nan")), torch.ones(1, 3, 8, 8), "net: 0.weight holds NaN"),
    (with_weight(float("inf"), "bias"), torch.ones(1, 3, 8, 8), "0.bias holds NaN or"),
    (Call(lambda m, x: F.conv2d(x, m.w / (m.w - m.w)), w=(4, 3, 3, 3)),
     torch.ones(1, 3, 8, 8), "^conv2d: its filters hold NaN|^net: .*filters hold NaN"),
    (OfBuffer(), torch.ones(1, 3, 8, 8), "^conv2d: its filters hold NaN or infinite"),
])
def test_run_that_cannot_be_is_refused_in_one_line(module, images, words):
    with pytest.raises(ValueError, match=words) as caught:
        watch_layers(module, images, lambda *shown: None, name="net")
    assert "\n" not in str(caught.value)


def test_trouble_in_the_callback_is_the_callers_own():
    def fail(*shown):
        raise KeyError("mine")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    with pytest.raises(KeyError, match="mine"):
        watch_layers(module, torch.ones(1, 3, 8, 8), fail)
    assert module.training and "forward" not in vars(module[0])
