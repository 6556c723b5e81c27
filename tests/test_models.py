import pytest
import torch

from eyeriss_sim.importers.torch_module import network_from_module
from eyeriss_sim.networks import load_zoo
from pruning.checkpoint import load_model, read_metadata, save_model
from pruning.models import MODELS, make_model


def layers(network, names):
    """Layers as the zoo has them, without what a name cannot say."""
    return [(layer.name if names else None, layer.M, layer.C, layer.H, layer.W,
             layer.R, layer.S, layer.U, layer.groups, layer.padding)
            for layer in network.layers]


@pytest.mark.parametrize("name", MODELS)
def test_model_has_the_layers_of_the_zoo(name):
    traced = network_from_module(make_model(name), (1, 3, 32, 32))
    zoo = load_zoo(f"{name}_cifar")
    # The zoo calls VGG's layers as its paper does, a torch module cannot.
    assert layers(traced, name != "vgg16") == layers(zoo, name != "vgg16")
    assert set(traced.not_counted) == set(zoo.not_counted)


@pytest.mark.parametrize("name", MODELS)
def test_model_gives_finite_logits_of_its_classes(name):
    logits = make_model(name, 7).eval()(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7) and logits.isfinite().all()


@pytest.mark.paper
def test_resnet20_has_the_parameters_of_its_paper():
    # He et al., Table 6: 0.27 M.
    parameters = sum(tensor.numel() for tensor in make_model("resnet20").parameters())
    assert parameters == pytest.approx(0.27e6, abs=0.005e6)


def test_shortcut_without_weights_subsamples_and_pads_with_zeros():
    block = make_model("resnet20").layer2[0]
    x = torch.randn(2, 16, 32, 32)
    short = block.downsample(x)
    assert short.shape == (2, 32, 16, 16)
    assert torch.equal(short[:, 8:24], x[:, :, ::2, ::2])
    assert not short[:, :8].any() and not short[:, 24:].any()


def test_unknown_model_lists_the_known_and_suggests_one():
    with pytest.raises(ValueError, match=r"did you mean resnet20.*vgg16"):
        make_model("resnet-20")
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        make_model("vgg16", 1)


def test_checkpoint_gives_back_weights_and_metadata(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = make_model("resnet20").to(memory_format=torch.channels_last)
    model.bn1.running_mean += 0.5       # a buffer is as much part of it as a weight
    save_model(path, model, {"network": "resnet20", "test_accuracy": 0.875})
    loaded, metadata = load_model(path, "resnet20")
    assert metadata == {"network": "resnet20", "test_accuracy": 0.875}
    assert not loaded.training
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode     # to be shared
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_checkpoint_of_another_network_is_refused_in_one_line(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_model(path, make_model("resnet20"), {"network": "resnet20"})
    with pytest.raises(ValueError, match="a checkpoint of resnet20, not of vgg16"):
        load_model(path, "vgg16")
    save_model(path, make_model("resnet20"), {"network": "resnet18"})
    with pytest.raises(ValueError, match=r"weights\.safetensors: ") as problem:
        load_model(path)
    assert "\n" not in str(problem.value)


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    from safetensors.torch import save_file
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match="no such file"):
        read_metadata(path)
    with pytest.raises(ValueError, match="the network's name"):
        save_model(path, make_model("resnet20"), {})
    save_file({"a": torch.zeros(1)}, path)
    for content in (path.read_bytes(), b"", path.read_bytes()[:20]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a checkpoint"):
            load_model(path)
