from pathlib import Path

import pytest
import torch
from torch import nn

from pruning.batches import Batches, mirrored, random_crop, random_cutout, random_flip
from pruning.recipe import Recipe
from pruning.training import TrainingDiverged, evaluate, fit
from pruning.training_state import STATE_FILE


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tiny(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        return self.fc(self.dropout(x))


def tiny(seed=0):
    torch.manual_seed(seed)
    return Tiny()


def coloured(images=48, seed=1):
    """Images whose class is their brightest channel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (images,), generator=generator)
    noise = torch.randn(images, 3, 8, 8, generator=generator)
    noise[torch.arange(images), labels] += 1.5
    return noise, labels


def batches(**changes):
    return Batches(*coloured(), 16, **{"crop": 2, "flip": True} | changes)


def recipe(**changes):
    return Recipe(**{"epochs": 3, "batch": 16, "lr": 0.1} | changes)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    pass


def test_training_learns_what_can_be_learnt():
    model = tiny()
    images, labels = coloured(200, seed=2)
    before = evaluate(model, images, labels)
    history = fit(model, batches(), recipe(epochs=8), progress=False,
                  evaluate=lambda model: evaluate(model, images, labels))
    assert before < 0.6 < 0.9 < history.accuracy
    assert [row["epoch"] for row in history.rows] == list(range(1, 9))
    assert history.rows[-1]["loss"] < history.rows[0]["loss"] / 2


@pytest.mark.parametrize("killed_in", [1, 2, 3])
@pytest.mark.parametrize("changes", [
    {}, {"ema": 0.9}, {"optimizer": "adamw", "lr": 0.01}, {"precision": "float32"}])
def test_training_killed_in_any_epoch_equals_the_undisturbed_one_bit_for_bit(
        tmp_path, killed_in, changes):
    undisturbed = tiny()
    rows = fit(undisturbed, batches(), recipe(**changes), progress=False).rows

    steps = [0]

    def kill(model, optimizer):
        steps[0] += 1
        # The first call is before the first step; then three steps an epoch.
        if steps[0] == 1 + 3 * (killed_in - 1) + 2:
            raise Killed

    with pytest.raises(Killed):
        fit(tiny(), batches(), recipe(**changes), folder=tmp_path, after_step=[kill],
            progress=False)
    torch.manual_seed(99)       # what was drawn elsewhere must not matter
    resumed = tiny(seed=5)
    history = fit(resumed, batches(), recipe(**changes), folder=tmp_path,
                  progress=False)
    # A kill in the first epoch leaves nothing to resume: the weights are the caller's.
    if killed_in == 1:
        assert not same(weights(resumed), weights(undisturbed))
        return
    assert same(weights(resumed), weights(undisturbed))
    assert [row["loss"] for row in history.rows] == [row["loss"] for row in rows]


def test_dataloader_with_shuffling_resumes_bit_for_bit_too(tmp_path):
    def loader():
        return torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(*coloured()), 16, shuffle=True)

    undisturbed = tiny()
    fit(undisturbed, loader(), recipe(), progress=False)
    seen = []

    def kill(model):
        seen.append(1)
        if len(seen) == 2:
            raise Killed
        return 0.5

    with pytest.raises(Killed):
        fit(tiny(), loader(), recipe(), folder=tmp_path, evaluate=kill, progress=False)
    resumed = tiny(seed=5)
    fit(resumed, loader(), recipe(), folder=tmp_path, progress=False)
    assert same(weights(resumed), weights(undisturbed))


def test_finished_training_is_read_and_not_trained_again(tmp_path):
    first = tiny()
    rows = fit(first, batches(), recipe(), folder=tmp_path, progress=False).rows
    again = tiny(seed=5)

    def never(model):
        raise AssertionError("it trained")

    assert fit(again, batches(), recipe(), folder=tmp_path, evaluate=never,
               progress=False).rows == rows
    assert same(weights(first), weights(again))


def test_kill_while_the_state_is_written_leaves_the_state_before(tmp_path, monkeypatch):
    written, write_bytes = [], Path.write_bytes

    def killed_at_second(path, content):
        written.append(path)
        write_bytes(path, content[:len(content) // len(written)])
        if len(written) == 2:
            raise Killed

    monkeypatch.setattr(Path, "write_bytes", killed_at_second)
    with pytest.raises(Killed):
        fit(tiny(), batches(), recipe(), folder=tmp_path, progress=False)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    undisturbed, resumed = tiny(), tiny(seed=5)
    fit(undisturbed, batches(), recipe(), progress=False)
    fit(resumed, batches(), recipe(), folder=tmp_path, progress=False)
    assert same(weights(resumed), weights(undisturbed))


def test_state_of_another_training_is_refused_with_what_differs(tmp_path):
    fit(tiny(), batches(), recipe(), folder=tmp_path, progress=False)
    for changes, loader, model, told in (
            ({"lr": 0.3}, batches(), tiny(), "lr 0.1, not 0.3"),
            ({}, Batches(*coloured(), 8), tiny(), "steps 3, not 6"),
            ({}, batches(), Tiny(classes=4), "another network"),
            ({}, batches(), nn.Sequential(Tiny()), "another network")):
        with pytest.raises(ValueError, match=told):
            fit(model, loader, recipe(**changes), folder=tmp_path, progress=False)
    (tmp_path / STATE_FILE).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"damaged.*delete it"):
        fit(tiny(), batches(), recipe(), folder=tmp_path, progress=False)


@pytest.mark.parametrize("key, value", [("distil", 0.5), ("cutout", 4)])
def test_state_of_a_training_that_used_more_is_refused_too(tmp_path, key, value):
    used = recipe(epochs=1, **{key: value})
    fit(tiny(), batches(), used, folder=tmp_path, teacher=tiny(), progress=False)
    with pytest.raises(ValueError, match=f"a training with {key} {value}, not None"):
        fit(tiny(), batches(), recipe(epochs=1), folder=tmp_path, progress=False)


def test_seed_decides_the_result_and_the_callers_random_numbers_are_left_alone():
    one, two, other = tiny(), tiny(), tiny()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fit(one, batches(), recipe(), progress=False)
    assert torch.equal(torch.rand(4), expected)
    fit(two, batches(), recipe(), progress=False)
    fit(other, batches(), recipe(seed=1), progress=False)
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


def test_nan_stops_and_leaves_the_last_good_epoch(tmp_path):
    images, labels = coloured()
    model, kept = tiny(), {}
    loader = Batches(images, labels, 16)

    def spoil(model):
        kept.update(weights(model))
        images[7] = torch.nan
        return 0.5

    with pytest.raises(TrainingDiverged, match=r"epoch 2: the loss is nan.*lower lr "
                       r"\(0.1\).*keeps the state of epoch 1"):
        fit(model, loader, recipe(), evaluate=spoil, folder=tmp_path, progress=False)
    assert same(weights(model), kept)
    clean = Batches(*coloured(), 16)
    model = tiny(seed=5)
    assert len(fit(model, clean, recipe(), folder=tmp_path, progress=False).rows) == 3
    assert all(tensor.isfinite().all() for tensor in weights(model).values())


class Moment:
    """What settles masks: here it only notes that it was asked."""

    shares = (0.5,)

    def __init__(self):
        self.asked = []

    def resume(self, done):
        pass

    def settle(self, model, done):
        self.asked.append(done)


@pytest.mark.parametrize("spoilt, told", [
    ("image", "the loss is nan at step 2"), ("weight", "conv.weight has values")])
def test_nothing_is_settled_by_numbers_that_are_none(spoilt, told, tmp_path, capsys):
    images, labels = coloured(64)
    model, moment, kept, calls = tiny(), Moment(), {}, []
    loader = list(zip(images.split(16), labels.split(16), strict=True))

    def after_first_epoch(model):
        kept.update(weights(model))
        if spoilt == "image":
            images[16] = torch.nan
        return 0.5

    def after_step(model, optimizer):       # before the first and after each of four
        calls.append(1)
        if spoilt == "weight" and len(calls) == 1 + 4 + 2:
            model.conv.weight.data[0] = torch.inf

    with pytest.raises(TrainingDiverged, match=f"epoch 2: {told}.*; lower lr "
                       r"\(0.1\); .* keeps the state of epoch 1"):
        fit(model, loader, recipe(), evaluate=after_first_epoch, folder=tmp_path,
            after_step=[after_step], midway=moment, progress=False)
    assert moment.asked == [] and same(weights(model), kept)
    fit(tiny(), batches(), recipe(epochs=2), midway=moment, progress=True)
    assert moment.asked == [3] and capsys.readouterr().err.count("epoch") == 2


def test_learning_rate_out_of_all_reason_is_told_and_not_trained_on():
    with pytest.raises(TrainingDiverged, match=r"epoch 1: .*lower lr"):
        fit(tiny(), batches(), recipe(lr=1e38, warm_up=0.0), progress=False)


def test_sgd_steps_are_nesterovs_momentum_with_decay_on_weights_only():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    loader = Batches(torch.randn(8, 3, 2, 2), torch.arange(8) % 3, 8)
    setting = recipe(epochs=3, precision="float32", weight_decay=0.1, warm_up=0.0)
    weight = model[1].weight.detach().clone().requires_grad_()
    bias = model[1].bias.detach().clone().requires_grad_()
    speed = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(3):
        loss = nn.functional.cross_entropy(
            loader.images.flatten(1) @ weight.T + bias, loader.labels)
        lr = setting.learning_rate((step + 0.5) / 3)
        gradients = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            for i, (tensor, decay) in enumerate(((weight, 0.1), (bias, 0.0))):
                gradient = gradients[i] + decay * tensor
                speed[i] = 0.9 * speed[i] + gradient if step else gradient
                tensor -= lr * (gradient + 0.9 * speed[i])
    fit(model, loader, setting, progress=False)
    torch.testing.assert_close(model[1].weight, weight)
    torch.testing.assert_close(model[1].bias, bias)


def test_a_teacher_is_followed_as_far_as_the_recipe_says_and_left_alone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    teacher = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    before = weights(teacher)
    loader = Batches(torch.randn(8, 3, 2, 2), torch.arange(8) % 3, 8)
    setting = recipe(epochs=1, precision="float32", weight_decay=0.0, momentum=0.0,
                     distil=0.75)
    weight = model[1].weight.detach().clone().requires_grad_()
    bias = model[1].bias.detach().clone()
    images = loader.images.flatten(1)
    logits = images @ weight.T + bias
    wanted = (images @ teacher[2].weight.T + teacher[2].bias).detach()
    softened = (wanted / 3).softmax(1)      # without dropout: a teacher is sure
    apart = (softened * (softened.log() - (logits / 3).log_softmax(1))).sum(1).mean()
    loss = 0.25 * nn.functional.cross_entropy(logits, loader.labels) + 0.75 * 9 * apart
    gradient, = torch.autograd.grad(loss, weight)
    fit(model, loader, setting, teacher=teacher, progress=False)
    torch.testing.assert_close(
        model[1].weight, weight - setting.learning_rate(0.5) * gradient)
    assert same(before, weights(teacher)) and teacher.training
    assert all(tensor.requires_grad for tensor in teacher.parameters())
    with pytest.raises(ValueError, match=r"distil=0\.75 needs a teacher"):
        fit(model, loader, setting, progress=False)


@pytest.mark.parametrize("key, value", [("distil", 0.5), ("cutout", 8)])
def test_a_recipe_without_what_came_later_reads_as_it_did_before(key, value):
    assert key not in recipe().as_dict()
    assert recipe(**{key: value}).as_dict()[key] == value
    assert Recipe(**recipe(**{key: value}).as_dict()) == recipe(**{key: value})


def test_averaged_weights_are_the_ones_evaluated_and_kept():
    model, seen, evaluated = tiny(), [], {}

    def look(model, optimizer):
        seen.append(model.conv.weight.detach().clone())

    def remember(model):
        evaluated["conv"] = model.conv.weight.detach().clone()
        return 0.0

    fit(model, batches(), recipe(epochs=2, ema=0.8), after_step=[look],
        evaluate=remember, progress=False)
    average = seen[1]           # the first call is before the first step
    for now in seen[2:-1]:      # the last one is after the average has become the model
        average = 0.8 * average + 0.2 * now
    torch.testing.assert_close(model.conv.weight, average)
    assert torch.equal(evaluated["conv"], model.conv.weight)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9},
                                     {"optimizer": "adamw", "lr": 0.01}])
def test_mask_of_after_step_holds_at_every_step_and_at_the_end(changes):
    mask = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(4)) < 0.5
    model = tiny()

    def project(model, optimizer):
        with torch.no_grad():
            model.conv.weight.mul_(mask)

    def check(model, optimizer):
        assert not model.conv.weight[~mask].any()

    fit(model, batches(), recipe(**changes), after_step=[project, check],
        progress=False)
    assert not model.conv.weight[~mask].any() and model.conv.weight[mask].all()


@pytest.mark.parametrize("loader, told", [
    ([(torch.zeros(4, 3, 8, 8), torch.zeros(3, dtype=torch.int64))], "one for each"),
    ([(torch.zeros(4, 3, 8, 8), torch.zeros(4))], "labels must be int64"),
    ([(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4))], "normalise"),
    ([(torch.zeros(4, 3, 8, 8), torch.arange(4))], "labels 0 to 3 .* 3 classes"),
    ([(torch.zeros(4, 1, 8, 8), torch.arange(4) % 3)], r"shape \(4, 1, 8, 8\)"),
    ([([0.0], torch.arange(4))], "two tensors"),
    ([], "no batch"),
    (iter([]), "need a length")])
def test_batches_of_the_wrong_shape_are_refused_in_one_line(loader, told):
    with pytest.raises(ValueError, match=told) as problem:
        fit(tiny(), loader, recipe(), progress=False)
    assert "\n" not in str(problem.value)


def test_model_without_class_scores_is_refused():
    with pytest.raises(ValueError, match=r"logits, shape \(16, classes\)"):
        fit(nn.Conv2d(3, 3, 3), batches(), recipe(), progress=False)
    with pytest.raises(ValueError, match="no parameter"):
        fit(nn.Flatten(), batches(), recipe(), progress=False)


def test_evaluation_counts_what_is_right_and_leaves_the_modes_of_the_model():
    model = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    model[2].weight.data.copy_(torch.eye(3))
    model[2].bias.data.zero_()
    model.train()
    model[0].eval()
    images = torch.zeros(7, 3, 4, 4)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    images[torch.arange(7), labels, 1, 1] = 1
    wrong = labels.clone()
    wrong[:2] = 2
    assert evaluate(model, images, wrong, batch=3) == 5 / 7
    assert model[2].training and not model[0].training


def test_crops_are_windows_of_the_mirrored_image():
    images = torch.arange(2 * 3 * 6 * 6.0).reshape(2, 3, 6, 6).repeat(40, 1, 1, 1)
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    windows = {(up, left): padded[:, :, up:up + 6, left:left + 6]
               for up in range(5) for left in range(5)}
    torch.manual_seed(0)
    found = set()
    for i, crop in enumerate(random_crop(images, 2)):
        places = [place for place, window in windows.items()
                  if torch.equal(crop, window[i])]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 20      # of 25 places, after 80 draws
    assert mirrored(4, 2, "cpu").tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


def test_flips_mirror_about_half_of_the_images_left_to_right():
    images = torch.arange(200 * 12.0).reshape(200, 1, 3, 4)
    torch.manual_seed(0)
    flipped = 0
    for before, after in zip(images, random_flip(images), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))
        flipped += not torch.equal(after, before)
    assert 70 < flipped < 130


def test_cutouts_blank_one_square_of_the_mean_colour_at_any_place():
    images = torch.randn(300, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    cut = random_cutout(images, 3)
    places = set()
    for before, after in zip(images, cut, strict=True):
        gone = (after != before).all(0)
        assert torch.equal((after != before).any(0), gone)
        mean = before.mean((1, 2))
        torch.testing.assert_close(after[:, gone], mean[:, None].expand(3, gone.sum()))
        rows, columns = (gone.any(axis).nonzero().flatten() for axis in (1, 0))
        for line, extent in ((rows, 6), (columns, 5)):
            first, last = line.min().item(), line.max().item()
            assert len(line) == last - first + 1
            assert len(line) == 3 or (len(line) == 2 and (first == 0
                                                          or last == extent - 1))
        assert torch.equal(gone, gone.any(1)[:, None] & gone.any(0))
        places.add((rows.min().item(), len(rows), columns.min().item(), len(columns)))
    assert len(places) == 30        # around each pixel


def test_pixels_are_cut_out_as_pixels_and_only_where_asked():
    images = torch.full((4, 3, 8, 8), 200, dtype=torch.uint8)
    images[:, :, 0] = 0
    (cut, _), = Batches(images, torch.zeros(4, dtype=torch.int64), 4, cutout=4)
    assert cut.dtype == torch.uint8 and set(cut.unique().tolist()) == {0, 175, 200}
    (whole, _), = Batches(images, torch.zeros(4, dtype=torch.int64), 4)
    assert torch.equal(whole, images)


def test_an_epoch_shows_each_image_once_in_a_new_order():
    loader = Batches(torch.zeros(10, 3, 8, 8), torch.arange(10), 4)
    torch.manual_seed(0)
    epochs = [torch.cat([labels for _, labels in loader]).tolist() for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("changes, told", [
    ({"epochs": 0}, "epochs must be a whole number"),
    ({"lr": 0.0}, "lr must be above 0"), ({"lr": float("nan")}, "lr must be"),
    ({"optimizer": "adam"}, "one of sgd, adamw"), ({"ema": 1.0}, "0 <= ema < 1"),
    ({"precision": "float16"}, "bfloat16, float32"), ({"batch": 0}, "batch must be"),
    ({"weight_decay": -1.0}, "weight_decay at least 0"), ({"crop": -1}, "crop must"),
    ({"cutout": -1}, "cutout must")])
def test_recipe_refuses_numbers_out_of_range(changes, told):
    with pytest.raises(ValueError, match=told):
        recipe(**changes)


class Shuffled(Tiny):
    """Has indices in a buffer, as a network does whose channels went."""

    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.arange(64))


@pytest.mark.parametrize("decay", [0.9, 0.9995])
def test_moving_averages_leave_indices_alone(decay):
    torch.manual_seed(0)
    model = Shuffled()
    fit(model, batches(), recipe(ema=decay))
    assert model.places.tolist() == list(range(64))


def test_convolutions_in_three_dimensions_train():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3)), nn.ReLU(), nn.Flatten(),
                          nn.Linear(4 * 36, 3))
    images, labels = coloured()
    before = weights(model)
    fit(model, [(images[:, :, None], labels)], recipe(epochs=1))
    assert not torch.equal(before["0.weight"], model[0].weight)


def test_a_model_of_several_outputs_is_refused_in_one_line():
    class Two(Tiny):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ValueError, match="one tensor; in training mode it gives a tup"):
        fit(Two(), batches(), recipe())
