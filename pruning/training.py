"""The one training loop: any model, any batches, masks after each step."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pruning.loaders import check_batch, outputs
from pruning.progress import Silent, training_progress
from pruning.recipe import Recipe
from pruning.training_state import read_state, write_state

CHECK_STEPS = 20    # between looks at the loss: each one waits for an accelerator
TEMPERATURE = 3.0   # at which a teacher is listened to: so that small chances count


@dataclass
class History:
    """Findings of a training.

    Parameters
    ----------
    rows : list of dict
        One an epoch: epoch (from 1), loss (mean over its images), accuracy (share of
        1; None where nothing was evaluated), lr (of its last step), wall_s, cpu_s.
    """

    rows: list = field(default_factory=list)

    @property
    def accuracy(self) -> float | None:
        """Accuracy after the last epoch, or None."""
        return self.rows[-1]["accuracy"] if self.rows else None

    @property
    def wall_minutes(self) -> float:
        """Minutes on the clock, those before a resume included."""
        return sum(row["wall_s"] for row in self.rows) / 60

    @property
    def cpu_minutes(self) -> float:
        """Minutes of all cores together."""
        return sum(row["cpu_s"] for row in self.rows) / 60


class TrainingDiverged(ValueError):
    """The loss or a weight is no longer a finite number."""


class Midway(Protocol):
    """What :func:`fit` tells of a training at shares of its steps."""

    @property
    def shares(self) -> Sequence[float]:
        """Shares of the steps."""

    def resume(self, done: int) -> None:
        """Hears first of all how many steps an earlier run has done."""

    def settle(self, model: torch.nn.Module, done: int) -> None:
        """Hears of each share with the model that would count then."""


def fit(model: torch.nn.Module, batches: Iterable, recipe: Recipe, *,
        evaluate: Callable | None = None, folder: str | Path | None = None,
        after_step: Sequence[Callable] = (), midway: Midway | None = None,
        teacher: torch.nn.Module | None = None,
        device: str | torch.device | None = None,
        progress: bool | Callable | None = True) -> History:
    """Train a model in place.

    Parameters
    ----------
    model : torch.nn.Module
        Gives logits, shape (N, classes). Afterwards on ``device``, in evaluation mode.
    batches : iterable with a length
        Gives (images, labels) anew in each epoch: :class:`pruning.batches.Batches`, a
        DataLoader. What it draws must come from torch's global generator (a DataLoader
        does so by itself), if a resumed training is to equal an undisturbed one.
    recipe : Recipe
        Its ``batch``, ``augment``, ``crop`` and ``cutout`` are for whoever makes
        ``batches``.
    evaluate : callable, optional
        Given the model (in evaluation mode) after each epoch; returns an accuracy.
    folder : str or Path, optional
        Folder that keeps the state after each epoch. A training that finds its own
        state goes on from there; one that finds itself finished returns at once.
    after_step : sequence of callables
        Each called with (model, optimizer) before the first step, after each step of
        the optimizer, and once more when the averaged weights have become the model's:
        masks. A mask that holds for the weights holds for their average.
    midway : optional
        Has ``shares`` of the steps, after which ``midway.settle(model, done)`` is
        called with the model that would count now; it is left as it is. First of all,
        ``midway.resume(done)`` hears how many steps an earlier run has done.
    teacher : torch.nn.Module, optional
        Gives logits of the same shape, for a recipe that distils. Left as it is.
    device : str or torch.device, optional
        CUDA where there is one, else the CPU.
    progress : bool
        A bar and one line an epoch on stderr.

    Returns
    -------
    History

    Raises
    ------
    TrainingDiverged
        NaN or infinite loss or weights. The model has the weights of the last good
        epoch again, and ``folder`` its state.
    ValueError
        Batches without length or of wrong shape; a folder with the state of another
        training.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    to_device(model, device)
    if recipe.distil:
        if teacher is None:
            raise ValueError(f"distil={recipe.distil:g} needs a teacher; give one, or "
                             "set it to 0")
        teacher = to_device(
            copy.deepcopy(teacher).requires_grad_(False).eval(), device)
    steps = number_of_steps(batches)
    optimizer = make_optimizer(model, recipe)
    average = None
    if recipe.ema:
        average = AveragedModel(
            model, multi_avg_fn=moving_average(recipe.ema), use_buffers=True)
    history = History()
    if folder is not None:
        history.rows = read_state(folder, model, optimizer, average, recipe, steps)
    moments = {}
    if midway is not None:
        midway.resume(len(history.rows) * steps)
        moments = {round(share * steps * recipe.epochs): midway.settle
                   for share in midway.shares}
    training = Training(model, recipe, optimizer, average, after_step, teacher, steps,
                        moments)
    if not history.rows:    # else they wait for the next step, as they would have
        for hook in after_step:
            hook(model, optimizer)
    with torch.random.fork_rng(), training_progress(recipe, steps, progress) as show:
        for epoch in range(len(history.rows) + 1, recipe.epochs + 1):
            good = {name: tensor.clone()
                    for name, tensor in training.counted.state_dict().items()}
            clock, cpu = time.monotonic(), time.process_time()
            # From the seed and the epoch alone, so that it holds after a resume.
            torch.manual_seed(recipe.seed * 100_000 + epoch)
            try:
                loss = train_epoch(training, batches, (epoch - 1) * steps, show)
            except TrainingDiverged as problem:
                training.counted.load_state_dict(good)
                finish(training)
                kept = f"; {folder} keeps the state of epoch {epoch - 1}" if (
                    folder is not None and epoch > 1) else ""
                raise TrainingDiverged(
                    f"epoch {epoch}: {problem}; lower lr ({recipe.lr:g}){kept}"
                ) from None
            accuracy = None
            if evaluate is not None:
                shown = average.module if average else model
                accuracy = float(evaluate(shown.eval()))
            history.rows.append({
                "epoch": epoch, "loss": loss, "accuracy": accuracy,
                "lr": optimizer.param_groups[0]["lr"],
                "wall_s": time.monotonic() - clock,
                "cpu_s": time.process_time() - cpu})
            if folder is not None:
                write_state(folder, model, optimizer, average, recipe, steps,
                            history.rows)
            show.epoch(history.rows[-1])
    finish(training)
    return history


@dataclass(frozen=True, eq=False)
class Training:
    """A model, and what an epoch of its training works with.

    Parameters
    ----------
    model : torch.nn.Module
    recipe : Recipe
    optimizer : torch.optim.Optimizer
    average : AveragedModel or None
    after_step : sequence of callables
        Called with (model, optimizer) after each step.
    teacher : torch.nn.Module or None
    steps : int
        Steps of an epoch.
    moments : dict of int to callable
        Called with (model that counts, steps done), by steps done.
    """

    model: torch.nn.Module
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    after_step: Sequence[Callable]
    teacher: torch.nn.Module | None
    steps: int
    moments: dict[int, Callable]

    @property
    def counted(self) -> torch.nn.Module:
        """Module whose weights count: the average where there is one."""
        return self.average or self.model

    def loss_of(self, logits: torch.Tensor, images: torch.Tensor,
                labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, the distance to the teacher's logits included."""
        loss = functional.cross_entropy(
            logits, labels, label_smoothing=self.recipe.label_smoothing)
        if self.recipe.distil and self.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher(images)
            loss = ((1 - self.recipe.distil) * loss
                    + self.recipe.distil * distance(logits, wanted))
        return loss


def train_epoch(training: Training, batches: Iterable, before: int,
                show: Silent) -> float:
    """One pass over the batches; returns the mean loss of an image.

    Parameters
    ----------
    training : Training
        Its model, average and optimizer are changed.
    batches : iterable
    before : int
        Steps of the epochs before.
    show : Silent
        Hears of each step.
    """
    model, recipe, optimizer = training.model, training.recipe, training.optimizer
    average, moments = training.average, training.moments
    device = next(model.parameters()).device
    model.train()
    total, images_seen = torch.zeros((), device=device), 0
    for step, (images, labels) in enumerate(batches):
        if not step:
            check_batch(images, labels)
        images, labels = images.to(device), labels.to(device)
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            # The rate in the middle of the step: no step is wasted.
            group["lr"] = recipe.learning_rate(
                (before + step + 0.5) / (training.steps * recipe.epochs))
        with autocast(device, recipe.precision):
            logits = outputs(model, images, labels) if not step else model(images)
            loss = training.loss_of(logits, images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for hook in training.after_step:
            hook(model, optimizer)
        if average:
            average.update_parameters(model)
        total += loss.detach() * len(labels)
        images_seen += len(labels)
        done = before + step + 1
        if (step % CHECK_STEPS == 0 or done in moments) and not math.isfinite(total):
            raise TrainingDiverged(f"the loss is {loss.item():g} at step {step + 1}")
        if done in moments:
            check_finite(training.counted)
            show.doing("settling the masks")
            moments[done](average.module if average else model, done)
            show.doing("steps")
        show.step()
    if not images_seen:
        raise ValueError("the batches gave nothing; a DataLoader gives batches anew in "
                         "each epoch, a generator does not")
    mean = total.item() / images_seen
    if not math.isfinite(mean):
        raise TrainingDiverged(f"the loss is {mean:g}")
    check_finite(training.counted)
    return mean


def check_finite(model: torch.nn.Module) -> None:
    """Stop where a weight or a statistic is no number any more."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TrainingDiverged(f"{name} has values that are not finite")


def distance(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Distance of a network's answers from its teacher's.

    Kullback and Leibler's divergence of the softened probabilities, times the square of
    the temperature, which keeps its gradients as large as the labels' (Hinton et al.
    2015, Section 2).
    """
    return TEMPERATURE**2 * functional.kl_div(
        (logits.float() / TEMPERATURE).log_softmax(1),
        (wanted.float() / TEMPERATURE).softmax(1), reduction="batchmean")


def to_device(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a model to a device, its weights in the order that suits convolutions."""
    if any(tensor.ndim == 5 for tensor in model.state_dict().values()):
        return model.to(device)     # torch has no such order for three dimensions
    return _laid_out(model, device, torch.channels_last)


def to_cpu(model: torch.nn.Module) -> torch.nn.Module:
    """Move a model to the CPU, its weights in the order of one that is loaded.

    The last bits of what it computes decide on zeros.
    """
    return _laid_out(model, torch.device("cpu"), torch.contiguous_format)


def _laid_out(model, device, order):
    # The stubs of torch do not know memory_format.
    return model.to(device, memory_format=order)    # type: ignore[call-overload]


def moving_average(decay: float) -> Callable:
    """torch's, but for indices that a buffer may hold, which it would round."""
    averaged = get_ema_multi_avg_fn(decay)

    def update(held, now, count):
        if held[0].is_floating_point():     # torch gives those of one kind at a time
            averaged(held, now, count)
        else:
            for mine, given in zip(held, now, strict=True):
                mine.copy_(given)
    return update


def finish(training: Training) -> None:
    """Give the model the weights that count, and masks the last word."""
    if training.average:
        training.model.load_state_dict(training.average.module.state_dict())
        for hook in training.after_step:
            hook(training.model, training.optimizer)
    training.model.eval()


def make_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; weight decay on weights only, not on biases and normalisation."""
    weights: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (weights if parameter.ndim > 1 else others).append(parameter)
    groups = [{"params": group, "weight_decay": decay}
              for group, decay in ((weights, recipe.weight_decay), (others, 0.0))
              if group]
    if not groups:
        raise ValueError("the model has no parameter that can be trained")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum,
                               nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, recipe.lr, (recipe.momentum, 0.999))


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Casting to bfloat16 where that keeps accuracy, if the recipe asks for it."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def number_of_steps(batches: Iterable) -> int:
    """Batches of an epoch."""
    try:
        steps = len(cast(Sized, batches))
    except TypeError:
        raise ValueError("the batches need a length, from which the learning rate "
                         "follows: a DataLoader, a list, Batches") from None
    if not steps:
        raise ValueError("there is no batch to train on")
    return steps


@torch.no_grad()
def evaluate(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, *,
             batch: int = 1000, precision: str = "bfloat16") -> float:
    """Share of images that a model gets right.

    Parameters
    ----------
    model : torch.nn.Module
        Its mode (training or evaluation) is as before afterwards.
    images : float tensor, shape (N, C, H, W)
        Images normalised as in training.
    labels : int64 tensor, shape (N,)
    batch : int
        Images at a time.
    precision : str
        One of :class:`Recipe`'s.

    Returns
    -------
    float
        0..1.
    """
    check_batch(images, labels)
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    right = 0
    for some, truth in zip(images.split(batch), labels.split(batch), strict=True):
        some, truth = some.to(device), truth.to(device)
        if some.ndim == 4:
            some = some.contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            logits = model(some)
        right += (logits.argmax(1) == truth).sum().item()
    for module, mode in modes.items():
        module.training = mode
    return right / len(labels)
