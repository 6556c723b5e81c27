"""Every operator of torch that multiplies: counted, or named as holding products."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eyeriss_sim.importers.activations import watch_layers
from eyeriss_sim.importers.products import is_linear, is_packed_conv, told
from eyeriss_sim.importers.torch_module import FACTORS, network_from_module


class Call(nn.Module):
    """A module whose forward is a function of itself and its inputs."""

    def __init__(self, function, **weights):
        super().__init__()
        self.function = function
        for key, shape in weights.items():
            setattr(self, key, nn.Parameter(torch.rand(shape)))

    def forward(self, *inputs):
        return self.function(self, *inputs)


@pytest.mark.parametrize("forward, shapes, macs", [
    (lambda m, x: torch.addbmm(m.w[0, :6], x, m.w), [(2, 6, 8)], 2 * 6 * 8 * 5),
    (lambda m, x: torch.baddbmm(m.w[:, :6], x, m.w), [(2, 6, 8)], 2 * 6 * 8 * 5),
    (lambda m, x: m.w.new_zeros(2, 6, 5).baddbmm_(x, m.w), [(2, 6, 8)],
     2 * 6 * 8 * 5),
    (lambda m, x: torch.addmv(m.w[0, :6, 0], x, m.w[0, :, 0]), [(6, 8)], 6 * 8),
    (lambda m, x, y: torch.tensordot(x, y, dims=([1, 2], [2, 1])),
     [(4, 3, 5), (6, 5, 3)], 4 * 6 * 15),
    (lambda m, x, y: torch.einsum("abc,dcb->ad", x, y), [(4, 3, 5), (6, 5, 3)],
     4 * 6 * 15),
    (lambda m, x, y: torch.einsum("nhqd,nhkd->nhqk", x, y),
     [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 5),
    (lambda m, x: torch.einsum("...c,cd->...d", x, m.w[0]), [(2, 3, 4, 8)],
     24 * 8 * 5),
    (lambda m, x: torch.linalg.multi_dot([x, m.w[0], m.w[1].mT]), [(20, 8)],
     20 * 8 * 5 * 2),
    (lambda m, x: torch.inner(x, m.w[0].mT.contiguous()), [(2, 8)], 2 * 8 * 5),
    (lambda m, x, y: torch.vdot(x[0], y[0]), [(1, 8), (1, 8)], 8),
    (lambda m, x: torch.linalg.matrix_power(x, 3), [(2, 4, 4)], 2 * 2 * 64),
    (lambda m, x: torch.conv_tbc(x, m.t, m.t[0, 0], 1), [(9, 2, 8)],
     2 * 9 * 3 * 8 * 5),
    (lambda m, x: F.fold(m.w[0].mT[:4] @ F.unfold(x, 2, stride=2), 8, 2, stride=2),
     [(1, 2, 8, 8)], 4 * 8 * 16),
])
def test_product_in_any_form_counts(forward, shapes, macs):
    module = Call(forward, w=(2, 8, 5), t=(3, 8, 5))
    assert network_from_module(module, shapes).macs == macs


def test_bilinear_multiplies_by_its_weights_and_then_row_by_row():
    module = nn.Sequential(nn.Linear(4, 4))
    module.both = nn.Bilinear(4, 6, 5)
    network = network_from_module(
        Call(lambda m, x, y: module.both(module[0](x), y)), [(3, 2, 4), (3, 2, 6)])
    macs = {layer.name: layer.macs for layer in network.layers}
    assert list(macs.values()) == [6 * 16, 6 * 4 * 6 * 5, 6 * 6 * 5]
    assert network.layers[2].dynamic_filters and not network.layers[1].dynamic_filters
    owned = network_from_module(_Pair(), (3, 4))
    assert [layer.name for layer in owned.layers] == ["both", "both.matmul"]


class _Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.Bilinear(4, 4, 5)

    def forward(self, x):
        return self.both(x, x)


def test_bilinear_written_out_gives_its_result():
    x, seen = torch.randn(3, 4), {}
    module = _Pair()

    def keep(layer, ifmap, filt, ofmap):
        seen[layer.name] = ofmap.copy()
    watch_layers(module, x, keep)
    assert torch.allclose(      # the bias belongs to the ofmap
        torch.from_numpy(seen["both.matmul"].reshape(3, 5)), module(x), atol=1e-5)


@pytest.mark.parametrize("rows, ends, sizes", [
    (12, None, [(3, 4)]), (13, None, [(1, 5), (2, 4)]),
    (12, [2, 2, 12], [(1, 2), (1, 10)])])
def test_grouped_product_has_each_groups_rows(rows, ends, sizes):
    """Ends that a trace does not know are spread evenly: as many products."""
    def forward(module, x):
        offs = (torch.tensor(ends, dtype=torch.int32) if ends else
                torch.argsort(x[:3, 0]).to(torch.int32))
        return torch._grouped_mm(x, module.w, offs=offs)
    module = Call(forward, w=(3, 16, 8))
    module.w.data = module.w.data.bfloat16()
    network = network_from_module(module, (rows, 16))
    assert network.macs == rows * 16 * 8
    assert [(layer.groups, layer.N * layer.H * layer.W)
            for layer in network.layers] == sizes


def test_eight_bit_products_count():
    def forward(module, x):
        narrow = (x * 10).to(torch.int8)
        return torch._int_mm(narrow, torch.ones(8, 16, dtype=torch.int8))
    layer, = network_from_module(Call(forward), (32, 8)).layers
    assert layer.macs == 32 * 8 * 16


@pytest.mark.parametrize("dynamic", [True, False])
def test_quantised_module_counts_as_the_module_before(dynamic):
    float_module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Flatten(), nn.Linear(128, 5))
    expected = network_from_module(float_module, (2, 3, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao import quantization
        if dynamic:
            module = quantization.quantize_dynamic(float_module, {nn.Linear})
        else:
            module = nn.Sequential(
                quantization.QuantStub(), *float_module, quantization.DeQuantStub())
            module.eval().qconfig = quantization.get_default_qconfig("onednn")
            engine = torch.backends.quantized.engine
            torch.backends.quantized.engine = "onednn"
            quantization.prepare(module, inplace=True)(torch.rand(2, 3, 8, 8))
            quantization.convert(module, inplace=True)
            torch.backends.quantized.engine = engine
        network = network_from_module(module, (2, 3, 8, 8))
    assert [layer.macs for layer in network.layers] == [
        layer.macs for layer in expected.layers]
    assert [layer.name for layer in network.layers] == (
        ["0", "2", "4"] if dynamic else ["1", "3", "5"])
    with pytest.raises(ValueError, match="weights are packed"):
        watch_layers(module, torch.rand(2, 3, 8, 8), lambda *_: None)


@pytest.mark.parametrize("forward, shape, name", [
    (lambda m, x: torch.cdist(x, x), (2, 20, 4), "cdist_forward"),
    (lambda m, x: torch.linalg.inv(x), (2, 4, 4), "linalg_inv_ex"),
    (lambda m, x: torch.fft.rfft2(x), (2, 4, 4), "fft_r2c"),
    (lambda m, x: torch.linalg.matrix_exp(x), (2, 4, 4), "linalg_matrix_exp"),
])
def test_what_holds_products_without_a_layer_is_named_so(forward, shape, name):
    conv = nn.Conv1d(shape[1], 1, 1)
    network = network_from_module(
        Call(lambda m, x: (conv(x), forward(m, x))), shape)
    assert [op.op for op in network.not_counted] == [f"{name} (holds products)"]


def test_operator_of_a_library_that_is_not_known_is_named_so():
    @torch.library.custom_op("eyeriss_sim_tests::mystery", mutates_args=())
    def mystery(x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT

    @mystery.register_fake
    def _(x):
        return x @ x.mT
    fc = nn.Linear(4, 4)
    network = network_from_module(Call(lambda m, x: mystery(fc(x))), (2, 4))
    assert network.not_counted[0].op == "eyeriss_sim_tests::mystery (may hold products)"


WORDS = ("mm", "matmul", "conv", "linear", "attention", "rnn", "lstm", "gru", "fft",
         "linalg", "cholesky", "cdist", "bilinear", "solve")
# Parts of names that say so, and yet nothing is multiplied and summed there.
HARMLESS = ("upsample", "prepack", "reorder", "_pack", "unpack", "fused", "backward",
            "check", "compress", "flatten", "vector_norm", "cross", "powsum", "conv2d_",
            "conv3d_", "bias_rescale", "gamma", "comm", "_convert", "choice",
            "freq", "cummax", "cummin", "dummy", "window")


def test_no_operator_with_a_products_name_is_listed_as_if_it_had_none():
    missed = []
    for schema in torch._C._jit_get_all_schemas():
        space, _, op = schema.name.partition("::")
        packet = getattr(getattr(torch.ops, space), op, None)
        if (space not in ("aten", "quantized", "mkldnn", "onednn")
                or not any(word in op for word in WORDS)
                or any(word in op for word in HARMLESS)
                or not hasattr(packet, "overloads")):
            continue
        func = getattr(packet, packet.overloads()[0])
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd")
        if not (composite or op.rstrip("_") in FACTORS or is_linear(func)
                or is_packed_conv(func) or "holds products" in told(func, op)):
            missed.append(op)
    assert missed == [], " ".join(missed)


def test_flop_counter_agrees_on_a_transformer_with_every_kind_of_product():
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x = torch.rand(2, 7, 16)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), (
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            encoder(x)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert network_from_module(encoder, (2, 7, 16)).macs == (
        counter.get_total_flops() // 2)
