"""A chain runs what an image needs, and says what that cost."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from pruning_nets import make
from torch import nn

from cascade.building import offline
from cascade.routers import Margin, MaxSoftmax, Selector
from cascade.stages import Chain, Stage, StageCost, check_threshold, mean_cost
from cascade.taps import find_taps

ENERGY = StageCost(front=3.0, router=0.25, back=0.5), StageCost(7.125)
LATENCY = StageCost(front=0.3, router=0.01, back=0.2), StageCost(0.7)
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


def chain_of_two(aggressive, tap, router, mild, threshold=0.5, image_shape=None):
    """A chain of two networks with the costs above."""
    stages = [Stage(aggressive, tap, ENERGY[0], LATENCY[0]),
              Stage(mild, None, ENERGY[1], LATENCY[1])]
    return Chain(stages, [router], [threshold], image_shape)


def build(router="selector", threshold=None, which=0):
    """A chain of two small networks; by default half of the images go on."""
    aggressive, mild = make("option A", seed=0), make("option B", seed=1)
    tap = find_taps(aggressive, IMAGE)[which]
    if isinstance(router, str):
        router = ROUTERS[router](tap)
    net = chain_of_two(aggressive, tap, router, mild)
    if threshold is None:
        threshold = net(images_of(), mode="one").scores.median().item()
    net.thresholds = [threshold]
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
    parts = {"front": net.stages[0].front, "back": net.stages[0].back,
             "router": net.routers[0], "mild": net.stages[1].front}
    for name, part in parts.items():
        calls[name] = 0

        def hook(*_, name=name):
            calls[name] += 1

        part.register_forward_hook(hook)
    return calls


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("router", ROUTERS)
def test_an_image_gets_the_logits_of_the_network_that_its_score_asks_for(router, which):
    net, aggressive, mild = build(router, which=which)
    images = images_of()
    got = net(images, mode="one")
    assert 0 < got.routes.sum() < len(images)
    for place, image in enumerate(images.split(1)):
        with torch.no_grad():
            features = net.stages[0].front(image)
            score = net.routers[0](features, aggressive(image))
            threshold, = net.thresholds
            expected = mild(image) if score > threshold else aggressive(image)
        assert torch.equal(got.scores[place], score[0])
        assert got.routes[place] == bool(score > threshold)
        assert torch.equal(got.logits[place], expected[0])
        assert got.predictions[place] == expected.argmax()
    assert not got.logits.requires_grad


@pytest.mark.parametrize("router", ROUTERS)
def test_what_comes_of_an_image_does_not_depend_on_those_beside_it(router):
    net, _, _ = build(router)
    images = images_of()
    whole = net(images, mode="one")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(4))
    for some in (order[:1], order[:2], order[:7], order, torch.arange(39, -1, -1)):
        part = net(images[some], mode="one")
        assert torch.equal(part.logits, whole.logits[some])
        assert torch.equal(part.scores, whole.scores[some])
        assert torch.equal(part.routes, whole.routes[some])
        assert torch.equal(part.uJ, whole.uJ[some])
    among_others = net(torch.cat([images_of(3, seed=9), images[:5]]), mode="one")
    assert torch.equal(among_others.logits[3:], whole.logits[:5])


def test_how_images_lie_in_memory_does_not_matter():
    net, _, _ = build()
    images = images_of()
    whole = net(images, mode="one")
    for other in (images.to(memory_format=torch.channels_last),
                  images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
                  torch.cat([images, images], 3)[..., :8]):
        assert torch.equal(other, images)
        got = net(other, mode="one")
        assert torch.equal(got.logits, whole.logits)
        assert torch.equal(got.scores, whole.scores)


def test_images_of_one_channel_are_the_same_however_they_lie():
    torch.manual_seed(0)
    few, many = (nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()
        for _ in range(2))
    net = chain_of_two(few, find_taps(few, (1, 28, 28))[0], Margin(), many,
                       image_shape=(1, 28, 28))
    images = images_of(20, shape=(1, 28, 28))
    other = images.to(memory_format=torch.channels_last)
    assert torch.equal(net(other, mode="one").logits, net(images, mode="one").logits)
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
    gone = int(net(images, mode="one").routes.sum())
    assert calls["front"] == calls["router"] == len(images)
    assert calls["mild"] == gone
    assert calls["back"] == (
        len(images) if net.asks_all[0] else len(images) - gone)


@pytest.mark.parametrize("router", ROUTERS)
def test_energies_are_those_of_the_formula(router):
    net, _, _ = build(router)
    got = net(images_of(), mode="one")
    needed, = net.asks_all
    for (costs, last), charged in ((ENERGY, got.uJ), (LATENCY, got.ms)):
        assert charged.dtype == torch.float64
        share = got.routes.double().mean().item()
        mean = costs.front + costs.router + share * last.front + (
            costs.back if needed else (1 - share) * costs.back)
        assert charged.mean().item() == pytest.approx(mean, rel=1e-12)
        stay = costs.front + costs.router + costs.back
        go = costs.front + costs.router + (costs.back if needed else 0) + last.front
        assert charged.tolist() == [go if goes else stay for goes in got.routes]


@pytest.mark.parametrize("router", ROUTERS)
def test_infinite_thresholds_send_all_or_none(router):
    images = images_of()
    net, _, _ = build(router, threshold=-math.inf)
    calls = count_calls(net)
    got = net(images, mode="one")
    assert got.routes.all() and calls["mild"] == len(images)
    first, last = ENERGY
    assert set(got.uJ.tolist()) == {first.front + first.router + last.front + (
        first.back if net.asks_all[0] else 0)}
    net, _, _ = build(router, threshold=math.inf)
    calls = count_calls(net)
    got = net(images, mode="one")
    assert not got.routes.any() and calls["mild"] == 0
    assert set(got.uJ.tolist()) == {first.front + first.router + first.back}


@pytest.mark.parametrize("score, threshold, goes", [
    (0.5, 0.5, False), (0.5, math.nextafter(0.5, 0), True), (0.0, 0.0, False),
    (1.0, 1.0, False), (1.0, math.nextafter(1.0, 0), True), (1e-30, 0.0, True),
    # float32's 0.1 lies above the double 0.1: as exact numbers, it goes.
    (0.1, 0.1, True), (0.3, 0.3, True), (0.7, 0.7, False)])
def test_a_score_is_compared_with_the_threshold_as_exact_numbers(
        score, threshold, goes):
    net, _, _ = build(Given(torch.tensor([score])), threshold=threshold)
    assert net(images_of(2), mode="one").routes.tolist() == [goes, goes]
    assert (float(torch.tensor(score)) > threshold) is goes


@pytest.mark.parametrize("wrong", [-0.01, 1.01, 50, -1, math.nan])
def test_a_threshold_out_of_its_range_is_refused(wrong):
    net, _, _ = build()
    with pytest.raises(ValueError, match="scores lie in 0 to 1") as problem:
        Chain(net.stages, net.routers, [wrong])
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("right", [0, 1, 0.5, math.inf, -math.inf])
def test_a_threshold_in_its_range_is_taken(right):
    check_threshold(right)


def test_a_score_that_is_no_number_is_refused():
    net, _, _ = build(Given(torch.tensor([math.nan])), threshold=0.5)
    with pytest.raises(ValueError, match="image 1: the router's score is nan"):
        net(images_of(2), mode="one")


@pytest.mark.parametrize("images", [
    torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8), torch.zeros(2, 192)])
def test_images_of_another_shape_are_refused(images):
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\)"):
        build()[0](images)


def test_a_cascade_stays_in_evaluation_mode():
    net, _, _ = build()
    expected = net(images_of(), mode="one")
    assert net.train() is net
    assert not any(module.training for module in net.modules())
    assert torch.equal(net(images_of(), mode="one").logits, expected.logits)


def test_progress_is_told_image_by_image():
    told = []
    build()[0](images_of(3), progress=lambda done, total: told.append((done, total)),
               mode="one")
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_copied_cascade_does_the_same():
    net, _, _ = build()
    expected = net(images_of(), mode="one")
    got = copy.deepcopy(net)(images_of(), mode="one")
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


def stages_of(count, bits=1024):
    """Stages of several architectures, and random costs that a float adds exactly."""
    draw = np.random.default_rng(count)
    stages = []
    for number in range(count):
        network = make(("option A", "chain", "option B")[number % 3], seed=number)
        tap = None if number == count - 1 else find_taps(network, IMAGE)[0]
        costs = [StageCost(*(draw.integers(1, bits, 3) / bits)) if tap else StageCost(
            int(draw.integers(1, bits)) / bits) for _ in range(2)]
        stages.append(Stage(network, tap, *costs, name=f"stage {number}"))
    return stages


def test_a_chain_of_one_is_its_network_exactly():
    stage, = stages_of(1)
    chain, images = Chain([stage]), images_of()
    got = chain(images, mode="one")
    for place, image in enumerate(images.split(1)):
        with torch.no_grad():
            assert torch.equal(got.logits[place], stage.front(image)[0])
    assert set(got.uJ.tolist()) == {stage.energy.front}
    assert set(got.ms.tolist()) == {stage.latency.front}
    assert not got.routes.any() and got.scores.isnan().all()
    predictions, answered, mean = offline(chain, images)
    assert torch.equal(predictions, got.predictions) and not answered.any()
    assert mean == stage.energy.front


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_image_of_a_chain_pays_for_the_stages_that_it_reaches(count):
    stages, images = stages_of(count), images_of(60)
    routers = [(Margin() if number % 2 else selector_for(stage.tap))
               for number, stage in enumerate(stages[:-1])]
    chain = Chain(stages, routers, [0.5] * (count - 1))
    with torch.no_grad():       # thresholds that about half of the images pass
        chain.thresholds = [
            float(torch.cat([router(stage.front(image), stage(image))
                             for image in images.split(1)]).median())
            for router, stage in zip(routers, stages[:-1], strict=True)]
    got = chain(images, mode="one")
    assert set(got.stages.tolist()) == set(range(count))
    for place, image in enumerate(images.split(1)):
        uJ = ms = 0
        for number, stage in enumerate(stages):
            with torch.no_grad():
                logits = stage(image)
                if number == count - 1:
                    uJ, ms = uJ + stage.energy.front, ms + stage.latency.front
                    break
                score = routers[number](stage.front(image), logits)
            goes = score.item() > chain.thresholds[number]
            back = not goes or routers[number].needs_logits
            uJ, ms = (spent + cost.front + cost.router + back * cost.back
                      for spent, cost in ((uJ, stage.energy), (ms, stage.latency)))
            if not goes:
                break
        assert got.stages[place] == number
        assert torch.equal(got.logits[place], logits[0])
        assert got.uJ[place] == uJ and got.ms[place] == ms
    predictions, answered, mean = offline(chain, images)
    assert torch.equal(predictions, got.predictions)
    assert torch.equal(answered, got.stages)
    assert mean == pytest.approx(got.uJ.mean().item(), rel=1e-12)
    assert mean_cost(chain.latencies, chain.asks_all, got.stages) == pytest.approx(
        got.ms.mean().item(), rel=1e-12)


class Counted(torch.nn.Module):
    """A network that notes how many images come to it at a time."""

    def __init__(self, network):
        super().__init__()
        self.network, self.came = network, []

    def forward(self, images):
        self.came.append(len(images))
        return self.network(images)


@pytest.mark.parametrize("count", [2, 3])
def test_in_batches_each_stage_runs_once_on_those_that_come_to_it(count):
    stages, images = stages_of(count), images_of(300)
    chain = Chain(stages, [Margin()] * (count - 1), [0.5] * (count - 1))
    chain.thresholds = [
        float(chain.routers[0](None, stage(images)).double().median())
        for stage in stages[:-1]]
    alone = chain(images, mode="one")
    for stage in chain.stages:
        stage.front = Counted(stage.front)
    done = []
    got = chain(images, lambda *told: done.append(told))
    assert done == [(256, 300), (300, 300)]
    sizes = [stage.front.came for stage in chain.stages]
    assert sizes[0] == [256, 44]
    for number in range(1, count):
        assert sizes[number] == [
            int((got.stages[:256] >= number).sum()), int(
                (got.stages[256:] >= number).sum())]
    sure = ~(alone.near | got.near)
    assert sure.sum() > 290
    assert torch.equal(got.stages[sure], alone.stages[sure])
    assert torch.equal(got.predictions[sure], alone.predictions[sure])
    torch.testing.assert_close(got.logits[sure], alone.logits[sure])
    torch.testing.assert_close(got.scores[sure], alone.scores[sure])
    assert torch.equal(got.uJ[sure], alone.uJ[sure])


def test_a_score_near_its_threshold_is_told():
    stages, images = stages_of(2), images_of(9)
    chain = Chain(stages, [Margin()], [0.5])
    scores = chain(images, mode="one").scores.double()
    for shift, near in ((0, True), (5e-6, True), (-5e-6, True), (3e-5, False)):
        chain.thresholds = [float(scores[4]) + shift]
        assert bool(chain(images, mode="one").near[4]) is near
    with pytest.raises(ValueError, match="unknown mode 'all'; known: batch, one"):
        chain(images, mode="all")


@pytest.mark.parametrize("ends", list(
    itertools.product((-math.inf, math.inf), repeat=2)))
def test_infinite_thresholds_lead_every_image_to_one_stage(ends):
    stages = stages_of(3)
    chain = Chain(stages, [Margin(), Margin()], ends)
    reached = 0 if ends[0] > 0 else 1 if ends[1] > 0 else 2
    got = chain(images_of(10))
    assert (got.stages == reached).all()
    before = sum(one.energy.front + one.energy.router + one.energy.back
                 for one in stages[:reached])
    last = stages[reached].energy
    assert set(got.uJ.tolist()) == {before + last.front + last.router + last.back}
    assert mean_cost(chain.energies, chain.asks_all, got.stages) == got.uJ[0]


def test_stages_routers_and_thresholds_that_do_not_fit_are_refused():
    stages = stages_of(3)
    for arguments, told in (
            (([], []), "a chain of 0 stages"),
            ((stages, [Margin()], [0.5]), "a chain of 3 stages with 1 routers"),
            ((stages, [Margin(), Margin()], [0.5]), "1 thresholds for 2 routers"),
            ((stages[::-1], [Margin(), Margin()], [0.5, 0.5]), "stage 2 has no tap")):
        with pytest.raises(ValueError, match=told):
            Chain(*arguments)
