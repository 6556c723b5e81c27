"""Reports of the machine beside the counting model: tables and JSON."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.table import Table

from eyeriss_sim.atomic import replacing
from eyeriss_sim.counts import Counts
from eyeriss_sim.cycles import Cycles
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import DIRECTIONS, DRAM, IFMAP, KINDS, LEVELS, PSUM, READ, WRITE
from eyeriss_sim.machine.functional import ModelOfRun
from eyeriss_sim.machine.layer_run import LayerRun
from eyeriss_sim.machine.timing import CAUSES, LayerTiming
from eyeriss_sim.mapping import Mapping

# Column headings that let a line keep within 100 columns.
SHORT = {"mac": "MAC", "wait_filter": "filt?", "wait_ifmap": "ifmap?",
         "wait_psum_in": "psum?", "wait_psum_out": "out?", "accumulate": "accum.",
         "shift": "shift", "finished": "done"}


def pass_table(timing: LayerTiming) -> Table:
    """Each kind of pass: its size, how often it runs, its cycles and their causes."""
    table = Table(title="Passes of each kind: cycles alone and in a stream; an average "
                        "PE (?: waits)",
                  title_justify="left", box=None, pad_edge=False)
    for heading in ("times", "n", "e", "F", "M", "C", "R", "S", "alone", "stream",
                    *SHORT.values()):
        table.add_column(heading, justify="right")
    for one in timing.passes:
        kind = one.kind
        table.add_row(*(f"{value}" for value in (
            one.times, kind.images, kind.rows_out, kind.columns_out, kind.filters,
            kind.channels, kind.R, kind.S, one.isolated_cycles, one.streaming_cycles,
            *(round(one.causes[cause]) for cause in CAUSES))))
    return table


def cycle_lines(timing: LayerTiming, cycles: Cycles, hardware: Hardware,
                run: LayerRun | None = None) -> str:
    """Processing cycles of the machine beside the counting model's.

    Timing mode has no zeros to code: a second line tells loads and dumps without code.
    """
    processing = (timing if run is None else run).phases.processing
    per_ms = hardware.clock_MHz * 1e3
    line = (f"processing: machine {processing:,} cycles "
            f"({processing / per_ms:.2f} ms)")
    if run is None and not timing.complete:
        return line + ", of the kinds of pass above only"
    difference = 100 * (cycles.processing / processing - 1)
    line += f", counting model {cycles.processing:,} ({difference:+.2f} %)"
    if run is None:
        line += f"\nfmap loads and dumps, uncoded: {timing.fmap_cycles:,}"
    return line


def run_table(run: LayerRun, model: ModelOfRun) -> Table:
    """Cycles and words on the DRAM link of functional mode, beside the model's."""
    phases, cycles = run.phases, model.cycles
    table = Table(title=f"{len(run.pass_cycles):,} passes on random words, half of the "
                        "ifmap's zero, with a ReLU",
                  title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for heading in ("machine", "counting model", "difference"):
        table.add_column(heading, justify="right")
    uncoded = run.accesses[DRAM]
    for name, ours, theirs in (
            ("cycles of passes", phases.array, cycles.processing - cycles.dram_filter),
            ("cycles of waits for filters", phases.filter_wait, cycles.dram_filter),
            ("cycles of ifmap loads and ofmap dumps",
             phases.ifmap_load + phases.ofmap_dump, cycles.dram_fmap),
            ("cycles in all", phases.total, cycles.total),
            (f"ifmap words on the link, of {uncoded[IFMAP, READ]:,}",
             run.ifmap_dram_words, model.ifmap_dram_words),
            (f"ofmap words on the link, of {uncoded[PSUM, WRITE]:,}",
             run.ofmap_dram_words, model.ofmap_dram_words)):
        table.add_row(name, f"{ours:,}", f"{theirs:,}", f"{ours - theirs:,}")
    return table


def access_table(machine: np.ndarray, model: np.ndarray) -> Table:
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


def write_json(path: str | Path, layer: ConvLayer, hardware: Hardware, mapping: Mapping,
               timing: LayerTiming, model: tuple[Counts, Cycles],
               run: LayerRun | None = None,
               model_of_run: ModelOfRun | None = None) -> None:
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
        Run of functional mode, with its accesses and the cycles of each of its passes.
    model_of_run : ModelOfRun, optional
        The counting model told of the zeros of functional mode, in ``model``'s place.
    """
    accesses, cycles = model[0].accesses, model[1]
    if model_of_run is not None:
        accesses, cycles = model_of_run.accesses, model_of_run.cycles
    phases = (timing if run is None else run).phases
    content = {
        "layer": layer.name, "hardware": hardware.name, "mapping": asdict(mapping),
        "mode": "timing" if run is None else "functional",
        "passes": [{**asdict(one.kind), "times": one.times,
                    "isolated_cycles": one.isolated_cycles,
                    "streaming_cycles": one.streaming_cycles,
                    "filter_fetch_cycles": one.filter_fetch_cycles,
                    "cycles_by_cause": one.causes} for one in timing.passes],
        "processing_cycles": timing.processing_cycles,
        "fmap_cycles": phases.ifmap_load + phases.ofmap_dump,
        "phases": asdict(phases),
        "counting_model": asdict(cycles),
    }
    if run is not None and model_of_run is not None:
        content["cycles_of_each_pass"] = run.pass_cycles.tolist()
        content["ifmap_dram_words"] = run.ifmap_dram_words
        content["ofmap_dram_words"] = run.ofmap_dram_words
        content["counting_model_ifmap_dram_words"] = model_of_run.ifmap_dram_words
        content["counting_model_ofmap_dram_words"] = model_of_run.ofmap_dram_words
        content["macs"] = run.macs
    if timing.complete:
        machine = timing.accesses if run is None else run.accesses
        content["accesses"] = access_rows(machine, accesses)
    with replacing(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n",
                         encoding="utf-8")


def access_rows(machine: np.ndarray, model: np.ndarray) -> list[dict]:
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
        rows.append({"level": LEVELS[level].upper(), "kind": KINDS[kind],
                     "direction": DIRECTIONS[direction], "machine": ours,
                     "counting_model": theirs, "difference": ours - theirs})
    return rows
