"""A study of networks of the collection, from their result folders and CIFAR-10."""

from pathlib import Path

from cascade.levels import check_same_dense, dense_level, ladder_levels
from cascade.study import Study

PARTS = ("selector", "choosing", "test")     # beside those that fitted


def cifar10_study(network, dense, ladder, splits, oracle="eap_tool", batch=None, *,
                  cache=None, parts=PARTS, progress=None):
    """Read levels, normalise images, run what is not in the cache.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    dense : str or Path
        Folder of the dense network: a training, or a finished ``density=1`` rung.
    ladder : str or Path
        As ``eyeriss-prune run`` fills it.
    splits : pruning.datasets.Splits
    oracle : EnergyOracle or str
    batch : int, optional
        As :class:`Study` takes them.
    cache : str or Path, optional
        ``cascade`` in the ladder's folder unless given.
    parts : sequence of str
        Of the splits.
    progress : callable, optional
        As :class:`Study`.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        A folder of another network, or rungs of another training of it; a fitting
        image among the others.
    """
    level, found = dense_level(dense)
    if found != network:
        raise ValueError(f"{dense} holds {found}, not {network}")
    images = {name: (splits.normalise(getattr(splits, name).images),
                     getattr(splits, name).labels) for name in ("fit", *parts)}
    rungs = ladder_levels(ladder, level.network, network)
    check_same_dense(level, rungs)
    study = Study([level, *rungs], images, oracle, batch,
                  cache=cache or Path(ladder) / "cascade", progress=progress)
    study.costs     # what takes long is done while somebody is told
    return study
