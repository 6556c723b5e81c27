"""Selectors learn what there is to learn, and say probabilities."""

import numpy as np
import pytest
import torch
from scipy import stats

from cascade.routers import Selector, pooled
from cascade.routers import selector as training
from cascade.routers.selector import (
    SORTED_LOGITS,
    likely_needs_mild,
    needs_mild,
    sorted_logits,
    train_selector,
)

CHANNELS, CLASSES = 3, 4


def made_data(count=1500, seed=1, strength=2.0, rate=-2.0):
    """Summaries, logits, labels drawn with a known probability, that probability."""
    draw = torch.Generator().manual_seed(seed)
    summary = torch.randn(count, 2 * CHANNELS, generator=draw)
    logits = torch.randn(count, CLASSES, generator=draw)
    truth = (strength * summary[:, 0] - summary[:, 4] + rate).sigmoid()
    labels = torch.rand(count, generator=draw) < truth
    # Scales as features have them: some large and far from zero, some small.
    scale = torch.tensor([1.0, 50.0, 0.01, 3.0, 1.0, 1.0])
    return summary * scale + 10 * scale, logits, labels, truth


def area(scores, labels):
    """Chance that an image with a label scores above one without."""
    return stats.mannwhitneyu(
        scores[labels], scores[~labels]).statistic / (
            int(labels.sum()) * int((~labels).sum()))


@pytest.fixture(scope="module")
def trained():
    return train_selector(*made_data()[:3])


def test_an_obvious_signal_is_learned_as_well_as_it_can_be(trained):
    summary, _, labels, truth = made_data(8000, seed=2)
    got = trained.of_inputs(summary)
    assert area(got, labels) > area(truth, labels) - 0.01
    assert (got - truth).abs().mean() < 0.04


def test_the_output_is_a_probability(trained):
    """In each tenth of the scores as many images are positive as it says."""
    summary, _, labels, _ = made_data(20000, seed=3)
    got = trained.of_inputs(summary)
    for part in got.argsort().chunk(10):
        assert abs(got[part].mean() - labels[part].float().mean()) < 0.05
    assert abs(got.mean() - labels.float().mean()) < 0.02


def test_features_that_say_nothing_give_the_share_of_the_positives():
    draw = torch.Generator().manual_seed(7)
    for seed in range(3):
        summary = torch.randn(600, 2 * CHANNELS, generator=draw)
        labels = torch.rand(600, generator=draw) < 0.2
        got = train_selector(summary, torch.zeros(600, CLASSES), labels, seed=seed)
        new = got.of_inputs(torch.randn(2000, 2 * CHANNELS, generator=draw))
        assert abs(new.mean() - labels.float().mean()) < 0.03
        assert new.std() < 0.06


@pytest.mark.parametrize("scale, shift", [(0.3, 1.0), (4.0, -2.0), (-1.0, 0.5)])
def test_scaling_finds_the_log_odds_and_never_turns_them_round(scale, shift):
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(20000, generator=draw) - 1
    labels = torch.rand(20000, generator=draw) < (scale * logits + shift).sigmoid()
    found = training._platt(logits, labels)
    if scale > 0:
        assert [one.item() for one in found] == pytest.approx([scale, shift], rel=0.1)
    else:
        assert found[0] > 0
    got = (found[0] * logits + found[1]).sigmoid()
    assert abs(got.mean() - labels.float().mean()) < 0.005


@pytest.mark.parametrize("hidden", [0, 32])
def test_units_of_the_features_do_not_matter(hidden):
    summary, _, labels, _ = made_data(400)
    scale = torch.tensor([8.0, 0.25, 32.0, 1.0, 2.0, 0.5])      # nothing is rounded
    outputs = []
    for inputs in (summary, summary * scale):
        torch.manual_seed(1)
        fitted = training._fit(inputs, labels.float(), Selector(CHANNELS), hidden, 0.3)
        outputs.append(fitted.of_inputs(inputs))
    assert torch.equal(*outputs)


def test_the_origin_of_the_features_does_not_matter():
    summary, _, labels, _ = made_data(400)
    outputs = []
    for inputs in (summary, summary - 3 * summary.std(0)):
        torch.manual_seed(1)
        fitted = training._fit(inputs, labels.float(), Selector(CHANNELS), 0, 0.3)
        outputs.append(fitted.of_inputs(inputs))
    assert torch.allclose(*outputs, atol=1e-4)


def test_a_channel_that_was_dead_in_training_says_nothing():
    summary, logits, labels, _ = made_data(400)
    summary[:, 2] = 0.0
    summary[:, 5] = 4.0
    trained = train_selector(summary, logits, labels)
    alive = summary.clone()
    alive[:, 2] += 0.5
    alive[:, 5] -= 0.5
    assert torch.equal(trained.of_inputs(alive), trained.of_inputs(summary))


def test_perfectly_separable_labels_leave_scores_in_order():
    summary, logits, _, _ = made_data(400)
    labels = summary[:, 0] > summary[:, 0].quantile(0.9)
    trained = train_selector(summary, logits, labels)
    got = trained.of_inputs(summary)
    assert area(got, labels) > 0.995
    # Not all of them 0 or 1: then no threshold could tell them apart.
    assert len(got.unique()) > 300


def test_the_seed_decides_all_and_the_global_generator_is_left_alone():
    summary, logits, labels, _ = made_data(300)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one = train_selector(summary, logits, labels, seed=5)
    assert torch.equal(torch.rand(3), expected)
    torch.rand(17)
    two = train_selector(summary, logits, labels, seed=5)
    three = train_selector(summary, logits, labels, seed=6)
    assert one.hidden == two.hidden
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.of_inputs(summary), three.of_inputs(summary))


def test_a_trained_selector_is_a_finished_one(trained):
    assert not trained.training
    assert not any(one.requires_grad for one in trained.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_works_where_gradients_are_off(mode):
    with mode():
        summary, logits, labels, _ = made_data(120)
        trained = train_selector(summary, logits, labels)
        assert area(trained.of_inputs(summary), labels) > 0.7


@pytest.mark.parametrize("positives", [0, 1, 4, 396, 400])
def test_too_few_of_a_kind_are_refused_in_one_line(positives):
    summary, logits, _, _ = made_data(400)
    labels = torch.arange(400) < positives
    with pytest.raises(ValueError, match=f"{positives} of 400 images") as problem:
        train_selector(summary, logits, labels)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(wrong):
    summary, logits, labels, _ = made_data(100)
    summary[3, 1] = wrong
    with pytest.raises(ValueError, match=r"features.*not finite"):
        train_selector(summary, logits, labels)


@pytest.mark.parametrize("positives", [5, 7, 250])
def test_each_fold_has_its_share_of_either_kind(positives):
    labels = torch.zeros(503, dtype=torch.bool)
    labels[torch.randperm(503)[:positives]] = True
    folds = training._folds(labels)
    for kind in (labels, ~labels):
        sizes = torch.bincount(folds[kind], minlength=training.FOLDS)
        assert len(sizes) == training.FOLDS
        assert sizes.min() >= 1 and sizes.max() - sizes.min() <= 1


def test_labels_are_the_images_that_only_the_mild_network_gets_right():
    aggressive = torch.tensor([True, True, False, False])
    mild = torch.tensor([True, False, True, False])
    assert needs_mild(aggressive, mild).tolist() == [False, False, True, False]


def test_chances_teach_more_than_labels_and_do_not_move_the_calibration():
    summary, logits, labels, truth = made_data(250)
    new, _, drawn, expected = made_data(8000, seed=2)
    hard = train_selector(summary, logits, labels).of_inputs(new)
    # Chances of half the size: only what the labels say decides the output's mean.
    soft = train_selector(summary, logits, labels, targets=truth / 2).of_inputs(new)
    assert area(soft, drawn) > area(hard, drawn) + 0.01
    assert area(soft, drawn) > area(expected, drawn) - 0.01
    assert abs(soft.mean() - drawn.float().mean()) < 0.05


def test_the_chance_is_that_of_one_wrong_and_the_other_right():
    few = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    many = torch.tensor([[0.7, 0.3], [0.6, 0.4]]).log()
    got = likely_needs_mild(few, many, torch.tensor([0, 0]))
    assert got.tolist() == pytest.approx([0.1 * 0.7, 0.8 * 0.6])


def test_features_that_say_nothing_do_not_drown_the_logits():
    def made(seed, count):
        draw = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(count, CLASSES, generator=draw)
        doubt = 1 - logits.softmax(1).amax(1)
        labels = torch.rand(count, generator=draw) < torch.where(doubt > 0.3, 0.7, 0.02)
        return torch.randn(count, 200, generator=draw), logits, labels, doubt

    summary, logits, labels, _ = made(1, 500)
    seeing = train_selector(summary, logits, labels, sees_logits=True)
    summary, logits, labels, doubt = made(2, 4000)
    got = seeing.of_inputs(seeing.inputs(summary, logits))
    # Where the features take part it is 0.71.
    assert area(got, labels) > area(doubt, labels) - 0.03


def test_logits_are_used_where_they_are_seen():
    def made(seed):
        draw = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(800, CLASSES, generator=draw)
        return (torch.randn(800, 2 * CHANNELS, generator=draw), logits,
                logits.softmax(1).amax(1) < 0.5)

    seeing = train_selector(*made(1), sees_logits=True)
    blind = train_selector(*made(1))
    assert seeing.needs_logits and not blind.needs_logits
    summary, logits, labels = made(2)
    assert area(seeing.of_inputs(seeing.inputs(summary, logits)), labels) > 0.95
    assert area(blind.of_inputs(summary), labels) < 0.6


@pytest.mark.parametrize("classes", [2, 5, 10, 30])
def test_which_class_is_which_does_not_matter(classes):
    draw = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    selector = Selector(CHANNELS, 0, classes)
    features = torch.rand(6, CHANNELS, 2, 2, generator=draw)
    logits = torch.randn(6, classes, generator=draw)
    got = selector(features, logits)
    order = torch.randperm(classes, generator=draw)
    assert torch.allclose(selector(features, logits[:, order]), got, atol=1e-6)
    assert torch.allclose(selector(features, logits + 3), got, atol=1e-6)
    assert not torch.allclose(selector(features, 2 * logits), got, atol=1e-4)
    seen = sorted_logits(logits)
    assert seen.shape == (6, min(classes, SORTED_LOGITS))
    assert np.array_equal(seen, -np.sort(-seen, 1))


def test_mean_and_maximum_of_each_channel_are_what_a_selector_sees():
    features = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[-1.0, -3.0], [-2.0, -2.0]]]])
    assert pooled(features).tolist() == [[1.0, -2.0, 3.0, -1.0]]
    assert pooled(features.bfloat16()).dtype == torch.float32
    selector = Selector(2, 3)
    assert torch.equal(selector(features), selector.of_inputs(pooled(features)))
