"""Networks of torchvision, where it is installed beside a torch that it fits."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eyeriss_sim.importers.activations import watch_layers
from eyeriss_sim.importers.constants import ShapesBesideConstants
from eyeriss_sim.importers.torch_module import network_from_module

pytestmark = pytest.mark.slow
torchvision = pytest.importorskip(
    "torchvision", reason="torchvision is not installed, or does not fit this torch",
    exc_type=(ImportError, RuntimeError))

DETECTORS = [
    "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn",
    "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"]


def detector(name):
    torch.manual_seed(0)
    return getattr(torchvision.models.detection, name)(
        weights=None, weights_backbone=None).eval()


def torch_macs(module, images):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images)
    return counter.get_total_flops() // 2


def macs_as_torch_counts(network, module):
    """Torch counts a transposed convolution by the pixels that it reads.

    The layer is what the array computes, zeros between the pixels included: all of
    torchvision's have 4x4 or 2x2 taps and stride 2.
    """
    transposed = {name for name, child in module.named_modules()
                  if isinstance(child, torch.nn.ConvTranspose2d)}
    macs = 0
    for layer in network.layers:
        if layer.name.split("#")[0] in transposed:
            child = module.get_submodule(layer.name.split("#")[0])
            pixels = (layer.E - layer.R + 2 * child.padding[0]) // 2 + 1, (
                layer.F - layer.S + 2 * child.padding[1]) // 2 + 1
            macs += (layer.N * pixels[0] * pixels[1] * layer.M * layer.C * layer.R
                     * layer.S)
        else:
            macs += layer.macs
    return macs


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_counts_what_torch_counts(name):
    module, shape = detector(name), (1, 3, 320, 320)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    network = network_from_module(module, shape)
    assert macs_as_torch_counts(network, module) == torch_macs(module, image)
    assert network.notes and network_from_module(module, shape) == network


@pytest.mark.parametrize("name", [
    "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"])
def test_proposals_fix_the_rows_of_every_head(name):
    network = network_from_module(detector(name), (1, 3, 320, 320), proposals=40)
    heads = [layer for layer in network.layers if layer.name.startswith("roi_heads.")]
    assert {layer.N if layer.R > 1 or "mask" in layer.name or "keypoint" in layer.name
            else layer.N * layer.H * layer.W for layer in heads} == {40}
    assert any("mask" in layer.name or "keypoint" in layer.name for layer in heads) == (
        "faster" not in name)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("masked", [True, False])
def test_deformable_convolution_is_a_product_of_its_samples(groups, masked):
    class Deformed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.offset = torch.nn.Conv2d(4, 2 * 9 + 9, 3, padding=1)
            self.conv = torchvision.ops.DeformConv2d(4, 6, 3, padding=1, groups=groups)

        def forward(self, x):
            offset, mask = self.offset(x).split((18, 9), 1)
            return self.conv(x, offset, mask.sigmoid() if masked else None)
    module, shape = Deformed().eval(), (2, 4, 7, 5)
    network = network_from_module(module, shape)
    layer = network.layer("conv")
    assert (layer.N, layer.groups, layer.C, layer.M) == (2, groups, 36 // groups, 6)
    assert layer.E * layer.F == 35
    assert [op.op for op in network.not_counted if "deform" in op.op] == [
        "deform_conv2d"]
    seen = {}

    def keep(layer, ifmap, filt, ofmap):
        seen[layer.name] = ofmap.copy()
    image = torch.rand(shape)
    assert watch_layers(module, image, keep).layers == network.layers
    result = module(image) - module.conv.bias.view(1, -1, 1, 1)
    assert torch.allclose(torch.from_numpy(seen["conv"]).reshape(2, 6, 7, 5), result,
                          atol=1e-5)


# Models that torch runs on shapes alone, of each kind that torchvision has.
OTHERS = {
    "alexnet": (3, 224, 224), "vgg11": (3, 64, 64), "resnet18": (3, 64, 64),
    "googlenet": (3, 64, 64), "inception_v3": (3, 299, 299), "densenet121": (3, 64, 64),
    "efficientnet_b0": (3, 64, 64), "mobilenet_v3_small": (3, 64, 64),
    "shufflenet_v2_x0_5": (3, 64, 64), "squeezenet1_1": (3, 64, 64),
    "regnet_x_400mf": (3, 64, 64), "convnext_tiny": (3, 64, 64),
    "vit_b_16": (3, 224, 224), "swin_t": (3, 64, 64), "maxvit_t": (3, 224, 224),
    "r3d_18": (3, 8, 32, 32), "mvit_v1_b": (3, 16, 224, 224),
    "swin3d_t": (3, 8, 64, 64), "deeplabv3_resnet50": (3, 64, 64),
    "lraspp_mobilenet_v3_large": (3, 64, 64)}


@pytest.mark.parametrize("name", OTHERS)
def test_network_counts_what_torch_counts_at_any_batch(name):
    options = {"weights": None}
    if name.startswith(("deeplab", "lraspp")):
        options["weights_backbone"] = None
    with ShapesBesideConstants():       # RegNet's widths are tensors
        module = torchvision.models.get_model(name, **options).eval()
    one, three = (network_from_module(module, (k, *OTHERS[name])) for k in (1, 3))
    assert one.with_batch(3).layers == three.layers
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert one.macs == torch_macs(
            module.to("meta"), torch.empty((1, *OTHERS[name]), device="meta"))
