"""Cascades and all their rivals on images that nothing was chosen by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cascade.bootstrap import below_hull, mean_interval, mean_over_seeds
from cascade.choose import (
    SELECTORS,
    as_choice,
    best,
    candidates,
    chance,
    choose,
    perfect,
)
from cascade.costs import floor_of
from cascade.curve import hull_energy, on_hull
from cascade.levels import stored_kB
from cascade.routers import systems
from cascade.study import Choice, Study

LOSSES = (0.0, 0.5, 1.0, 2.0, 3.0)      # points of accuracy below the dense network
CURVE = 20                              # points of a curve, at most
# Energies of rows that differ in one of these enter no hull and no figure together.
SETTING = ("hardware", "objective", "batch")
COLUMNS = ("network", "method", *SETTING, "seed", "split", "system", "level",
           "threshold", "accuracy", "energy_rel", "reference_uJ", "floor_rel",
           "share_mild", "ci_lo", "ci_hi")


@dataclass(frozen=True, eq=False)
class Entrant:
    """A study with its candidates, and what to call it.

    Parameters
    ----------
    study : Study
    candidates : pandas.DataFrame
        What :func:`cascade.choose.candidates` found.
    network, method : str
    seed : int
    floors : tuple of float
        Energy of each level without any prunable weight, the dense network's energy
        being 1: what channels cost goes with them.
    """

    study: Study
    candidates: pd.DataFrame
    network: str
    method: str
    seed: int
    floors: tuple
    name: dict = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "name", {
            "network": self.network, "method": self.method,
            "hardware": self.study.hardware,
            "objective": self.study.oracle.objective, "batch": self.study.batch,
            "seed": self.seed})

    def wanted(self, loss: float, part: str = "choosing") -> float:
        """The accuracy that lies ``loss`` points below the dense network's."""
        return self.study.outputs[0][part].accuracy - loss / 100

    def chosen(self, system: str, loss: float) -> Choice | None:
        """The choice of a system for a loss on the choosing images, or None."""
        table = self.candidates[self.candidates.system == system]
        try:
            return choose(table, self.study, accuracy=self.wanted(loss))[0]
        except ValueError:
            return None

    def levels(self, part: str,
               places: Sequence[int] | None = None) -> tuple[np.ndarray, ...]:
        """Single levels, all unless given: rights and costs, each shape (levels, N)."""
        found = [self.study.level(place, part) for place in (
            range(len(self.study.levels)) if places is None else places)]
        return tuple(np.stack([one[i] for one in found]) for i in (0, 1))

    def hull_levels(self, ladders: Sequence[str] | None = None) -> list[int]:
        """Places of the levels whose hull a system is measured against.

        They are chosen on the choosing images, as a cascade's are: those on the hull of
        all, and those on the hull of one ladder, so that the hull of all lies nowhere
        above that of one.

        Parameters
        ----------
        ladders : sequence of str, optional
            Only levels of these, and the dense network; of all unless given.
        """
        known = {level.ladder for level in self.study.levels[1:]}
        known = known if ladders is None else known & set(ladders)
        accuracies, energies = (one.mean(1) for one in self.levels("choosing"))
        found = {0}
        for some in (known, *({one} for one in known)):
            places = np.array([place for place, level in enumerate(self.study.levels)
                               if not place or level.ladder in some])
            chosen = on_hull(accuracies[places], energies[places])
            found |= set(places[chosen].tolist())
        return sorted(found)


def enter(study: Study, network: str, method: str, seed: int,
          progress: Callable[[int, int], None] | None = None) -> Entrant:
    """An entrant: every candidate looked at, the floors measured.

    Parameters
    ----------
    study : Study
    network, method : str
    seed : int
    progress : callable, optional
        Called with (pairs done, pairs in all).
    """
    dense = study.levels[0].network
    setting = study.strata, study.oracle
    floor = floor_of(dense, *setting)
    floors = tuple(floor_of(level.network, *setting, dense) if level.shrinks else floor
                   for level in study.levels)
    return Entrant(study, candidates(study, progress), network, method, seed, floors)


def curves(entrant: Entrant, part: str) -> pd.DataFrame:
    """All systems of an entrant on one part of the images.

    What a system offers was chosen on the choosing images: the points that no other
    of its own beats there.

    Returns
    -------
    pandas.DataFrame
        With ``COLUMNS``: accuracy and its 95 % interval over images; floor_rel of the
        level, of a pair's aggressive one, of a mix the least.
    """
    study, rows, rivals = entrant.study, [], {}

    def add(system, level, place, right, costs, threshold=np.nan, share=np.nan):
        rows.append((system, level, place, threshold, share, right, costs))

    rights, costs = entrant.levels(part)
    for place, level in enumerate(study.levels):
        add("single" if place else "dense", level.name, place, rights[place],
            costs[place])
    for system in systems():
        offered = entrant.candidates[entrant.candidates.system == system]
        if offered.empty:       # nothing to learn a selector from
            continue
        front = best(offered)
        places = np.unique(np.linspace(0, len(front) - 1, CURVE).round().astype(int))
        for _, row in front.iloc[places].iterrows():
            choice = as_choice(row)
            right, cost, stages = study.system(choice, part)
            share = (stages > 0).mean()
            add(system, level_name(study, choice), choice.levels[0], right, cost,
                choice.thresholds[0], share)
            rivals["random", choice.levels, share] = choice
            rivals["perfect", choice.levels, choice.routers] = choice
    for (system, levels, share), choice in rivals.items():
        if system == "random":
            right, cost = chance(study, choice, part, share)
            name = chain_name(study, levels)
        else:
            right, cost, share = perfect(study, choice, part)
            name = level_name(study, choice)
        add(system, name, levels[0], right, cost, share=share)
    low, high = mean_interval(np.stack([row[5] for row in rows]))
    table = pd.DataFrame([{
        **entrant.name, "split": part, "system": system, "level": level,
        "threshold": threshold, "accuracy": right.mean(), "energy_rel": cost.mean(),
        "reference_uJ": study.reference[0], "floor_rel": entrant.floors[place],
        "share_mild": share, "ci_lo": low[i], "ci_hi": high[i]}
        for i, (system, level, place, threshold, share, right, cost)
        in enumerate(rows)])
    singles = table[table.system.isin(("dense", "single"))]
    # With the levels themselves: between two of the others their corner is cut off.
    wanted = np.union1d(singles.accuracy, np.linspace(
        singles.accuracy.min(), singles.accuracy.max(), CURVE))
    energies = hull_energy(singles.accuracy.to_numpy(), singles.energy_rel.to_numpy(),
                           wanted)
    hull = pd.DataFrame([{
        **entrant.name, "split": part, "system": "hull", "level": "mixed",
        "accuracy": accuracy, "energy_rel": energy,
        "reference_uJ": study.reference[0], "floor_rel": min(entrant.floors)}
        for accuracy, energy in zip(wanted, energies, strict=True)])
    return pd.concat([table, hull], ignore_index=True)[list(COLUMNS)]


def network_table(study: Study) -> pd.DataFrame:
    """The single levels, as :func:`cascade.deadlines.serve.serve` takes them.

    Returns
    -------
    pandas.DataFrame
        name; ms and uJ of an image alone, since a deadline is that of one image and
        not of a batch's share; accuracy on the choosing images, by which a
        deadline's networks may be chosen; bytes of the weights as stored.
    """
    return pd.DataFrame([{
        "name": level.name, "ms": latency.part().mean(),
        "accuracy": outputs["choosing"].accuracy,
        "bytes": round(1000 * stored_kB(level.network)),
        "uJ": energy.part().mean()}
        for level, (energy, latency), outputs in zip(
            study.levels, study.costs, study.outputs, strict=True)])


def level_name(study: Study, choice: Choice) -> str:
    """A chain with its routers: ``dense>energy=0.4 margin``."""
    return " ".join((chain_name(study, choice.levels), *choice.routers))


def chain_name(study: Study, levels: Sequence[int]) -> str:
    """The levels of a chain, the last stage first: ``dense>energy=0.4``."""
    return ">".join(study.levels[level].name for level in reversed(levels))


def verdicts(entrants: Sequence[Entrant], part: str = "test") -> pd.DataFrame:
    """Each system at each loss, beside the hull of single levels; seeds together.

    Parameters
    ----------
    entrants : sequence of Entrant
        The seeds of one network, method, hardware, objective and batch.
    part : str

    Returns
    -------
    pandas.DataFrame
        loss (allowed on the choosing images), system, level (what was chosen, each
        seed's where they differ), share_mild (0 or 1: one network alone), lost
        (points, on ``part``), energy_rel, saved, worst_rel and worst_ms (energy and
        latency of an image that goes through all stages, alone), hull_rel (energy of
        the hull at the accuracy that was reached), below_hull with its interval low,
        high, and wins: the system lies below it on each seed, and the interval above
        zero; floor_rel of the aggressive levels. Systems that do not reach the accuracy
        for less than the dense network needs, on every seed, are left out.

        The hull is that of all levels of the study that lie on it on the choosing
        images. Beside it, own_hull_rel and below_own_hull are of the levels of the
        chain's own ladders alone, test_hull_rel and below_test_hull of the levels that
        are best on ``part`` itself, which only hindsight knows.
    """
    rows = []
    for loss in LOSSES:
        for system in systems():
            found: list[tuple] = []
            own: list[tuple] = []
            hindsight: list[tuple] = []
            lost, names, shares, floors, worst = [], [], [], [], []
            for entrant in entrants:
                choice = entrant.chosen(system, loss)
                if choice is None:
                    continue
                right, costs, stages = entrant.study.system(choice, part)
                ladders = [entrant.study.levels[one].ladder for one in choice.levels]
                for hull, places in ((found, entrant.hull_levels()),
                                     (own, entrant.hull_levels(ladders)),
                                     (hindsight, None)):
                    hull.append((right, costs, *entrant.levels(part, places)))
                worst.append(entrant.study.worst(choice, part))
                lost.append(100 * (entrant.wanted(0, part) - right.mean()))
                names.append(level_name(entrant.study, choice))
                shares.append((stages > 0).mean())
                floors.append(entrant.floors[choice.levels[0]])
            if len(found) < len(entrants):
                continue
            difference, low, high = below_hull(found)
            own_difference, test_difference = (below_hull(one, samples=0)[0]
                                               for one in (own, hindsight))
            each = [below_hull([one], samples=0)[0] for one in found]
            energy = float(np.mean([one[1].mean() for one in found]))
            rows.append({
                **{key: value for key, value in entrants[0].name.items()
                   if key != "seed"}, "seeds": len(entrants), "loss": loss,
                "system": system, "level": "; ".join(dict.fromkeys(names)),
                "share_mild": float(np.mean(shares)), "lost": float(np.mean(lost)),
                "energy_rel": energy, "saved": 1 - energy,
                "worst_rel": float(np.mean([one[0] for one in worst])),
                "worst_ms": float(np.mean([one[1] for one in worst])),
                "floor_rel": float(np.mean(floors)),
                "hull_rel": energy + difference, "below_hull": difference, "low": low,
                "high": high, "wins": low > 0 and min(each) > 0,
                "own_hull_rel": energy + own_difference,
                "below_own_hull": own_difference,
                "test_hull_rel": energy + test_difference,
                "below_test_hull": test_difference})
    return pd.DataFrame(rows)


def learned_against_free(entrants: Sequence[Entrant], free: str = "max_softmax",
                         part: str = "test") -> pd.DataFrame:
    """The learned selectors beside a free router of the same energy; seeds together.

    For each loss the free router is chosen, and then of the learned selectors the one
    that is most accurate for no more energy: all on the choosing images.

    Parameters
    ----------
    entrants : sequence of Entrant
        The seeds of one network, method, hardware, objective and batch.
    free : str
        A router that learns nothing.
    part : str

    Returns
    -------
    pandas.DataFrame
        loss; energy_free and energy_learned, of dense; points, by which the learned
        selector is more accurate, with its paired interval low, high.
    """
    rows = []
    for loss in LOSSES:
        gains, energies = [], []
        for entrant in entrants:
            study, table = entrant.study, entrant.candidates
            rival = entrant.chosen(free, loss)
            if rival is None:
                break
            spent = study.system(rival, "choosing")[1].mean()
            try:
                own, _ = choose(table[table.system == SELECTORS], study,
                                energy=min(spent, 1.0))
            except ValueError:          # nothing so cheap, or no selector at all
                break
            (right, costs, _), (theirs, other, _) = (
                study.system(one, part) for one in (own, rival))
            gains.append(100 * (right.astype(float) - theirs))
            energies.append((costs.mean(), other.mean()))
        if len(gains) < len(entrants):
            continue
        points, low, high = mean_over_seeds(gains)
        rows.append({
            **{key: value for key, value in entrants[0].name.items() if key != "seed"},
            "seeds": len(entrants), "loss": loss, "free": free,
            "energy_free": float(np.mean([one[1] for one in energies])),
            "energy_learned": float(np.mean([one[0] for one in energies])),
            "points": points, "low": low, "high": high})
    return pd.DataFrame(rows)


def shipped_router(entrants: Sequence[Entrant], loss: float) -> str | None:
    """The system that needs the least energy on the choosing images: the default.

    Parameters
    ----------
    entrants : sequence of Entrant
        Seeds, of which the mean counts.
    loss : float
        Points that may be lost.

    Returns
    -------
    str or None
        None where no system reaches that on every seed.
    """
    means: dict[str, float] = {}
    for system in systems():
        chosen = [(entrant, entrant.chosen(system, loss)) for entrant in entrants]
        energies = [entrant.study.system(choice, "choosing")[1].mean()
                    for entrant, choice in chosen if choice is not None]
        if len(energies) == len(entrants):
            means[system] = float(np.mean(energies))
    return min(means, key=lambda system: means[system], default=None)
