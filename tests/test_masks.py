"""Masks survive training, storage and copies."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from pruning.masks import Masks
from pruning.prunable import prunable


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
        nn.Linear(6 * 25, 4))


def half(model, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(one.shape, generator=draw) < 0.5
                  for name, one in prunable(model).items()})


def step(model, optimizer, dtype=torch.float32):
    images = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images.to(dtype)).float(),
                                       torch.arange(8) % 4)
    loss.backward()
    optimizer.step()


OPTIMIZERS = {
    "sgd": lambda values: torch.optim.SGD(
        values, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": lambda values: torch.optim.AdamW(values, 0.01, weight_decay=0.1,
                                              amsgrad=True)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_masks_hold_over_twenty_steps_in_weights_and_in_momentum(kind, dtype):
    model = small_net().to(dtype)
    optimizer = OPTIMIZERS[kind](model.parameters())
    for _ in range(3):              # momentum from before the mask
        step(model, optimizer, dtype)
    masks = half(model)
    masks.keep(model, optimizer)
    kept = {name: model.get_parameter(name).detach().clone() for name in masks}
    for _ in range(20):
        step(model, optimizer, dtype)
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert not weight[~mask].any()
        assert (weight[mask] != kept[name][mask]).any()
        for held in optimizer.state[weight].values():
            if torch.is_tensor(held) and held.shape == weight.shape:
                assert not held[~mask].any()


def test_a_projection_is_a_step_hook_of_a_training_loop():
    model = small_net()
    masks = half(model)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    step(model, optimizer)
    masks.project(model, optimizer)
    assert Masks.of(model, masks) == masks


def test_a_masked_model_is_copied_saved_and_loaded_like_any_other(tmp_path):
    model = small_net()
    keys = list(model.state_dict())
    masks = half(model)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    masks.keep(model, optimizer)
    twin = copy.deepcopy(model)
    assert list(twin.state_dict()) == keys and Masks.of(twin, masks) == masks
    torch.save(model, tmp_path / "whole.pt")
    torch.save(model.state_dict(), tmp_path / "state.pt")
    fresh = small_net()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert Masks.of(fresh, masks) == masks
    masks.save(tmp_path / "masks.safetensors")
    assert Masks.load(tmp_path / "masks.safetensors") == masks


def test_and_or_and_nesting_are_those_of_sets():
    model = small_net()
    one, other = half(model, 1), half(model, 2)
    both, either = one & other, one | other
    assert both.nested_in(one) and both.nested_in(other) and one.nested_in(either)
    assert not either.nested_in(one)
    assert both.kept + either.kept == one.kept + other.kept
    assert Masks.dense(model, one).density == 1 and one.nested_in(Masks.dense(
        model, one))
    assert one & one == one == one | one


def test_masks_of_other_names_nest_and_combine_by_the_names_that_both_have():
    one = Masks({"a": torch.tensor([True, False]), "b": torch.tensor([True])})
    other = Masks({"a": torch.tensor([False, False]), "c": torch.tensor([False])})
    alone = Masks({"a": torch.tensor([True, True])})
    # What is not named is not masked: all of it stays.
    assert one.nested_in(alone) and not alone.nested_in(one)
    assert not Masks({"a": torch.tensor([True, False])}).nested_in(one)
    assert not one.nested_in(other) and not other.nested_in(one)
    assert (one | other) == Masks({"a": torch.tensor([True, False])})
    assert (one & other) == Masks({**one, **other, "a": torch.tensor([False, False])})
    assert (one | other).keys() == {"a"} and (one & other).keys() == {"a", "b", "c"}
    assert one != other and one != Masks({"a": one["a"]}) and one == Masks(dict(one))


def test_masks_of_other_pruning_are_read_from_hooks_and_zeros():
    model = small_net()
    torch_prune.l1_unstructured(model[0], "weight", amount=0.5)
    model[4].weight.data[0] = 0
    masks = Masks.of(model, ["0.weight", "4.weight"])
    assert masks.densities == {"0.weight": 0.5, "4.weight": 0.75}


@pytest.mark.parametrize("wrong, words", [
    (lambda model: Masks({"0.weight": torch.ones(6, 3, 3, 3)}), "0.weight: a mask must "
     "be a bool tensor, got torch.float32"),
    (lambda model: Masks({"9.weight": torch.ones(1).bool()}).apply(model),
     "mask of '9.weight', which Sequential has not"),
    (lambda model: Masks({"0.weight": torch.ones(6).bool()}).apply(model),
     r"0.weight: mask of shape \(6,\), but the parameter has \(6, 3, 3, 3\)"),
    (lambda model: Masks.load("nowhere.safetensors"), "nowhere.safetensors: no such"),
    (lambda model: prunable(model, include=["conv*"]),
     r"pattern 'conv\*' matches no layer of Sequential; its layers are 0, 4"),
    (lambda model: prunable(model, exclude=["*"]), "no layer is left to prune"),
    (lambda model: prunable(nn.Sequential(nn.ReLU())), "Sequential has no layer to"),
])
def test_what_does_not_fit_is_refused_in_one_line(wrong, words):
    with pytest.raises(ValueError, match=words) as caught:
        wrong(small_net())
    assert "\n" not in str(caught.value)


def test_weights_are_no_masks(tmp_path):
    from safetensors.torch import save_file
    save_file(small_net().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="holds no masks"):
        Masks.load(tmp_path / "w.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    with pytest.raises(ValueError, match="not a safetensors file"):
        Masks.load(tmp_path / "cut.safetensors")
