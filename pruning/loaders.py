"""A user's data: what fits weights, what chooses, what calibrates."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Loaders:
    """Batches of (images, labels), each given anew whenever it is gone through.

    Parameters
    ----------
    fit : iterable
        Batches for weights and calibration: a DataLoader, a list,
        ``pruning.batches.Batches``.
    choose : iterable, optional
        Batches for accuracies that decide something; never the test images.
    calibrate : iterable, optional
        Batches for zeros and output errors, without augmentation; ``fit`` unless given.
    """

    fit: Iterable
    choose: Iterable | None = None
    calibrate: Iterable | None = None

    @classmethod
    def of(cls, data: "Loaders | Iterable | None") -> "Loaders":
        """Loaders from themselves, or from batches that only fit."""
        if data is None:
            raise ValueError("data is needed: batches of (images, labels), as a list "
                             "or a DataLoader")
        return data if isinstance(data, Loaders) else cls(data)

    def images(self, count: int, seed: int) -> torch.Tensor:
        """The first calibration images, as many as asked for or there are.

        Raises
        ------
        ValueError
            Batches that are no pairs of tensors, or none at all.
        """
        found, have = [], 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for batch in self.fit if self.calibrate is None else self.calibrate:
                if not (isinstance(batch, (tuple, list))
                        and torch.is_tensor(batch[0])):
                    raise ValueError(
                        "data must give batches of (images, labels), two tensors, got "
                        + _described(batch))
                found.append(batch[0][:count - have].cpu())
                have += len(found[-1])
                if have >= count:
                    break
        if not have:
            raise ValueError("data gave no image; a generator gives its batches once, "
                             "a DataLoader or a list anew each time")
        return torch.cat(found)


def _described(batch):
    if not isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__}"
    return "(" + ", ".join(type(part).__name__ for part in batch) + ")"


@torch.no_grad()
def accuracy(model: torch.nn.Module, batches: Iterable) -> float:
    """Share of all images that a model in eval mode gets right.

    Raises
    ------
    ValueError
        No images; labels, or outputs, of another shape than a classifier's.
    """
    device = next(model.parameters()).device
    right = total = 0
    for images, labels in batches:
        check_labels(images, labels)
        guesses = outputs(model, images.to(device), labels).argmax(1)
        right += int((guesses == labels.to(device)).sum())
        total += len(labels)
    if not total:
        raise ValueError("the batches to choose by gave no image")
    return right / total


def check_batch(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse what no classifier is trained on, before it fails far inside."""
    if not (torch.is_tensor(images) and torch.is_tensor(labels)):
        raise ValueError("a batch is two tensors, images and labels; got "
                         f"{type(images).__name__} and {type(labels).__name__}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating-point numbers, got {images.dtype}; "
                         "normalise them")
    check_labels(images, labels)


def check_labels(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse labels that are no class an image."""
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be int64, shape ({len(images)},), one for each image; got "
            f"{labels.dtype}, shape {tuple(labels.shape)}")


def outputs(model: torch.nn.Module, images: torch.Tensor,
            labels: torch.Tensor) -> torch.Tensor:
    """The model's logits for a batch, whatever is wrong with it told."""
    try:
        logits = model(images)
    except RuntimeError as problem:
        raise ValueError(f"the model does not take images of shape "
                         f"{tuple(images.shape)}: {str(problem).splitlines()[0]}"
                         ) from problem
    if not torch.is_tensor(logits):
        mode = "training" if model.training else "evaluation"
        raise ValueError(f"the model must give logits, one tensor; in {mode} mode it "
                         f"gives a {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(f"the model must give logits, shape ({len(labels)}, classes); "
                         f"got {tuple(logits.shape)}")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(f"labels {low} to {high} for a model with {logits.shape[1]} "
                         "classes")
    return logits
