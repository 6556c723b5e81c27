"""Curves equal naive loops; hulls are convex; intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.bootstrap import below_hull, mean_interval, mean_over_seeds
from cascade.costs import NetworkCosts
from cascade.curve import ImageCosts, charge, hull_energy, threshold_curve
from eyeriss_sim.pareto import pareto


def two_stages(asked, back, last, back_share=np.ones_like, last_share=np.ones_like):
    """What images cost in two stages, of which the second is all one part."""
    return [ImageCosts(asked, back, back_share=back_share),
            ImageCosts(last, np.zeros_like(last), last_share)]


def draw_pair(random, N):
    scores = random.integers(0, 6, N) / 5       # many images share a score
    few, many = random.random((2, N)) < 0.7
    costs = two_stages(random.random(N), random.random(N), 2 * random.random(N))
    return scores, few, many, costs


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_a_curve_equals_routing_every_image_at_each_threshold(N, seed):
    scores, few, many, costs = draw_pair(np.random.default_rng(seed), N)
    first, last = costs
    found = threshold_curve(scores, few, many, costs)
    assert len(found.threshold) == len(np.unique(scores)) + 1
    for place, threshold in enumerate(found.threshold):
        right = energy = gone = 0
        for i in range(N):
            if scores[i] > threshold:
                right += many[i]
                energy += first.asked[i] + last.asked[i]
                gone += 1
            else:
                right += few[i]
                energy += first.asked[i] + first.back[i]
        assert found.accuracy[place] == pytest.approx(right / N, abs=1e-12)
        assert found.energy[place] == pytest.approx(energy / N, abs=1e-12)
        assert found.share[place] == gone / N
        assert found.energy[place] == pytest.approx(
            charge(costs, (scores > threshold).astype(int)).mean(), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1,
                max_size=12))
def test_a_front_is_what_no_other_point_beats(points):
    accuracy, energy = np.array(points, float).T
    places = pareto(np.column_stack([-accuracy, energy]))
    front = {(accuracy[i], energy[i]) for i in places}
    for a, e in zip(accuracy, energy, strict=True):
        beaten = ((accuracy >= a) & (energy <= e)
                  & ((accuracy > a) | (energy < e))).any()
        assert ((a, e) in front) == (not beaten)


@given(st.integers(2, 6), st.integers(0, 10**6))
def test_the_hull_is_no_dearer_than_any_level_or_mixture(levels, seed):
    random = np.random.default_rng(seed)
    accuracies, energies = random.random((2, levels))
    wanted = np.linspace(accuracies.min(), accuracies.max(), 21)
    found = hull_energy(accuracies, energies, wanted)
    for a, e in zip(accuracies, energies, strict=True):
        assert hull_energy(accuracies, energies, np.array(a)) <= e + 1e-12
    shares = random.dirichlet(np.ones(levels), 300)     # of any number of levels
    least = hull_energy(accuracies, energies, shares @ accuracies)
    assert (least <= shares @ energies + 1e-9).all()
    assert (np.diff(found) >= -1e-12).all()
    assert (np.diff(found, 2) >= -1e-9).all()
    assert hull_energy(accuracies, energies, 2.0) == pytest.approx(
        energies[accuracies.argmax()])


def test_an_interval_over_images_is_that_of_a_share():
    right = np.arange(10_000) < 8000
    low, high = mean_interval(right)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 10_000)
    assert low == pytest.approx(0.8 - half, abs=6e-4)
    assert high == pytest.approx(0.8 + half, abs=6e-4)


def test_a_paired_difference_is_surer_than_its_parts():
    random = np.random.default_rng(0)
    level = random.random(4000) < 0.8
    right = level | (random.random(4000) < 0.002)       # hardly another network
    levels, costs = np.stack([level, level & False]), np.stack(
        [np.full(4000, 0.8), np.full(4000, 0.2)])
    found, low, high = below_hull([(right, np.full(4000, 0.8), levels, costs)])
    # Better than every level: the hull ends at the best one's price.
    assert (found, low, high) == (0, 0, 0)
    found, low, high = below_hull([(level, np.full(4000, 0.7), levels, costs)])
    assert (found, low, high) == (0.1, 0.1, 0.1)


def test_a_system_no_better_than_a_mixture_does_not_win():
    random = np.random.default_rng(1)
    N = 3000
    few, many = random.random(N) < 0.7, random.random(N) < 0.9
    goes = random.random(N) < 0.4
    levels, costs = np.stack([few, many]), np.stack([np.full(N, 0.3), np.full(N, 0.9)])
    _, low, high = below_hull([(
        np.where(goes, many, few), np.where(goes, 0.9, 0.3), levels, costs)])
    assert low < 0 < high


def costs_of(totals):
    return NetworkCosts(("a",), np.full((2, 1), totals[1]), {
        k: np.array([total]) for k, total in totals.items() if k})


def test_a_batch_is_charged_by_how_many_of_it_come():
    costs = costs_of({1: 10.0, 2: 14.0, 4: 22.0})       # 6 a batch, 4 an image
    share = costs.expected_share(np.array([0.0, 0.5, 1.0]), 4)
    assert share[0] == 1
    assert share[2] == pytest.approx(22 / 40)
    # None come with probability 1/16, and then even the 6 are saved.
    assert share[1] == pytest.approx((6 * 15 / 16 + 4 * 2) / (4 * 0.5 * 10))


@given(st.floats(0.01, 1))
def test_an_image_is_charged_less_the_more_come_with_it(q):
    costs = costs_of({1: 10.0, 2: 14.0, 4: 22.0, 8: 38.0, 16: 70.0})
    some, more = costs.expected_share(np.array([q / 2, q]), 16)
    assert 70 / 160 - 1e-12 <= more <= some <= 1


def test_an_interval_over_seeds_holds_what_seeds_differ_by():
    random = np.random.default_rng(0)
    apart = [random.normal(mean, 0.1, 4000) for mean in (0.0, 1.0)]
    mean, low, high = mean_over_seeds(apart)
    assert mean == pytest.approx(np.mean(apart), abs=1e-6)
    assert low < 0.02 and high > 0.98
    _, low_one, high_one = mean_over_seeds(apart[:1])
    ends = mean_interval(apart[0])
    assert (low_one, high_one) == (pytest.approx(ends[0], abs=1e-3),
                                   pytest.approx(ends[1], abs=1e-3))


def test_seeds_are_drawn_again_beside_the_images_of_a_hull():
    # Every image is the same, so that only which seeds are drawn is left to chance.
    levels = np.stack([np.ones(30), np.zeros(30)])
    prices = np.stack([np.ones(30), np.full(30, 0.2)])
    systems = [(np.ones(30), np.full(30, energy), levels, prices)
               for energy in (0.4, 0.6)]
    assert below_hull(systems) == (0.5, 0.4, 0.6)
    assert below_hull(systems[:1]) == (0.6, 0.6, 0.6)
    assert mean_over_seeds([np.full(30, 1.0), np.full(30, 3.0)]) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize("images, thresholds", [(101, 102), (102, 102), (1000, 102)])
def test_a_curve_looks_at_a_hundred_thresholds_spread_over_the_images(
        images, thresholds):
    scores = np.random.default_rng(0).permutation(images) / images
    ones = np.ones(images)
    found = threshold_curve(scores, ones > 0, ones > 0,
                            two_stages(ones, ones, ones))
    assert len(found.threshold) == thresholds       # none, all, and a hundred between
    steps = np.diff(found.share[1:-1])
    assert steps.min() > 0 and steps.max() <= (images // 100 + 1) / images + 1e-12
    assert found.share[0] == 0 and found.share[-1] == 1
    assert found.share[1] == 1 / images and found.share[-2] == 1 - 1 / images


def test_a_threshold_lies_in_the_middle_of_the_scores_that_it_parts():
    ones = np.ones(3)
    found = threshold_curve(np.array([0.5, 0.1, 0.8]), ones > 0, ones > 0,
                            two_stages(ones, ones, ones))
    assert found.threshold.tolist() == pytest.approx([np.inf, 0.65, 0.3, -np.inf])


def test_a_batch_changes_what_an_image_costs_in_a_curve_as_in_a_routing():
    random = np.random.default_rng(0)
    scores, few, many = random.random(50), random.random(50) < 0.6, random.random(
        50) < 0.8
    costs = two_stages(random.random(50), random.random(50), random.random(50),
                       lambda share: 1 + share, lambda share: 3 - share)
    found = threshold_curve(scores, few, many, costs)
    for threshold, energy in zip(found.threshold, found.energy, strict=True):
        routed = charge(costs, (scores > threshold).astype(int))
        assert routed.mean() == pytest.approx(energy, rel=1e-12)


def test_intervals_are_of_two_thousand_samples_between_their_percentiles():
    values = np.random.default_rng(1).random((2, 3, 40))
    low, high = mean_interval(values)
    counts = np.random.default_rng(0).poisson(1.0, (2000, 40)).astype(np.float32)
    means = counts / counts.sum(1, keepdims=True) @ values.reshape(6, 40).T
    expected = np.percentile(means, (2.5, 97.5), axis=0).reshape(2, 2, 3)
    assert low.shape == (2, 3)
    np.testing.assert_allclose([low, high], expected, rtol=1e-5)
    # Another seed draws other images.
    assert (mean_interval(values, seed=1)[0] != low).any()


def test_differences_over_images_and_seeds_equal_those_drawn_in_one_piece():
    random = np.random.default_rng(3)
    levels = np.stack([np.full(12, 0.9), np.full(12, 0.5)])
    rights, energies = random.random((3, 12)), random.random((3, 12))
    prices = random.random((3, 2, 12))
    counts = np.random.default_rng(0).poisson(1.0, (2000, 12))
    weights = counts / counts.sum(1, keepdims=True)
    chosen = np.random.default_rng(0).integers(3, size=(2000, 3))

    def interval(by_seed):
        drawn = np.take_along_axis(by_seed, chosen, 1).mean(1)
        return np.percentile(drawn, (2.5, 97.5))

    expected = interval(weights @ energies.T)
    found = mean_over_seeds(energies)
    assert found == pytest.approx((energies.mean(), *expected), abs=2e-6)
    by_seed, whole = [], []
    for right, energy, price in zip(rights, energies, prices, strict=True):
        levels_then = np.tile([0.9, 0.5], (2000, 1))
        by_seed.append(hull_energy(levels_then, weights @ price.T, weights @ right)
                       - weights @ energy)
        whole.append(hull_energy(np.array([0.9, 0.5]), price.mean(1), right.mean())
                     - energy.mean())
    found = below_hull([(right, energy, levels, price) for right, energy, price
                        in zip(rights, energies, prices, strict=True)])
    assert found == pytest.approx(
        (np.mean(whole), *interval(np.stack(by_seed, 1))), abs=2e-6)
    # Another seed draws other images.
    assert mean_over_seeds(energies, seed=1)[1:] != mean_over_seeds(energies)[1:]


@pytest.mark.filterwarnings("error")
def test_of_levels_of_one_accuracy_the_cheaper_counts_and_nothing_warns():
    found = hull_energy(np.array([0.75, 0.75, 0.5]), np.array([1.0, 3.0, 0.5]),
                        np.array([0.5, 0.625, 0.75]))
    assert found.tolist() == [0.5, 0.75, 1.0]


def test_what_is_more_accurate_than_all_levels_costs_as_the_most_accurate():
    accuracies, energies = np.array([0.9, 0.7]), np.array([1.0, 0.5])
    wanted = np.array([0.95, 0.9, 0.8, 0.7, 0.6])
    assert hull_energy(accuracies, energies, wanted).tolist() == pytest.approx(
        [1.0, 1.0, 0.75, 0.5, 0.5])


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 10**6))
def test_each_image_is_charged_for_the_stages_that_it_reaches(count, N, seed):
    random = np.random.default_rng(seed)
    slopes = random.random((count, 2))
    costs = [ImageCosts(*random.random((2, N)), lambda share, k=k: 1 + slopes[k, 0]
                        * (1 - share), lambda share, k=k: 1 + slopes[k, 1] * share)
             for k in range(count)]
    stages = random.integers(0, count, N)
    found = charge(costs, stages)
    for i in range(N):
        expected = 0
        for k in range(stages[i] + 1):
            comes, stays = (stages >= k).mean(), (stages == k).mean()
            expected += costs[k].asked[i] * (1 + slopes[k, 0] * (1 - comes))
            if k == stages[i]:
                expected += costs[k].back[i] * (1 + slopes[k, 1] * stays)
        assert found[i] == pytest.approx(expected, rel=1e-12)
