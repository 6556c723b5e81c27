"""The linear router that learns from images that the networks were fitted to."""

import numpy as np
import pytest
import torch
from pruning_nets import Residual
from test_cascade import images_and_labels

from cascade.folder import load_cascade, save_cascade
from cascade.levels import Level
from cascade.routers import Gain, Lesson, pooled
from cascade.routers.gain import PENALTIES, ridge
from cascade.study import Choice, Study
from eyeriss_sim import EnergyOracle


def draw(count, inputs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, inputs, generator=generator, dtype=torch.float64)


def test_ridge_finds_a_line_without_noise_and_shrinks_noise():
    x = draw(400, 6) * torch.tensor([1, 10, 0.1, 1, 1, 1]).double() + 3
    true = torch.tensor([0.5, -0.02, 4.0, 0, 0, 1]).double()
    weight, bias = ridge(x, x @ true - 2)
    torch.testing.assert_close(weight, true, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(bias, torch.tensor(-2.0).double(), atol=0.1, rtol=0)
    # Of noise alone hardly anything is kept; least squares would keep 0.12.
    noise = torch.randn(400, generator=torch.Generator().manual_seed(2)).double()
    weight, bias = ridge(x, noise)
    assert (weight * x.std(0)).norm() < 0.02
    assert bias + weight @ x.mean(0) == pytest.approx(noise.mean().item())


def test_ridge_is_the_closed_form_at_its_penalty(monkeypatch):
    monkeypatch.setattr("cascade.routers.gain.PENALTIES", (0.3,))
    x, y = draw(90, 4), draw(90, 1, seed=3)[:, 0]
    weight, _ = ridge(x, y)
    scaled = ((x - x.mean(0)) / x.std(0)).numpy()
    wanted = np.linalg.solve(scaled.T @ scaled + 0.3 * 90 * np.eye(4),
                             scaled.T @ (y - y.mean()).numpy())
    np.testing.assert_allclose(weight.numpy() * x.std(0).numpy(), wanted, rtol=1e-9)
    assert len(PENALTIES) == 8


def test_a_dead_channel_has_no_weight():
    x = draw(50, 3)
    x[:, 1] = 0.25
    weight, _ = ridge(x, x[:, 0])
    assert weight[1] == 0 and weight[0] > 0.9


def test_the_target_is_the_gain_in_the_true_class():
    labels = torch.randint(5, (300,), generator=torch.Generator().manual_seed(1))
    summary = draw(300, 8).float()
    logits = draw(300, 5, seed=4).float()
    gain = (0.4 * summary[:, 2]).clamp(-0.6, 0.6)
    first = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    wanted = (first + gain).clamp(0.02, 0.98)
    other = torch.full((300, 5), 0.0)
    other.scatter_(1, labels[:, None], (wanted.logit() + np.log(4))[:, None].float())
    router = Gain.trained(Lesson(summary, logits, other, labels))
    scores = router.of_inputs(summary)
    real = (1 + wanted - first) / 2
    assert torch.corrcoef(torch.stack([scores, real]))[0, 1] > 0.9
    assert scores.mean() == pytest.approx(real.mean().item(), abs=1e-4)
    assert ((scores >= 0) & (scores <= 1)).all()
    # Left alone, an image far outside stays in 0 to 1.
    assert router.of_inputs(1e4 * summary).max() == 1


@pytest.fixture(scope="module")
def levels():
    torch.manual_seed(0)
    dense, small = Residual().eval(), Residual().eval()
    with torch.no_grad():
        for weight in small.parameters():
            weight.mul_((torch.rand(weight.shape) < 0.5).float())
    return [Level("dense", dense), Level("small", small)]


def parts(levels, *names):
    return {name: images_and_labels(place, count, levels[0].network)
            for place, (name, count) in enumerate(
                (("fit", 500), ("selector", 200), ("choosing", 200))) if name in names}


def test_it_is_offered_where_the_study_has_images_to_learn_from(levels, tmp_path,
                                                                monkeypatch):
    monkeypatch.setattr("cascade.study.LESSON", 200)
    oracle = EnergyOracle("eap_tool")
    blind = Study(levels, parts(levels, "selector", "choosing"), oracle)
    assert not [name for name in blind.routers(1) if name.startswith("gain")]
    tap = blind.taps[1][-1].name
    with pytest.raises(ValueError, match=f"router gain@{tap} learns from images that "
                                         "the networks were fitted to; give the study"):
        blind.router(1, 0, f"gain@{tap}")
    told = []
    study = Study(levels, parts(levels, "fit", "selector", "choosing"), oracle,
                  cache=tmp_path / "cache", progress=told.append)
    names = [name for name in study.routers(1) if name.startswith("gain")]
    assert names == [f"gain@{one.name}" for one in study.taps[1]]
    scores = study.scores(1, 0, names[-1], "choosing")
    # 500 images, of which every third is among at most 200.
    assert "outputs of small for 167 images that it was fitted to" in told
    again = Study(levels, parts(levels, "fit", "selector", "choosing"), oracle,
                  cache=tmp_path / "cache")
    np.testing.assert_array_equal(again.scores(1, 0, names[-1], "choosing"), scores)
    # Its layer costs something, and it comes back from a folder as it was.
    assert study.router_cost(1, 0, names[-1])[0] > 0
    choice = Choice((1, 0), (names[-1],), (0.5,))
    save_cascade(tmp_path / "out", study, choice, "residual", {})
    chain = load_cascade(tmp_path / "out", Residual())
    images = study.parts["choosing"][0]
    with torch.no_grad():
        inside = chain.routers[0].of_inputs(pooled(chain.stages[0].front(images)))
    np.testing.assert_allclose(inside.numpy(), scores, atol=1e-6)


def test_a_tap_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="made for 4 channels, the tap has 8"):
        Gain(4).check_tap(8)
