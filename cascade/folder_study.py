"""A study of networks in result folders, on the parts of a data set."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cascade.levels import (
    check_same_dense,
    dense_level,
    ladder_levels,
    pooled_levels,
)
from cascade.study import Study
from eyeriss_sim.oracle import EnergyOracle
from pruning.datasets import Splits

PARTS = ("selector", "choosing", "test")     # beside those that fitted


def folder_study(network: str, dense: str | Path,
                 ladders: str | Path | Sequence[str | Path], splits: Splits,
                 oracle: EnergyOracle | str = "eap_tool", batch: int | None = None, *,
                 cache: str | Path | None = None, parts: Sequence[str] = PARTS,
                 progress: Callable[[str], None] | None = None) -> Study:
    """Read levels, normalise images, run what is not in the cache.

    Parameters
    ----------
    network : str
        One of ``pruning.models.MODELS``.
    dense : str or Path
        Folder of the dense network: a training, or a finished ``density=1`` rung. All
        shares of energy, and points lost, are of it.
    ladders : path or sequence of paths
        Folders as ``eyeriss-prune run`` fills them; the levels of several are pooled.
        Rungs of ``network`` must come from ``dense``; those of another architecture
        come from whatever they were trained from.
    splits : pruning.datasets.Splits
    oracle : EnergyOracle or str
    batch : int, optional
        Both as :class:`Study` takes them.
    cache : str or Path, optional
        ``cascade`` in the first ladder's folder unless given.
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
        image among the others; no ladder.
    """
    places = [Path(ladders)] if isinstance(ladders, (str, Path)) else [
        Path(one) for one in ladders]
    if not places:
        raise ValueError("a cascade needs a ladder; eyeriss-prune run makes one")
    level, found = dense_level(dense)
    if found != network:
        raise ValueError(f"{dense} holds {found}, not {network}")
    images = {name: (splits.normalise(getattr(splits, name).images),
                     getattr(splits, name).labels) for name in ("fit", *parts)}
    rungs = pooled_levels([
        ladder_levels(place, level.network, network) for place in places])
    check_same_dense(level, [one for one in rungs if one.architecture == network])
    study = Study([level, *rungs], images, oracle, batch,
                  cache=cache or places[0] / "cascade", progress=progress)
    _ = study.costs     # what takes long is done while somebody is told
    return study
