"""Who waits for whom when nothing moves on the machine any more."""

from collections.abc import Iterator

import numpy as np

from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.schedule import Schedule
from eyeriss_sim.mapping import Mapping

NEEDS = {array.WAIT_FILTER: "a filter word", array.WAIT_IFMAP: "an ifmap word",
         array.WAIT_PSUM_IN: "a psum from below",
         array.WAIT_PSUM_OUT: "room in its psum output FIFO"}


def explain_standstill(layer: ConvLayer, mapping: Mapping, micro: np.ndarray,
                       plan: Schedule, passes: int, at: np.ndarray,
                       pes: np.ndarray) -> str:
    """One line: what the lowest waiting PE lacks, and what blocks each network.

    Parameters
    ----------
    layer, mapping, micro, plan
        The arguments of the step.
    passes : int
    at : int64 ndarray, shape (4, 4)
        Step, turn, image and pass at which each network stands.
    pes : int64 ndarray, shape (PEs, 5)
        State of each PE, and words in its FIFOs.

    Returns
    -------
    str
    """
    columns = plan.own_p.shape[1]

    def named(pe):
        return f"PE {pe // columns},{pe % columns}"

    waits = [f"{named(pe)} waits for {NEEDS[pes[pe, array.DOING]]}"
             for pe in range(len(pes)) if pes[pe, array.DOING] in NEEDS][:1]
    waits += [f"the {name} network waits for {count} free words of the "
              f"{micro[depth]}-word {fifo} FIFO of {named(pe)}"
              for name, count, depth, fifo, pe in blocked(micro, plan, passes, at, pes)]
    return (f"{layer.name}: nothing moved for {micro[array.PATIENCE]} cycles of a pass "
            f"under {mapping}: {'; '.join(waits)}; deepen the FIFOs of [machine]")


def blocked(micro: np.ndarray, plan: Schedule, passes: int, at: np.ndarray,
            pes: np.ndarray) -> Iterator[tuple[str, int, int, str, int]]:
    """(network, words, axis of the depth, FIFO, PE) of each that finds no room."""
    for net, name, depth, held, fifo in (
            (array.FILTER_NET, "filter", array.FILTER_FIFO, array.IN_FILTER_FIFO,
             "filter"),
            (array.IFMAP_NET, "ifmap", array.IFMAP_FIFO, array.IN_IFMAP_FIFO, "ifmap"),
            (array.PSUM_IN_NET, "psum", array.PSUM_IN_FIFO, array.IN_PSUM_IN_FIFO,
             "psum input")):
        step, one = at[net, array.STEP], at[net, array.PASS]
        if one == passes:
            continue
        kind = int(one == passes - 1)
        if net == array.FILTER_NET:
            first, words = plan.filters[kind, step, :2].tolist()
            targets = np.arange(first, first + plan.place.shape[2])
        elif net == array.IFMAP_NET:
            words, (_, row, first) = 1, plan.ifmaps[step].tolist()
            targets = first + plan.targets[row, :plan.target_counts[kind, row]]
        else:
            pe, words = plan.psums_in[kind, step, :2].tolist()
            targets = np.array([pe])
        for pe in targets:
            if pes[pe, held] + words > micro[depth]:
                yield name, words, depth, fifo, pe
                break
