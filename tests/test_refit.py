"""Restoring and refitting: errors never rise, and are the best on tiny layers."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_nets import make, pictures
from torch import nn

from pruning.calibration import Moments, columns_of, gather, weight_of
from pruning.refit import RIDGE, refit, restore


def layer(seed, fan_in=8, filters=3, rows=40, correlated=True):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, fan_in, generator=draw, dtype=torch.float64)
    if correlated:
        inputs = inputs @ torch.randn(
            fan_in, fan_in, generator=draw, dtype=torch.float64)
    filters = torch.randn(fan_in, filters, generator=draw, dtype=torch.float64)
    wanted = inputs @ filters + 0.3 * torch.randn(
        rows, filters.shape[1], generator=draw, dtype=torch.float64)
    moments = Moments(*(torch.zeros(shape, dtype=torch.float64) for shape in (
        (1, fan_in, fan_in), (1, fan_in, filters.shape[1]), (1, filters.shape[1]))))
    moments.add(inputs[None], wanted[None])
    return inputs, wanted, filters, moments


def largest(filters, count):
    places = filters.abs().topk(count, 0).indices
    return torch.zeros_like(filters, dtype=torch.bool).scatter_(0, places, True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 24), st.integers(1, 6), st.data())
def test_errors_fall_from_removal_to_restoring_to_refit(seed, fan_in, filters, data):
    _, _, original, moments = layer(seed, fan_in, filters)
    quota = data.draw(st.integers(1, fan_in))
    left = data.draw(st.integers(0, quota))
    chunks = data.draw(st.integers(1, 6))
    gram, cross = moments.gram[0], moments.cross[0]
    support = largest(original, left) if left else torch.zeros_like(original).bool()
    counts = torch.full((filters,), quota)
    grown, values = restore(gram, cross, original, support, counts, chunks)
    assert (grown.sum(0) == quota).all() and not (support & ~grown).any()
    fitted, eps = refit(gram, cross, grown)
    assert not fitted[~grown].any()
    removed, restored, refitted = (
        moments.error(one[None])[0] for one in (original * support, values, fitted))
    slack = 1e-9 * moments.output_power[0]
    assert (restored <= removed + slack).all()
    ridge = eps * (values.square().sum(0) - fitted.square().sum(0))
    assert (refitted <= restored + ridge + slack).all()


def test_a_chunk_that_does_not_help_is_backed_off():
    # Each of two equal inputs alone repairs what both together overshoot.
    inputs = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    filters = torch.tensor([[1.0], [1.0], [0.1]], dtype=torch.float64)
    wanted = inputs @ torch.tensor([[0.6], [0.0], [0.1]], dtype=torch.float64)
    gram, cross = inputs.T @ inputs, inputs.T @ wanted
    error = wanted.square().sum()
    support, values = restore(gram, cross, filters, torch.zeros(3, 1).bool(),
                              torch.tensor([2]), chunks=1)
    assert support.sum() == 2
    assert (wanted - inputs @ values).square().sum() < error
    assert values[:2].count_nonzero() == 1


def test_a_single_restored_weight_is_the_best_of_all():
    for seed in range(20):
        inputs, wanted, original, moments = layer(seed, filters=1)
        support = largest(original, 3)
        _, values = restore(moments.gram[0], moments.cross[0], original, support,
                            torch.tensor([4]), chunks=1)
        errors = {}
        for place in range(8):
            if not support[place]:
                tried = original * support
                tried[place] = original[place]
                errors[place] = float((wanted - inputs @ tried).square().sum())
        best = min(errors.values())
        if best < float((wanted - inputs @ (original * support)).square().sum()):
            assert moments.error(values[None])[0] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("independent", [False, True])
def test_no_support_beats_brute_force_and_on_independent_inputs_restoring_equals_it(
        independent):
    for seed in range(10):
        inputs, wanted, original, moments = layer(seed, filters=1)
        if independent:
            inputs = torch.linalg.qr(inputs)[0] * torch.linspace(1, 3, 8).double()
            wanted = inputs @ original
            moments = Moments(*(torch.zeros_like(one) for one in (
                moments.gram, moments.cross, moments.output_power)))
            moments.add(inputs[None], wanted[None])
        gram, cross = moments.gram[0], moments.cross[0]
        best = float("inf")
        for places in combinations(range(8), 4):
            support = torch.zeros(8, 1).bool()
            support[list(places)] = True
            fitted, _ = refit(gram, cross, support, ridge=1e-9)
            exact = torch.linalg.lstsq(inputs[:, places], wanted).solution
            assert torch.allclose(fitted[list(places)], exact, rtol=1e-3, atol=1e-4)
            best = min(best, float(moments.error(fitted[None])))
        grown, _ = restore(gram, cross, original, torch.zeros(8, 1).bool(),
                           torch.tensor([4]), chunks=1 if independent else 4)
        fitted, _ = refit(gram, cross, grown, ridge=1e-9)
        error = float(moments.error(fitted[None]))
        assert error >= best * (1 - 1e-9)
        if independent:
            assert error == pytest.approx(best, rel=1e-9)


def test_inputs_that_depend_on_each_other_are_still_refitted():
    inputs = torch.randn(4, 10, dtype=torch.float64)        # fewer rows than weights
    wanted = inputs @ torch.randn(10, 2, dtype=torch.float64)
    gram = inputs.T @ inputs
    fitted, eps = refit(gram, inputs.T @ wanted, torch.ones(10, 2).bool())
    assert fitted.isfinite().all() and eps >= RIDGE * gram.diagonal().mean()
    assert (inputs @ fitted - wanted).square().mean() < 1e-4
    blank, _ = refit(gram * 0, gram[:, :2] * 0, torch.ones(10, 2).bool())
    assert not blank.any()


def test_few_rows_of_inputs_that_nearly_depend_do_not_blow_weights_up():
    draw = torch.Generator().manual_seed(0)

    def features(rows):         # of a trained network's head: few directions, and noise
        strong = torch.randn(rows, 6, generator=draw, dtype=torch.float64) @ mixing
        return strong + 1e-3 * torch.randn(
            rows, 48, generator=draw, dtype=torch.float64)

    mixing = torch.randn(6, 48, generator=draw, dtype=torch.float64)
    original = torch.randn(48, 10, generator=draw, dtype=torch.float64)
    inputs = features(64)
    gram, cross = inputs.T @ inputs, inputs.T @ (inputs @ original)
    cross += inputs.T @ torch.randn(64, 10, generator=draw, dtype=torch.float64)
    support = largest(original, 24)
    fitted, _ = refit(gram, cross, support)
    assert fitted.abs().max() < original.abs().max()
    fresh = features(1000)
    assert (fresh @ (fitted - original)).square().mean() < 0.2


@pytest.mark.parametrize("module, images", [
    (nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2), torch.randn(5, 4, 7, 6)),
    (nn.Conv2d(2, 3, (3, 1), padding="same", dilation=2, padding_mode="reflect"),
     torch.randn(5, 2, 8, 6)),
    (nn.Conv1d(4, 6, 3, padding=2), torch.randn(5, 4, 9)),
    (nn.Linear(7, 4), torch.randn(5, 7)), (nn.Linear(7, 4), torch.randn(5, 3, 7))])
def test_moments_are_those_of_the_layers_outputs(module, images):
    model = nn.Sequential(module)
    moments = gather(model, ["0"], images, rows=10**6)["0"]
    groups = getattr(module, "groups", 1)
    with torch.no_grad():
        out = module(images)
        bias = module.bias if isinstance(module, nn.Linear) else module.bias.reshape(
            -1, *[1] * (out.dim() - 2))
        out = (out - bias).double()
    axes = [axis for axis in range(out.dim())
            if axis != (out.dim() - 1 if isinstance(module, nn.Linear) else 1)]
    assert torch.allclose(moments.output_power.flatten(), out.square().sum(axes),
                          rtol=1e-4)
    columns = columns_of(module.weight, groups)
    assert moments.rows == out.numel() // module.weight.shape[0]
    assert (moments.error(columns).abs() < 1e-6 * moments.output_power).all()
    assert torch.equal(weight_of(columns, module.weight), module.weight)


def test_a_layer_may_be_called_by_keyword():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(7, 4, bias=False)

        def forward(self, x):
            return self.fc(input=x)

    images, model = torch.randn(5, 7), Named()
    with torch.no_grad():
        power = model(images).double().square().sum(0)
    assert torch.allclose(gather(model, ["fc"], images)["fc"].output_power[0], power)


def test_the_dense_network_is_imitated_at_the_same_places():
    dense, pruned = make("option A"), make("option A")
    pruned.conv1a.weight.data[:, ::2] = 0
    found = gather(pruned, ["conv1b", "conv1a"], pictures(), dense=dense, rows=160)
    assert {name: one.rows for name, one in found.items()} == {
        "conv1a": 160, "conv1b": 160}
    columns = columns_of(pruned.conv1b.weight, 1)
    before = found["conv1b"].error(columns).sum()
    fitted, _ = refit(found["conv1b"].gram[0], found["conv1b"].cross[0],
                      torch.ones_like(columns[0]).bool())
    assert 0 < found["conv1b"].error(fitted[None]).sum() < before
    assert torch.allclose(found["conv1a"].error(columns_of(dense.conv1a.weight, 1)),
                          torch.zeros(1, dtype=torch.float64), atol=1e-6)


def test_inputs_that_are_too_large_end_in_one_line_and_large_ones_do_not():
    rows = torch.randn(20, 4, dtype=torch.float64)
    weights = torch.randn(4, 2, dtype=torch.float64)
    support = torch.ones(4, 2, dtype=torch.bool)
    large = 1e30 * rows
    values, _ = refit(large.T @ large, large.T @ large @ weights, support, 1e-12)
    assert torch.allclose(values, weights, rtol=1e-6)
    too_large = 1e200 * rows
    with pytest.raises(ValueError, match="too large, or no numbers"):
        refit(too_large.T @ too_large, rows.T @ rows @ weights, support)


def test_layers_that_cannot_be_refitted_are_named():
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"0: ConvTranspose2d has no refit; leave it"):
        gather(model, ["0"], torch.randn(2, 3, 4, 4))


@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_the_ridge_is_a_share_of_the_mean_square_of_the_inputs(ridge):
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 6, generator=random, dtype=torch.float64)
    inputs *= torch.tensor([1.0, 2, 4, 8, 16, 32])      # the largest is far from it
    gram, cross = inputs.T @ inputs, inputs.T @ torch.randn(
        50, 3, generator=random, dtype=torch.float64)
    support = torch.rand(6, 3, generator=random) < 0.7
    values, eps = refit(gram, cross, support, ridge)
    assert eps == pytest.approx(ridge * float(gram.trace()) / 6, rel=1e-12)
    for place in range(3):
        kept = support[:, place]
        expected = torch.linalg.solve(
            gram[kept][:, kept] + eps * torch.eye(int(kept.sum()), dtype=torch.float64),
            cross[kept, place])
        torch.testing.assert_close(values[kept, place], expected, rtol=1e-9, atol=1e-12)
        assert not values[~kept, place].any()


def test_a_weight_that_is_not_allowed_is_chosen_neither_by_value_nor_by_promise():
    gram = torch.diag(torch.tensor([4.0, 3, 2, 1], dtype=torch.float64))
    cross = torch.tensor([[8.0], [6], [4], [2]], dtype=torch.float64)
    barred = torch.tensor([[False], [True], [True], [True]])
    for filters in (torch.zeros_like(cross),            # least squares has to find them
                    torch.full_like(cross, 2.0)):       # the values are right
        support, values = restore(
            gram, cross, filters, torch.zeros_like(barred), torch.tensor([2]),
            allowed=barred)
        assert support.flatten().tolist() == [False, True, True, False]
        assert torch.equal(values, filters * support)
        support, _ = restore(gram, cross, filters, torch.zeros_like(barred),
                             torch.tensor([2]))
        assert support.flatten().tolist() == [True, True, False, False]


def test_the_ridge_grows_tenfold_until_inputs_that_are_the_same_can_be_told_apart():
    # 1 + 1e-16 is 1: only with 1e-15 is the second pivot above zero.
    gram, cross = torch.ones(2, 2).double(), torch.ones(2, 1).double()
    values, eps = refit(gram, cross, torch.ones(2, 1).bool(), ridge=1e-18)
    assert eps == pytest.approx(1e-15, rel=1e-9, abs=0)
    assert values.sum() == pytest.approx(1.0)


def test_a_quota_is_filled_in_eight_chunks_unless_asked_otherwise():
    _, _, original, moments = layer(0, fan_in=24, filters=6)
    blank, quota = torch.zeros_like(original).bool(), torch.tensor([8, 9, 8, 9, 8, 9])

    def restored(**given):
        return restore(moments.gram[0], moments.cross[0], original, blank, quota,
                       **given)[1]

    assert torch.equal(restored(), restored(chunks=8))
    for other in (7, 9):
        assert not torch.equal(restored(), restored(chunks=other))


def test_a_filter_with_more_weights_than_its_quota_keeps_them_and_gets_none():
    _, _, original, moments = layer(0, fan_in=6, filters=2)
    support = largest(original, 3)
    for quota, kept in ((2, [3, 3]), (torch.tensor([2, 5]), [3, 5])):
        grown, values = restore(moments.gram[0], moments.cross[0], original, support,
                                torch.as_tensor(quota).expand(2))
        assert grown.sum(0).tolist() == kept and not (support & ~grown).any()
        assert torch.equal(values[support], original[support])


@pytest.mark.parametrize("words", [1, 2 * 5**2, 3 * 5**2 + 1])
def test_filters_solved_a_few_at_a_time_are_those_solved_together(words, monkeypatch):
    moments = layer(0, fan_in=6, filters=7)[-1]
    support = torch.arange(6)[:, None] < torch.tensor([5, 0, 1, 4, 5, 2, 5])
    whole, _ = refit(moments.gram[0], moments.cross[0], support)
    monkeypatch.setattr("pruning.refit.CHUNK_WORDS", words)
    parts, _ = refit(moments.gram[0], moments.cross[0], support)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)
    assert whole.count_nonzero() == support.sum()


@pytest.mark.parametrize("seed", range(5))
def test_a_filter_is_restored_beside_others_as_it_is_alone(seed):
    _, _, original, moments = layer(seed, fan_in=16, filters=6)
    gram, cross = moments.gram[0], moments.cross[0]
    support = torch.arange(16)[:, None] < torch.tensor([0, 1, 3, 5, 8, 2])
    quota = torch.tensor([9, 1, 12, 6, 8, 16])
    together = restore(gram, cross, original, support, quota, chunks=2)
    for place in range(6):
        only = slice(place, place + 1)
        alone = restore(gram, cross[:, only], original[:, only], support[:, only],
                        quota[only], chunks=2)
        assert torch.equal(together[0][:, only], alone[0])
        assert torch.equal(together[1][:, only], alone[1])
