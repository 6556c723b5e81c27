"""Processing passes on the array: set up, stepped, refused when they stand still."""

from dataclasses import dataclass

import numpy as np

from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.schedule import schedule
from eyeriss_sim.machine.standstill import explain_standstill
from eyeriss_sim.mapping import Mapping


@dataclass(frozen=True, eq=False)
class Stepped:
    """Results of passes that ran on into each other.

    Parameters
    ----------
    cycles : int64 ndarray, shape (passes,)
        From the last psum of the pass before, or the start, to the last of its own.
    events : int64 ndarray, shape (14,)
        Words and operations, axes as in ``array``.
    spent : int64 ndarray, shape (8,), PE-cycles
    use : int64 ndarray, shape (4, 3)
        First cycle, last cycle and uses of each network.
    pes : int64 ndarray, shape (PEs, 6)
        Each PE at the end, axes as in ``array``.
    """

    cycles: np.ndarray
    events: np.ndarray
    spent: np.ndarray
    use: np.ndarray
    pes: np.ndarray


def step_passes(layer: ConvLayer, mapping: Mapping, ifmap: np.ndarray, filt: np.ndarray,
                psums: np.ndarray, row_of: np.ndarray, micro: np.ndarray,
                in_pass: int | None = None,
                trace: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
                ) -> Stepped:
    """Step passes over the same ifmaps, each with its share of the filters.

    Parameters
    ----------
    layer : ConvLayer
    mapping : Mapping
    ifmap : int16 ndarray, shape (images, channels, rows, columns)
        Rows that some PE needs.
    filt : int16 ndarray, shape (filters, channels, R, S)
    psums : int16 ndarray, shape (images, filters, e, F), C order, written
    row_of : int ndarray, shape (R, e)
        Row of ``ifmap`` that the PE of a filter row and an ofmap row works on.
    micro : int64 ndarray, shape (24,)
    in_pass : int, optional
        Filters of a pass, p t if not given; the last has what is left.
    trace : tuple of ndarray, optional
        Arrays of ``array.trace_arrays``, written.

    Returns
    -------
    Stepped

    Raises
    ------
    ValueError
        Nothing moves any more, or words are left in FIFOs.
    """
    filters, channels, _, S = filt.shape
    if in_pass is None:
        in_pass = mapping.p * mapping.t
    plan = schedule(tuple(map(tuple, np.asarray(row_of).tolist())), channels, filters,
                    mapping.p, mapping.q, in_pass, S,
                    tuple(micro[[array.NET_F, array.NET_P_IN,
                                 array.NET_P_OUT]].tolist()),
                    bool(micro[array.DOWNWARDS]))
    passes = -(-filters // in_pass)
    pes = plan.own_q.size * plan.own_p.shape[1]
    record = array.Record(
        events=np.zeros(array.EVENT_AXES, np.int64),
        spent=np.zeros(array.SPENT_AXES, np.int64), ends=np.zeros(passes, np.int64),
        at=np.zeros((array.NETWORKS, 4), np.int64),
        use=np.zeros((array.NETWORKS, 3), np.int64),
        pes=np.zeros((pes, array.PE_AXES), np.int64))
    sizes = array.Sizes(mapping.p, mapping.q, in_pass, layer.V, layer.dilation[1],
                        psums.shape[3])
    cycles = array.run_pass(array.Words(ifmap, filt, psums), plan, sizes, micro, record,
                            *trace)
    if cycles < 0:
        raise ValueError(explain_standstill(layer, mapping, micro, plan, passes,
                                            record.at, record.pes))
    left_over = record.events[array.LEFT_OVER]
    if left_over:
        raise ValueError(f"{layer.name}: {left_over} words were left in FIFOs at the "
                         "end of a pass")
    return Stepped(np.diff(record.ends, prepend=0), record.events, record.spent,
                   record.use, record.pes)
