"""Masks from scores: what goes first, and where to stop so that a target is met."""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import torch

from pruning.masks import Masks
from pruning.meters import Meter

WAYS = 2000     # parts of all units, to one of which the least cost is found


class Order:
    """Units in the order in which they are removed, lowest score first.

    Parameters
    ----------
    scores : dict of str to Tensor
        One score a unit. A unit is a weight, or a block of weights where the scores'
        sizes are smaller than the parameter's: (M, C, 1, 1) are whole kernels, and
        ceil(M / 4) of M blocks of four filters.
    shapes : dict of str to tuple
        Shapes of the parameters.
    within : Masks, optional
        What earlier pruning left: units that have nothing in it are removed before
        others, and what it does not keep never comes back.
    may_empty : bool
        Whether a parameter may lose its last unit. Else the unit of its highest score
        stays, whatever its rank among all others.

    Raises
    ------
    ValueError
        A score that is NaN.
    """

    def __init__(self, scores: dict[str, torch.Tensor],
                 shapes: Mapping[str, Sequence[int]], within: Masks | None = None,
                 may_empty: bool = False):
        self.shapes = {name: tuple(shapes[name]) for name in scores}
        self.within = within
        self.removed = 0
        flat, present = [], {}
        for name, score in scores.items():
            score = score.detach().to("cpu", torch.float64)
            if score.isnan().any():
                raise ValueError(f"{name}: {int(score.isnan().sum())} scores are NaN; "
                                 "are its weights sound?")
            present[name] = torch.ones(score.shape, dtype=torch.bool)
            if within is not None:
                present[name] = _any_by_block(within[name], score.shape)
                score = score.masked_fill(~present[name], -torch.inf)
            flat.append(score.flatten())
        order = torch.cat(flat).argsort(stable=True)
        rank = torch.empty(len(order), dtype=torch.int32)
        rank[order] = torch.arange(len(order), dtype=torch.int32)
        self._ranks = {}
        for (name, score), part in zip(
                scores.items(), rank.split([one.numel() for one in flat]), strict=True):
            self._ranks[name] = part.reshape(score.shape)
        self.units = len(order)
        # The unit that goes last, of each parameter that has any.
        self._last = {} if may_empty else {
            name: int(rank.masked_fill(~present[name], -1).argmax())
            for name, rank in self._ranks.items() if present[name].any()}

    def masks(self, removed: int) -> Masks:
        """Masks once so many units have gone, last units of a parameter left out."""
        masks = {}
        for name, rank in self._ranks.items():
            stays = rank >= removed
            if name in self._last:
                stays.view(-1)[self._last[name]] = True
            mask = spread(stays, self.shapes[name])
            masks[name] = mask & self.within[name] if self.within else mask
        return Masks(masks)

    def spared(self, removed: int) -> list[str]:
        """Parameters that so many units would empty but for their last unit."""
        return [name for name, place in self._last.items()
                if int(self._ranks[name].view(-1)[place]) < removed]

    def meet(self, meter: Meter, share: float, what: str = "target") -> Masks:
        """The masks that remove no more units than a target asks for.

        Parameters
        ----------
        meter : Meter
        share : float
            Share of the dense network's cost.
        what : str
            How messages call the target.

        Returns
        -------
        Masks
            At or below the share; one unit less would be above it.

        Raises
        ------
        OutOfReach
            More is left than that when every unit has gone that may.
        """
        removed = least(lambda count: meter.share(self.masks(count)) <= share,
                        self.units)
        if removed is None:
            refuse(what, meter.unit, meter.share(self.masks(self.units)), meter.floor)
        self.removed = removed
        return self.masks(removed)


class OutOfReach(ValueError):
    """A target below what is left when all that may go has gone.

    Parameters
    ----------
    message : str
    tried : float
        Least share that was tried.
    """

    def __init__(self, message: str, tried: float = 1.0):
        super().__init__(message)
        self.tried = tried


def refuse(what: str, unit: str, tried: float, floor: float | None = None, *,
           ask: float | None = None,
           least_left: str = "all prunable weights at zero") -> NoReturn:
    """Say what is left at least, and what may be asked for.

    Parameters
    ----------
    what : str
        The target.
    unit : str
        What the shares are of.
    tried : float
        Least share that was tried.
    floor : float, optional
        Share with ``least_left``, where the target lies below it.
    ask : float, optional
        Share that was tried and met; ``tried``, a little rounded up, unless given.
    least_left : str

    Raises
    ------
    OutOfReach
    """
    said, also = f"{tried:.4f} {unit} is the least of what was tried", ""
    if floor is not None:
        said = f"with {least_left} {floor:.4f} {unit} is left"
        if f"{tried:.4f}" != f"{floor:.4f}":
            also = f"; {tried:.4f} is the least of what was tried"
    ask = rounded_up(tried) if ask is None else ask
    raise OutOfReach(f"{what} cannot be reached: {said}; ask for {ask:.3f} or more"
                     + also, tried)


def rounded_up(share: float) -> float:
    """The next thousandth: what a message asks for."""
    return -(-share * 1000 // 1) / 1000


def least(holds: Callable[[int], bool], most: int) -> int | None:
    """The smallest count in 0..most for which a property holds, by bisection, or None.

    A property that comes and goes begins to hold at that count.

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


def least_near(holds: Callable[[int], bool], start: int, low: int,
               high: int) -> int | None:
    """The same as ``least`` from a guess: few questions where the answer is near it.

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


def bottom(cost: Callable[[int], float], share: float, tried: dict[int, float],
           low: int, high: int) -> int:
    """A count at which a cost is at most ``share``, or else the one where it is least.

    Costs fall and, near their end, rise again: so it tries counts nearer and nearer
    to the end, then halves the ways from the cheapest to its neighbours.

    Parameters
    ----------
    cost : callable
        Takes a count.
    share : float
    tried : dict of int to float
        Costs that are known; more are added.
    low, high : int

    Returns
    -------
    int

    Examples
    --------
    >>> bottom(lambda count: abs(count - 700) + 5, 0, {}, 0, 1000)
    700
    """
    finest = max(1, (high - low) // WAYS)
    # The fewer are left, the more each of them matters.
    left = (0, *(2 ** power for power in range((high - low).bit_length())), high - low)
    tried |= {high - one: cost(high - one) for one in left if high - one not in tried}
    while True:
        best = min(tried, key=lambda count: (tried[count], count))
        if tried[best] <= share:
            return best
        known = sorted(tried)
        place = known.index(best)
        new = [(best + other) // 2 for other in known[max(0, place - 1):place + 2]
               if abs(best - other) > finest]
        if not new:
            return best
        tried |= {count: cost(count) for count in new}


def spread(units: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Values of units for each of their weights; ragged blocks end with the tensor."""
    for axis, (count, size) in enumerate(zip(units.shape, shape, strict=True)):
        if count == size:
            continue
        length = -(-size // count)
        units = units.repeat_interleave(length, axis).narrow(axis, 0, size)
    return units


def pooled(scores: torch.Tensor, block: Sequence[int]) -> torch.Tensor:
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
        # ``spread`` undoes it: blocks of one length, the last one ragged.
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
    block = tuple(-(-size // count)
                  for size, count in zip(mask.shape, shape, strict=True))
    return pooled(mask.double(), block) > 0


def by_layer(scores: dict) -> dict[str, torch.Tensor]:
    """Scores whose global order takes the same share from every layer."""
    places = {}
    for name, score in scores.items():
        order = score.detach().flatten().argsort(stable=True)
        rank = torch.empty(len(order), dtype=torch.float64)
        rank[order] = torch.arange(len(order), dtype=torch.float64)
        places[name] = ((rank + 0.5) / len(order)).reshape(score.shape)
    return places


def by_pattern(scores: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
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


def knapsack(scores: dict, prices: dict) -> dict[str, torch.Tensor]:
    """Scores over prices: what a greedy knapsack fills its budget by.

    A weight that costs nothing is kept before all others.
    """
    return {name: torch.where(prices[name] > 0, score / prices[name], torch.inf)
            for name, score in scores.items()}
