"""Shares that fall from what there is to a target, step by step."""


def geometric(start: float, end: float, steps: int, floor: float = 0.0) -> list[float]:
    """Shares that lose the same part of what is above the floor at every step.

    Parameters
    ----------
    start, end : float
        Shares before the first and after the last step.
    steps : int
    floor : float
        Share that no pruning takes away.

    Returns
    -------
    list of float
        ``steps`` shares, the last of them ``end`` exactly.

    Examples
    --------
    >>> geometric(1.0, 0.25, 2)
    [0.5, 0.25]
    >>> [round(share, 3) for share in geometric(1.0, 0.4, 2, floor=0.3)]
    [0.565, 0.4]
    """
    if start <= floor or end > start:
        return [end] * steps
    ratio = max(0.0, end - floor) / (start - floor)
    return [floor + (start - floor) * ratio**(step / steps)
            for step in range(1, steps)] + [end]


def cubic(start: float, end: float, steps: int) -> list[float]:
    """Shares that fall fast at first and slowly at last (Zhu and Gupta, 2017).

    Examples
    --------
    >>> [round(share, 3) for share in cubic(1.0, 0.2, 2)]
    [0.3, 0.2]
    """
    return [end + (start - end) * (1 - step / steps)**3
            for step in range(1, steps)] + [end]


SCHEDULES = {"geometric": geometric,
             "cubic": lambda start, end, steps, floor: cubic(start, end, steps)}
