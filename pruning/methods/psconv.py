"""Pre-defined sparse kernels: supports of 1 to 4 taps of 9, fixed before training."""

from itertools import combinations

import torch

from pruning.masks import Masks
from pruning.methods import register
from pruning.problem import Problem
from pruning.prunable import prunable

TAPS = 9
LARGEST_SUPPORT = 4


@register("psconv", at_init=True, own_levels=True, filter_code="periodic")
def psconv(problem: Problem, *, support: int = 2, period: int = 8,
           dense_kernels: int = 1, variants: int | None = None) -> Masks:
    """Periodic pre-defined sparse kernels (Kundu et al., IEEE TC 2020).

    Kernel (m, c) has support (m + c) mod period of a list that every layer shares, so
    only the list is stored (the oracle's filter code ``periodic``). 3x3 layers
    are pruned but for the first; what has no 3x3 kernels stays dense.
    """
    supports = periodic_supports(support, period, dense_kernels, variants, problem.seed)

    def masks_of(shape):
        slot = torch.add(torch.arange(shape[0])[:, None], torch.arange(shape[1]))
        return supports[slot % period]

    return _masks(problem, masks_of)


@register("psconv_random", at_init=True, own_levels=True)
def psconv_random(problem: Problem, *, support: int = 2) -> Masks:
    """Pre-defined sparse kernels, each with a support of its own, drawn at random.

    Kundu et al., Allerton 2019. Every kernel's support has to be stored.
    """
    _check(support)
    draw = torch.Generator().manual_seed(problem.seed)

    def masks_of(shape):
        places = torch.rand(*shape[:2], TAPS, generator=draw).argsort(-1)
        return (places < support).reshape(*shape[:2], 3, 3)

    return _masks(problem, masks_of)


def periodic_supports(support: int, period: int = 8, dense_kernels: int = 1,
                      variants: int | None = None, seed: int = 0) -> torch.Tensor:
    """The supports of one period, the dense kernels last.

    Parameters
    ----------
    support : int
        Taps of a sparse kernel, 1 to 4.
    period : int
    dense_kernels : int
        Kernels of a period that keep all nine taps.
    variants : int, optional
        Distinct sparse supports; as many as there are slots unless given.
    seed : int
        It decides the draw: each next support is one that covers the taps used least.

    Returns
    -------
    bool Tensor, shape (period, 3, 3)

    Raises
    ------
    ValueError
        A number out of its range.

    Examples
    --------
    >>> [int(periodic_supports(support).sum()) for support in (1, 2, 3, 4)]
    [16, 23, 30, 37]
    """
    _check(support)
    if not 0 <= dense_kernels <= period or period < 1:
        raise ValueError(f"psconv: dense_kernels must be in 0..{period}, the period, "
                         f"got {dense_kernels}")
    slots = period - dense_kernels
    every = list(combinations(range(TAPS), support))
    variants = min(slots, len(every)) if variants is None else variants
    if slots and not 1 <= variants <= min(slots, len(every)):
        raise ValueError(f"psconv: variants must be in 1..{min(slots, len(every))}, "
                         f"got {variants}")
    draw = torch.Generator().manual_seed(seed)
    used = torch.zeros(TAPS)
    chosen = []
    for _ in range(variants if slots else 0):
        places = torch.randperm(len(every), generator=draw).tolist()
        fresh = [every[place] for place in places if every[place] not in chosen]
        least = min(fresh, key=lambda one: float(used[list(one)].sum()))
        used[list(least)] += 1
        chosen.append(least)
    supports = torch.ones(period, TAPS, dtype=torch.bool)
    for slot in range(slots):
        supports[slot] = False
        supports[slot, list(chosen[slot % variants])] = True
    return supports.reshape(period, 3, 3)


def _check(support):
    if support not in range(1, LARGEST_SUPPORT + 1):
        raise ValueError(f"psconv: support must be 1 to {LARGEST_SUPPORT} of {TAPS} "
                         f"taps, got {support}")


def _masks(problem, masks_of):
    kernels = [name for name, shape in problem.shapes.items() if shape[2:] == (3, 3)]
    first = next(iter(prunable(problem.model)))     # even where it is excluded
    sparse = [name for name in kernels if name != first]
    if not sparse:
        raise ValueError(f"{type(problem.model).__name__} has no 3x3 layer after its "
                         "first one for pre-defined sparse kernels")
    dense = Masks.dense(problem.model, problem.prunables)
    return problem.within & Masks({**dense, **{
        name: masks_of(problem.shapes[name]) for name in sparse}})
