"""A study of networks of the collection, from their result folders and CIFAR-10."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cascade.levels import check_same_dense, dense_level, ladder_levels
from cascade.study import Study
from eyeriss_sim.oracle import EnergyOracle
from pruning.datasets import Splits

PARTS = ("selector", "choosing", "test")     # beside those that fitted


def cifar10_study(network: str, dense: str | Path, ladder: str | Path, splits: Splits,
                  oracle: EnergyOracle | str = "eap_tool", batch: int | None = None, *,
                  cache: str | Path | None = None, parts: Sequence[str] = PARTS,
                  progress: Callable[[str], None] | None = None) -> Study:
    """Read levels, normalise images, run what is not in the cache.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    dense : str or Path
        Folder of the dense network: a training, or a finished ``density=1`` rung.
    ladder : str or Path
        A folder as ``eyeriss-prune run`` fills it.
    splits : pruning.datasets.Splits
    oracle : EnergyOracle or str
    batch : int, optional
        Both as :class:`Study` takes them.
    cache : str or Path, optional
        ``cascade`` in the ladder's folder unless given.
    parts : sequence of str
        Parts of the splits.
    progress : callable, optional
        What :class:`Study` calls.

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
    _ = study.costs     # what takes long is done while somebody is told
    return study
