"""Weights to give back to a pruned layer, and values that suit those left.

Steps 3 and 4 of energy-aware pruning (Yang, Chen, Sze, CVPR 2017): greedy restoring by
output error, then least squares on the support. All filters of a layer at once, from
X^T X and X^T Y alone. One group's matrices here: callers go through the groups.
"""

import math

import torch

# Share of the mean diagonal of the Gram matrix. A linear layer has a row an image, and
# its inputs nearly depend on each other: with a thousandth of this, least squares fits
# what those few images have by chance with weights 30 times the largest original,
# from which no training of VGG-16 at energy 0.15 came back.
RIDGE = 1e-3
CHUNK_WORDS = 1 << 24   # of Gram matrices that are factored at once


def restore(gram: torch.Tensor, cross: torch.Tensor, filters: torch.Tensor,
            support: torch.Tensor, quota: torch.Tensor, chunks: int = 8,
            allowed: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Put back the original weights that reduce the output error most.

    A weight's gain is exact: 2 a_j x_j^T r - a_j^2 |x_j|^2 with the residual r. Gains
    of several weights interact, so a chunk that does not help as a whole is
    halved, down to one weight. Where no single original value helps, the rest of
    the quota goes to the weights with which least squares could gain most,
    (x_j^T r)^2 / |x_j|^2: their value is left to ``refit``.

    Parameters
    ----------
    gram : float64 Tensor, shape (fan_in, fan_in)
    cross : float64 Tensor, shape (fan_in, M)
    filters : float64 Tensor, shape (fan_in, M)
        Original values, a filter a column.
    support : bool Tensor, shape (fan_in, M)
        Weights that are left.
    quota : int64 Tensor, shape (M,)
        Weights that each filter may have in the end.
    chunks : int
        Parts, one after another, in which the quota is filled.
    allowed : bool Tensor, shape (fan_in, M), optional
        Weights that may be chosen; at least as many a filter as its quota.

    Returns
    -------
    support : bool Tensor, shape (fan_in, M)
        Weights that are left, ``quota`` a filter.
    values : float64 Tensor, shape (fan_in, M)
        The original ones where they reduce the error, 0 elsewhere.
    """
    power = gram.diagonal()[:, None]
    support = support.clone()
    barred = torch.zeros_like(support) if allowed is None else ~allowed
    values = filters * support
    size = ((quota - support.sum(0)).clamp_min(0) + chunks - 1) // chunks
    stuck = torch.zeros_like(quota, dtype=torch.bool)
    correlation = cross - gram @ values             # X^T r
    while True:
        room = (quota - support.sum(0)).clamp_min(0)
        active = (room > 0) & ~stuck
        if not active.any():
            break
        gains = 2 * filters * correlation - filters.square() * power
        gains[support | barred] = -torch.inf
        take = torch.minimum(size.clamp_min(1), room)
        chosen = _best(gains, take) & (gains > 0) & active
        change = filters * chosen
        response = gram @ change
        joint = 2 * (change * correlation).sum(0) - (change * response).sum(0)
        helps = (joint > 0) & active
        support |= chosen & helps
        values += change * helps
        correlation -= response * helps
        # A single weight's gain is exact, so it can fail only by being no gain.
        single = chosen.sum(0) <= 1
        stuck |= active & ~helps & single
        size = torch.where(helps | single, size, chosen.sum(0) // 2)
    room = (quota - support.sum(0)).clamp_min(0)
    if room.any():
        potential = correlation.square() / power.clamp_min(torch.finfo(gram.dtype).tiny)
        potential[support | barred] = -torch.inf
        support |= _best(potential, room)
    return support, values


def _best(scores, counts):
    """The largest ``counts`` scores of each column, as bool."""
    most = int(counts.max())
    places = scores.topk(most, dim=0).indices
    within = torch.arange(most, device=scores.device)[:, None] < counts
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(0, places, within)


def refit(gram: torch.Tensor, cross: torch.Tensor, support: torch.Tensor,
          ridge: float = RIDGE) -> tuple[torch.Tensor, float]:
    """Least squares of the wanted outputs on each filter's support.

    Solves (X_S^T X_S + eps I) b = X_S^T y, with eps = ``ridge`` times the mean diagonal
    of the Gram matrix. For every a on the support, b's squared error is at most
    a's plus eps (|a|^2 - |b|^2).

    Parameters
    ----------
    gram : float64 Tensor, shape (fan_in, fan_in)
    cross : float64 Tensor, shape (fan_in, M)
    support : bool Tensor, shape (fan_in, M)
    ridge : float

    Returns
    -------
    values : float64 Tensor, shape (fan_in, M)
    eps : float
        The ridge term that was needed; it grows tenfold until all can be factored.
    """
    eps = ridge * float(gram.diagonal().mean())
    if eps <= 0:                    # the layer sees zeros only
        return torch.zeros_like(cross), 0.0
    if not (math.isfinite(eps) and torch.isfinite(cross).all()):
        raise ValueError("the layer's inputs or outputs are too large, or no numbers: "
                         "no least squares; normalise the calibration images")
    while True:
        values = _solve(gram, cross, support, eps)
        if values is not None:
            return values, eps
        eps *= 10


def _solve(gram, cross, support, eps):
    values = torch.zeros_like(cross)
    counts = support.sum(0)
    order = counts.argsort()
    order = order[counts[order] > 0]
    while len(order):
        # The largest first, so that a chunk is padded little.
        most = int(counts[order[-1]])
        filters = order[-max(1, CHUNK_WORDS // most**2):]
        order = order[:-len(filters)]
        places = support[:, filters].mT.int().argsort(
            dim=1, descending=True, stable=True)[:, :most]
        valid = torch.arange(most, device=gram.device) < counts[filters][:, None]
        part = gram[places[:, :, None], places[:, None, :]]
        part *= valid[:, :, None] & valid[:, None, :]
        part.diagonal(dim1=1, dim2=2).add_(
            torch.where(valid, gram.new_tensor(eps), gram.new_tensor(1.0)))
        wanted = cross.mT[filters].gather(1, places) * valid
        factor, info = torch.linalg.cholesky_ex(part)
        if info.any():
            return None
        solved = torch.cholesky_solve(wanted[..., None], factor)[..., 0]
        values[:, filters] = torch.zeros_like(values[:, filters]).scatter_(
            0, places.mT, (solved * valid).mT)
    return values
