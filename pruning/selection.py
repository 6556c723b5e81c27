"""From scores to masks: what goes first, and where to stop so that a target is met."""

import torch

from pruning.masks import Masks


class Order:
    """Units in the order in which they are removed, lowest score first.

    Parameters
    ----------
    scores : dict of str to Tensor
        One score a unit. A unit is a weight, or a block of weights where the scores'
        sizes are smaller than the parameter's: (M, C, 1, 1) are whole kernels, and
        ceil(M / 4) of M blocks of four filters.
    shapes : dict of str to tuple
        Of the parameters.
    within : Masks, optional
        What earlier pruning left: units that have nothing in it are removed before
        all others, and what it does not keep never comes back.

    Raises
    ------
    ValueError
        A score that is NaN.
    """

    def __init__(self, scores, shapes, within=None):
        self.shapes = {name: tuple(shapes[name]) for name in scores}
        self.within = within
        flat = []
        for name, score in scores.items():
            score = score.detach().to("cpu", torch.float64)
            if score.isnan().any():
                raise ValueError(f"{name}: {int(score.isnan().sum())} scores are NaN; "
                                 "are its weights sound?")
            if within is not None:
                there = _any_by_block(within[name], score.shape)
                score = score.masked_fill(~there, -torch.inf)
            flat.append(score.flatten())
        order = torch.cat(flat).argsort(stable=True)
        rank = torch.empty(len(order), dtype=torch.int32)
        rank[order] = torch.arange(len(order), dtype=torch.int32)
        self._ranks = {}
        for (name, score), part in zip(
                scores.items(), rank.split([one.numel() for one in flat])):
            self._ranks[name] = part.reshape(score.shape)
        self.units = len(order)

    def masks(self, removed):
        """Masks once so many units have gone."""
        masks = {}
        for name, rank in self._ranks.items():
            mask = spread(rank >= removed, self.shapes[name])
            masks[name] = mask & self.within[name] if self.within else mask
        return Masks(masks)

    def meet(self, meter, share, what="target"):
        """The masks that remove no more units than a target asks for.

        Parameters
        ----------
        meter : Meter
        share : float
            Of the dense network's cost.
        what : str
            How messages call the target.

        Returns
        -------
        Masks
            At or below the share; one unit less would be above it.

        Raises
        ------
        ValueError
            More is left than that when every unit has gone.
        """
        removed = least(lambda count: meter.share(self.masks(count)) <= share,
                        self.units)
        if removed is None:
            refuse(what, meter.share(self.masks(self.units)), meter.unit)
        return self.masks(removed)


class OutOfReach(ValueError):
    """A target below what is left when all that may go has gone."""


def refuse(what, floor, unit, least_left="all prunable weights at zero"):
    """Say what is left at least."""
    raise OutOfReach(f"{what} cannot be reached: with {least_left} {floor:.4f} {unit} "
                     f"is left; ask for {_rounded_up(floor):.3f} or more")


def _rounded_up(share):
    return -(-share * 1000 // 1) / 1000


def least(holds, most):
    """The smallest count in 0..most for which a property holds, by bisection, or None.

    Where the property comes and goes, a count at which it begins to hold.

    Examples
    --------
    >>> least(lambda count: count * count >= 30, 10), least(lambda count: False, 10)
    (6, None)
    """
    if holds(0):
        return 0
    if not holds(most):
        return None
    below, above = 0, most
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


def least_near(holds, start, low, high):
    """As ``least``, but from a guess: few questions where the answer is near it.

    Parameters
    ----------
    holds : callable
    start : int
        The guess, in low..high.
    low, high : int

    Returns
    -------
    int or None
        A count at which the property holds and, unless it is ``low``, before which it
        does not.

    Examples
    --------
    >>> [least_near(lambda count: count >= 700, guess, 0, 1000) for guess in (0, 690)]
    [700, 700]
    """
    step = 1
    if holds(start):
        below, above = start, start
        while below == above:
            if above == low:
                return low
            below = max(low, above - step)
            if holds(below):
                above, step = below, 2 * step
    else:
        below, above = start, start
        while below == above:
            if below == high:
                return None
            above = min(high, below + step)
            if not holds(above):
                below, step = above, 2 * step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


def spread(units, shape):
    """Values of units for each of their weights; ragged blocks end with the tensor."""
    for axis, (count, size) in enumerate(zip(units.shape, shape, strict=True)):
        if count == size:
            continue
        length = -(-size // count)
        units = units.repeat_interleave(length, axis).narrow(axis, 0, size)
    return units


def pooled(scores, block):
    """Sums of scores over blocks of weights.

    Parameters
    ----------
    scores : Tensor
    block : tuple of int
        Weights of a block along each axis; 0 stands for the whole axis.

    Returns
    -------
    Tensor
        One sum a block.

    Examples
    --------
    >>> pooled(torch.ones(4, 3, 3, 3), (2, 0, 0, 0)).flatten().tolist()
    [54.0, 54.0]
    """
    for axis, length in enumerate(block):
        size = scores.shape[axis]
        length = length or size
        # As ``spread`` undoes it: blocks of one length, the last one ragged.
        count = -(-size // length)
        if -(-size // count) != length:
            raise ValueError(f"blocks of {length} do not cut an axis of {size} so that "
                             f"their number tells their length; take {-(-size//count)}")
        where = torch.arange(size, device=scores.device) // length
        shape = (*scores.shape[:axis], count, *scores.shape[axis + 1:])
        scores = torch.zeros(shape, dtype=scores.dtype, device=scores.device).index_add(
            axis, where, scores)
    return scores


def _any_by_block(mask, shape):
    if tuple(mask.shape) == tuple(shape):
        return mask
    block = tuple(-(-size // count) for size, count in zip(mask.shape, shape))
    return pooled(mask.double(), block) > 0


def by_layer(scores):
    """Scores whose global order takes the same share from every layer."""
    places = {}
    for name, score in scores.items():
        order = score.detach().flatten().argsort(stable=True)
        rank = torch.empty(len(order), dtype=torch.float64)
        rank[order] = torch.arange(len(order), dtype=torch.float64)
        places[name] = ((rank + 0.5) / len(order)).reshape(score.shape)
    return places


def by_pattern(scores, patterns):
    """Mask that keeps, of each kernel, the pattern with the largest scores.

    Parameters
    ----------
    scores : Tensor, shape (M, C, R, S)
    patterns : bool Tensor, shape (patterns, R, S)

    Returns
    -------
    bool Tensor, shape (M, C, R, S)
    """
    kept = torch.einsum("mcrs,prs->mcp", scores, patterns.to(scores.dtype))
    return patterns[kept.argmax(-1)]


def knapsack(scores, prices):
    """Scores over prices: what a greedy knapsack fills its budget by.

    A weight that costs nothing is kept before all others.
    """
    return {name: torch.where(prices[name] > 0, score / prices[name], torch.inf)
            for name, score in scores.items()}
