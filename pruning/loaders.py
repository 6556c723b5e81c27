"""A user's data: what fits weights, what chooses, what calibrates."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Loaders:
    """Batches of (images, labels), each given anew whenever it is gone through.

    Parameters
    ----------
    fit : iterable
        For weights and calibration: a DataLoader, a list, ``pruning.batches.Batches``.
    choose : iterable, optional
        For accuracies that decide something; never the test images.
    calibrate : iterable, optional
        For zeros and output errors, as ``fit`` but without augmentation; ``fit`` unless
        given.
    """

    fit: object
    choose: object = None
    calibrate: object = None

    @classmethod
    def of(cls, data):
        """Loaders from themselves, or from batches that only fit."""
        return data if isinstance(data, cls) else cls(data)

    def images(self, count, seed):
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
def accuracy(model, batches):
    """Share of all images that a model in eval mode gets right."""
    device = next(model.parameters()).device
    right = total = 0
    for images, labels in batches:
        guesses = model(images.to(device)).argmax(1)
        right += int((guesses == labels.to(device)).sum())
        total += len(labels)
    if not total:
        raise ValueError("the batches to choose by gave no image")
    return right / total
