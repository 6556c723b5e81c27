"""What the machine did, beside the counting model: tables and JSON."""

import json
from dataclasses import asdict

import numpy as np
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.counts import DIRECTIONS, KINDS, LEVELS
from eyeriss_sim.machine.timing import CAUSES


# Column headings that let a line keep within 100 columns.
SHORT = {"mac": "MAC", "wait_filter": "filter?", "wait_ifmap": "ifmap?",
         "wait_psum_in": "psum?", "wait_psum_out": "out?", "accumulate": "accum.",
         "shift": "shift", "finished": "done"}


def pass_table(timing):
    """Each kind of pass: its size, how often it runs, its cycles and their causes."""
    table = Table(title="Passes of each kind: cycles alone and in a stream; an average "
                        "PE (?: waits)",
                  title_justify="left", box=None, pad_edge=False)
    for heading in ("times", "n", "e", "M", "C", "R", "S", "alone", "stream",
                    *SHORT.values()):
        table.add_column(heading, justify="right")
    for one in timing.passes:
        kind = one.kind
        table.add_row(*(f"{value}" for value in (
            one.times, kind.images, kind.rows_out, kind.filters, kind.channels, kind.R,
            kind.S, one.isolated_cycles, one.streaming_cycles,
            *(round(one.causes[cause]) for cause in CAUSES))))
    return table


def cycle_line(timing, cycles, hardware):
    """Processing cycles of the machine beside the counting model's, in one line."""
    per_ms = hardware.clock_MHz * 1e3
    line = (f"processing: machine {timing.processing_cycles:,} cycles "
            f"({timing.processing_cycles / per_ms:.2f} ms)")
    if not timing.complete:
        return line + ", of the kinds of pass above only"
    difference = 100 * (cycles.processing / timing.processing_cycles - 1)
    return (f"{line}, counting model {cycles.processing:,} ({difference:+.2f} %); fmap "
            f"loads and dumps, uncoded: {timing.fmap_cycles:,}")


def access_table(machine, model):
    """Accesses of both, level by level; one row for each that occurs."""
    table = Table(title="Accesses, words", title_justify="left", box=None,
                  pad_edge=False)
    for heading in ("level", "kind", "direction"):
        table.add_column(heading)
    for heading in ("machine", "counting model", "difference"):
        table.add_column(heading, justify="right")
    for row in access_rows(machine, model):
        table.add_row(*(f"{value:,}" if isinstance(value, int) else value
                        for value in row.values()))
    return table


def write_json(path, layer, hardware, mapping, timing, model, run=None):
    """Write ``{"passes": [{"isolated_cycles": ..., ...}, ...], ...}``.

    Parameters
    ----------
    path : str or Path
        An old file is replaced whole.
    layer, hardware, mapping
    timing : LayerTiming
        Each kind of pass becomes an entry of ``passes``.
    model : tuple of (Counts, Cycles)
        The counting model's.
    run : LayerRun, optional
        Of functional mode: its accesses, and the cycles of each of its passes.
    """
    counts, cycles = model
    content = {
        "layer": layer.name, "hardware": hardware.name, "mapping": asdict(mapping),
        "mode": "timing" if run is None else "functional",
        "passes": [{**asdict(one.kind), "times": one.times,
                    "isolated_cycles": one.isolated_cycles,
                    "streaming_cycles": one.streaming_cycles,
                    "filter_fetch_cycles": one.filter_fetch_cycles,
                    "cycles_by_cause": one.causes} for one in timing.passes],
        "processing_cycles": timing.processing_cycles,
        "fmap_cycles": timing.fmap_cycles,
        "phases": asdict((timing if run is None else run).phases),
        "counting_model": asdict(cycles),
    }
    if run is not None:
        content["cycles_of_each_pass"] = run.pass_cycles.tolist()
        content["ifmap_dram_words"] = run.ifmap_dram_words
        content["ofmap_dram_words"] = run.ofmap_dram_words
        content["macs"] = run.macs
    if timing.complete:
        machine = timing.accesses if run is None else run.accesses
        content["accesses"] = access_rows(machine, counts.accesses)
    with replacing(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n",
                         encoding="utf-8")


def access_rows(machine, model):
    """Accesses of both that occur, and machine less model, in words.

    Parameters
    ----------
    machine, model : int64 ndarray, shape (4, 3, 5)

    Returns
    -------
    list of dict
        level, kind, direction, machine, counting_model, difference.
    """
    rows = []
    for place in np.argwhere((machine != 0) | (model != 0)).tolist():
        level, kind, direction = place
        ours, theirs = int(machine[tuple(place)]), int(model[tuple(place)])
        rows.append({"level": LEVELS[level], "kind": KINDS[kind],
                     "direction": DIRECTIONS[direction], "machine": ours,
                     "counting_model": theirs, "difference": ours - theirs})
    return rows
