"""CascadeNet runs what an image needs, and says what that cost."""

import copy
import math

import pytest
import torch
from pruning_nets import make
from torch import nn

from cascade.build import offline
from cascade.routed import CascadeNet, RouteCosts, check_threshold
from cascade.routers import Margin, MaxSoftmax, Selector
from cascade.taps import cut, taps

ENERGY = RouteCosts(front=3.0, router=0.25, back=0.5, mild=7.125)
LATENCY = RouteCosts(front=0.3, router=0.01, back=0.2, mild=0.7)
IMAGE = (3, 8, 8)


def images_of(count=40, seed=1, shape=IMAGE):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def selector_for(tap, classes=0):
    torch.manual_seed(2)
    selector = Selector(tap.shape[0], 8, classes).eval()
    with torch.no_grad():
        selector.layers[-1].weight.mul_(4)
    return selector


ROUTERS = {"selector": selector_for, "seeing logits": lambda tap: selector_for(tap, 5),
           "max-softmax": lambda tap: MaxSoftmax(), "margin": lambda tap: Margin()}


def build(router="selector", threshold=None, which=0):
    """A cascade of two small networks; by default half of the images go."""
    aggressive, mild = make("option A", seed=0), make("option B", seed=1)
    tap = taps(aggressive, IMAGE)[which]
    front, back = cut(aggressive, tap)
    if isinstance(router, str):
        router = ROUTERS[router](tap)
    net = CascadeNet(front, back, router, mild, 0.5, ENERGY, LATENCY)
    if threshold is None:
        threshold = net(images_of()).scores.median().item()
    net.threshold = threshold
    return net, aggressive, mild


class Given(nn.Module):
    """A router that scores an image by its very features."""

    needs_logits = False

    def __init__(self, score):
        super().__init__()
        self.score = score

    def forward(self, features, logits=None):
        assert logits is None
        return self.score.expand(len(features))


def count_calls(net):
    calls = {}
    for name in ("front", "back", "router", "mild"):
        calls[name] = 0

        def hook(*_, name=name):
            calls[name] += 1

        getattr(net, name).register_forward_hook(hook)
    return calls


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("router", ROUTERS)
def test_an_image_gets_the_logits_of_the_network_that_its_score_asks_for(router, which):
    net, aggressive, mild = build(router, which=which)
    images = images_of()
    got = net(images)
    assert 0 < got.routes.sum() < len(images)
    for place, image in enumerate(images.split(1)):
        with torch.no_grad():
            features = net.front(image)
            score = net.router(features, aggressive(image))
            expected = mild(image) if score > net.threshold else aggressive(image)
        assert torch.equal(got.scores[place], score[0])
        assert got.routes[place] == bool(score > net.threshold)
        assert torch.equal(got.logits[place], expected[0])
        assert got.predictions[place] == expected.argmax()
    assert not got.logits.requires_grad


@pytest.mark.parametrize("router", ROUTERS)
def test_what_comes_of_an_image_does_not_depend_on_those_beside_it(router):
    net, _, _ = build(router)
    images = images_of()
    whole = net(images)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(4))
    for some in (order[:1], order[:2], order[:7], order, torch.arange(39, -1, -1)):
        part = net(images[some])
        assert torch.equal(part.logits, whole.logits[some])
        assert torch.equal(part.scores, whole.scores[some])
        assert torch.equal(part.routes, whole.routes[some])
        assert torch.equal(part.uJ, whole.uJ[some])
    among_others = net(torch.cat([images_of(3, seed=9), images[:5]]))
    assert torch.equal(among_others.logits[3:], whole.logits[:5])


def test_how_images_lie_in_memory_does_not_matter():
    net, _, _ = build()
    images = images_of()
    whole = net(images)
    for other in (images.to(memory_format=torch.channels_last),
                  images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
                  torch.cat([images, images], 3)[..., :8]):
        assert torch.equal(other, images)
        got = net(other)
        assert torch.equal(got.logits, whole.logits)
        assert torch.equal(got.scores, whole.scores)


def test_images_of_one_channel_are_the_same_however_they_lie():
    torch.manual_seed(0)
    few, many = (nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()
        for _ in range(2))
    net = CascadeNet(*cut(few, taps(few, (1, 28, 28))[0]), Margin(), many, 0.5, ENERGY,
                     LATENCY, (1, 28, 28))
    images = images_of(20, shape=(1, 28, 28))
    other = images.to(memory_format=torch.channels_last)
    assert torch.equal(net(other).logits, net(images).logits)
    assert torch.equal(offline(net, other)[0], offline(net, images)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("router", ROUTERS)
def test_a_cascade_runs_in_other_precisions(router, dtype):
    net, _, _ = build(router)
    got = net.to(dtype)(images_of().to(dtype))
    assert got.logits.dtype == dtype and 0 < got.routes.sum() < len(got.routes)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_network_that_an_image_does_not_need_is_not_run(router):
    net, _, _ = build(router)
    calls = count_calls(net)
    images = images_of()
    gone = int(net(images).routes.sum())
    assert calls["front"] == calls["router"] == len(images)
    assert calls["mild"] == gone
    assert calls["back"] == (
        len(images) if net.router.needs_logits else len(images) - gone)


@pytest.mark.parametrize("router", ROUTERS)
def test_energies_are_those_of_the_formula(router):
    net, _, _ = build(router)
    got = net(images_of())
    needed = net.router.needs_logits
    for costs, charged in ((ENERGY, got.uJ), (LATENCY, got.ms)):
        assert charged.dtype == torch.float64
        share = got.routes.double().mean().item()
        mean = costs.front + costs.router + share * costs.mild + (
            costs.back if needed else (1 - share) * costs.back)
        assert charged.mean().item() == pytest.approx(mean, rel=1e-12)
        stay = costs.front + costs.router + costs.back
        go = costs.front + costs.router + (costs.back if needed else 0) + costs.mild
        assert charged.tolist() == [go if goes else stay for goes in got.routes]


@pytest.mark.parametrize("router", ROUTERS)
def test_infinite_thresholds_send_all_or_none(router):
    images = images_of()
    net, aggressive, mild = build(router, threshold=-math.inf)
    calls = count_calls(net)
    got = net(images)
    assert got.routes.all() and calls["mild"] == len(images)
    assert set(got.uJ.tolist()) == {ENERGY.front + ENERGY.router + ENERGY.mild + (
        ENERGY.back if net.router.needs_logits else 0)}
    net, aggressive, mild = build(router, threshold=math.inf)
    calls = count_calls(net)
    got = net(images)
    assert not got.routes.any() and calls["mild"] == 0
    assert set(got.uJ.tolist()) == {ENERGY.front + ENERGY.router + ENERGY.back}


@pytest.mark.parametrize("score, threshold, goes", [
    (0.5, 0.5, False), (0.5, math.nextafter(0.5, 0), True), (0.0, 0.0, False),
    (1.0, 1.0, False), (1.0, math.nextafter(1.0, 0), True), (1e-30, 0.0, True),
    # float32's 0.1 lies above the double 0.1: as exact numbers, it goes.
    (0.1, 0.1, True), (0.3, 0.3, True), (0.7, 0.7, False)])
def test_a_score_is_compared_with_the_threshold_as_exact_numbers(
        score, threshold, goes):
    net, _, _ = build(Given(torch.tensor([score])), threshold=threshold)
    assert net(images_of(2)).routes.tolist() == [goes, goes]
    assert (float(torch.tensor(score)) > threshold) is goes


@pytest.mark.parametrize("wrong", [-0.01, 1.01, 50, -1, math.nan])
def test_a_threshold_out_of_its_range_is_refused(wrong):
    net, _, _ = build()
    with pytest.raises(ValueError, match="scores lie in 0 to 1") as problem:
        CascadeNet(net.front, net.back, net.router, net.mild, wrong, ENERGY, LATENCY)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("right", [0, 1, 0.5, math.inf, -math.inf])
def test_a_threshold_in_its_range_is_taken(right):
    check_threshold(right)


def test_a_score_that_is_no_number_is_refused():
    net, _, _ = build(Given(torch.tensor([math.nan])), threshold=0.5)
    with pytest.raises(ValueError, match="image 1: the router's score is nan"):
        net(images_of(2))


@pytest.mark.parametrize("images", [
    torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8), torch.zeros(2, 192)])
def test_images_of_another_shape_are_refused(images):
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\)"):
        build()[0](images)


def test_a_cascade_stays_in_evaluation_mode():
    net, _, _ = build()
    expected = net(images_of())
    assert net.train() is net
    assert not any(module.training for module in net.modules())
    assert torch.equal(net(images_of()).logits, expected.logits)


def test_progress_is_told_image_by_image():
    told = []
    build()[0](images_of(3), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_copied_cascade_does_the_same():
    net, _, _ = build()
    expected = net(images_of())
    got = copy.deepcopy(net)(images_of())
    assert torch.equal(got.logits, expected.logits)
    assert torch.equal(got.uJ, expected.uJ)


@pytest.mark.parametrize("classes", [2, 5, 30])
@pytest.mark.parametrize("router", [MaxSoftmax(), Margin()])
def test_confidence_scores_lie_in_0_to_1_and_rise_with_doubt(router, classes):
    logits = 3 * torch.randn(50, classes, generator=torch.Generator().manual_seed(1))
    scores = router(None, logits)
    assert ((0 <= scores) & (scores <= 1)).all()
    assert (router(None, 2 * logits) <= scores).all()       # surer, the same class
    probabilities = logits.double().softmax(1).sort(1, descending=True).values
    expected = 1 - probabilities[:, 0]
    if isinstance(router, Margin):
        expected = expected + probabilities[:, 1]
    assert torch.allclose(scores.double(), expected, atol=1e-6)
