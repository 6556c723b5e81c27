"""Pareto fronts: the points that no other point beats."""

import numpy as np


def pareto(costs: np.ndarray) -> np.ndarray:
    """Places of the points that no other beats in one cost without losing in another.

    The first stands for all points that are equal in all costs.

    Parameters
    ----------
    costs : float array, shape (points, 2 or more)
        Small is better.

    Returns
    -------
    int64 ndarray
        Sorted by the first cost, the best first.

    Examples
    --------
    >>> pareto(np.array([[1, 9], [3, 6], [2, 5], [3, 5]])).tolist()
    [0, 2]
    """
    costs = np.asarray(costs, float)
    order = np.lexsort(costs.T[::-1])
    costs = costs[order]
    if costs.shape[1] == 2:
        least = np.minimum.accumulate(costs[:, 1])
        return order[np.concatenate([[True], np.diff(least) < 0])[:len(order)]]
    # Whoever beats a point comes before it, and has been kept, or been beaten by one.
    kept = np.empty_like(costs)
    places: list[int] = []
    for place, cost in enumerate(costs):
        if not (kept[:len(places)] <= cost).all(axis=1).any():
            kept[len(places)] = cost
            places.append(place)
    return order[places]
