"""The look-up table: each distinct shape searched once, in chunks, resumable.

While a table is made, its chunks lie in a hidden folder beside it, each there whole or
not at all; the table itself appears at the end, as one Parquet file.
"""

import json
import shutil
from dataclasses import asdict
from itertools import compress, islice, takewhile
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet

from eyeriss_sim.atomic import TEMPORARY, only_writer_of, replacing
from eyeriss_sim.dataflows.base import OBJECTIVES
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.lookup.shapes import WIDTHS, shapes_of
from eyeriss_sim.lookup.shapes import distinct as first_of
from eyeriss_sim.near_names import hint
from eyeriss_sim.parallel import interrupts, results_of
from eyeriss_sim.result import layer_row, shape_columns
from eyeriss_sim.search import search, search_shape
from eyeriss_sim.simulate import cost_table, evaluate_shape, simulate_layer
from eyeriss_sim.version import VERSION
from eyeriss_sim.widths import OPERANDS, Bits, as_bits, at_widths
from eyeriss_sim.zeros import Densities

CHUNK_SHAPES = 500      # a chunk is what a kill can cost, and a row group of the file
DENSE = Densities()
SHAPE = (*"NMCHWRSUV", "groups")
FIGURES = {
    **dict.fromkeys((*"mnepqrt", "row_segments", "column_strips", "map_H", "map_W",
                     "passes", "active_pes", "macs", "cycles"), pa.int64()),
    **dict.fromkeys(("processing_ms", "total_ms", "glb_MB", "dram_MB", "energy_MAC",
                     "alu_uJ", "rf_uJ", "noc_uJ", "glb_uJ", "dram_uJ", "clock_uJ",
                     "leakage_uJ", "chip_uJ", "total_uJ", "power_mW", "utilization"),
                    pa.float64())}
PROVENANCE = ("objective", "hardware", "accounting", "zeros", "cost_table", "version")
SCHEMA = pa.schema([
    *((key, pa.int64()) for key in SHAPE), ("dilation", pa.string()),
    ("padding", pa.string()), ("steps", pa.int64()),
    *((width, pa.int64()) for width in WIDTHS), *FIGURES.items(),
    ("reason", pa.string()), *((key, pa.string()) for key in PROVENANCE)])
NOTE = b"eyeriss_sim.lookup"        # what a finished table says that it is of


def lookup_table(shapes, hardware="eyeriss_chip", objective=None, *, bits=None,
                 out=None, jobs=None, progress=None, stopping=None):
    """Mapping, latency and energy of many layer shapes, each distinct one once.

    Parameters
    ----------
    shapes : str, Path, dict or list
        A CSV file (``shapes.ShapeFile``); the values of a grid, ``{"M": [16, 32],
        "C": [16], "size": [14, 28], "kernel": [1, 3], "stride": [1, 2], "bits": [8]}``
        (``shapes.Grid``); or ConvLayers.
    hardware : Hardware or str
    objective : {"energy", "cycles", "edp", "joules", "edp_normalised"}, optional
        Objective of each search; the hardware's own unless given.
    bits : int, str, dict or Bits, optional
        Widths of the operands where the shapes say none; 16 unless given.
    out : str or Path, optional
        A ``.parquet`` file. The same call goes on with one that was killed; memory does
        not grow with the table but for some ten bytes a shape.
    jobs : int, optional
        Processes; one for each core unless given.
    progress : callable, optional
        Called with the shapes that are done and all.
    stopping : callable, optional
        Called at the first Ctrl-C, after which the chunks in flight are waited for.

    Returns
    -------
    pandas.DataFrame, or int if ``out`` is given
        A row for each distinct shape, in the order of their first: the shape, mapping,
        cycles, ms, uJ by part, and what they stand on; a shape that can't be mapped has
        a ``reason`` instead of figures. Or the number of rows.

    Raises
    ------
    ValueError
        A bad shape, with its line; nothing is written then.
    OSError

    Examples
    --------
    >>> table = lookup_table({"M": [8], "C": [4, 8], "size": 8, "kernel": 3}, jobs=1)
    >>> table[["C", "macs"]].values.tolist()
    [[4, 18432], [8, 36864]]
    """
    hardware = load_hardware(hardware)
    if objective is None:
        objective = hardware.objective
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; "
                         f"{hint(objective, OBJECTIVES)}known: {', '.join(OBJECTIVES)}")
    bits = as_bits(bits)
    if not isinstance(bits, Bits):
        raise ValueError("a table has its widths by shape, in columns "
                         + ", ".join(WIDTHS))
    shapes = shapes_of(shapes, bits)
    first, digest = first_of(shapes)
    work = Work(shapes, first, hardware, objective)
    progress = progress or (lambda done, every: None)
    if out is None:
        with interrupts(stopping) as interrupted:
            tables = dict(work.run(range(work.chunks), jobs, progress, interrupted))
        rows = [tables[chunk] for chunk in range(work.chunks)]
        return pa.concat_tables(rows).to_pandas()
    described = json.dumps({
        "version": VERSION, "shapes": digest, "objective": objective,
        "hardware": asdict(hardware), "columns": SCHEMA.names})
    return _write(Path(out), work, described, jobs, progress, stopping)


class Work:
    """The distinct shapes of a table, in chunks.

    Parameters
    ----------
    shapes : iterable of (ConvLayer, Bits)
        Gone through anew each time.
    first : bool ndarray, shape (shapes,)
        True for each shape that counts.
    hardware : Hardware
    objective : str
    """

    def __init__(self, shapes, first, hardware, objective):
        self.shapes, self.first = shapes, first
        self.hardware, self.objective = hardware, objective
        self.rows = int(first.sum())
        self.chunks = -(-self.rows // CHUNK_SHAPES)

    def rows_of(self, chunk):
        """Rows of a chunk."""
        return min(CHUNK_SHAPES, self.rows - chunk * CHUNK_SHAPES)

    def run(self, todo, jobs, progress, interrupted):
        """(chunk, table) of each chunk to do, in whatever order they are done."""
        todo = set(todo)
        done = self.rows - sum(map(self.rows_of, todo))
        progress(done, self.rows)

        def calls():
            kept = compress(self.shapes, self.first)
            for chunk in range(self.chunks):
                of_chunk = list(islice(kept, CHUNK_SHAPES))
                if chunk in todo:
                    yield joblib.delayed(_numbered)(
                        chunk, of_chunk, self.hardware, self.objective)

        going_on = takewhile(lambda call: not interrupted.is_set(), calls())
        for chunk, table in results_of(going_on, jobs):
            yield chunk, table
            done += self.rows_of(chunk)
            progress(done, self.rows)
        if interrupted.is_set():
            raise KeyboardInterrupt


def _numbered(chunk, shapes, hardware, objective):
    return chunk, evaluate_shapes(shapes, hardware, objective)


def evaluate_shapes(shapes, hardware, objective):
    """The rows of some shapes.

    Parameters
    ----------
    shapes : iterable of (ConvLayer, Bits)
    hardware : Hardware
    objective : str

    Returns
    -------
    pyarrow.Table
        Columns of ``SCHEMA``.
    """
    # Memory stays flat: another chunk has other shapes.
    for remembered in (search_shape, evaluate_shape):
        remembered.cache_clear()
    common = dict(zip(PROVENANCE, (
        objective, hardware.name, hardware.accounting, hardware.zeros,
        cost_table(hardware), VERSION), strict=True))
    rows = []
    for layer, bits in shapes:
        row = shape_columns(layer) | {"steps": layer.steps} | common
        row |= {f"{operand}_bits": getattr(bits, operand) for operand in OPERANDS}
        try:
            sized = at_widths(hardware, bits, layer.name)
            mapping = search(layer, sized, objective).mappings[0]
        except ValueError as problem:
            row["reason"] = str(problem)
        else:
            result = simulate_layer(layer, hardware, mapping, "", DENSE, True, bits)
            figures = layer_row(result, hardware, layer.N)
            row |= {column: figures[column] for column in FIGURES}
        rows.append(row)
    return pa.Table.from_pylist(rows, SCHEMA)


def _write(out, work, described, jobs, progress, stopping):
    """Make what is missing of a table, then the table; returns its rows."""
    if _is_made(out, described):
        progress(work.rows, work.rows)
        return work.rows
    folder = out.with_name(f".{out.name}.chunks")
    with only_writer_of(out), interrupts(stopping) as interrupted:
        _begin(folder, described)
        todo = [chunk for chunk in range(work.chunks)
                if not _is_whole(folder, chunk, work.rows_of(chunk))]
        for chunk, table in work.run(todo, jobs, progress, interrupted):
            with replacing(_part(folder, chunk)) as fresh:
                pa.parquet.write_table(table, fresh)
        schema = SCHEMA.with_metadata({NOTE: described.encode()})
        with replacing(out) as fresh, pa.parquet.ParquetWriter(fresh, schema) as writer:
            for chunk in range(work.chunks):
                writer.write_table(pa.parquet.read_table(
                    _part(folder, chunk)).replace_schema_metadata(schema.metadata))
        shutil.rmtree(folder)
    return work.rows


def _begin(folder, described):
    """A folder of this table's chunks: what another table left there goes."""
    note = folder / "_table.json"
    if folder.is_dir() and (not note.is_file() or note.read_text() != described):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    for left in folder.glob(TEMPORARY):
        left.unlink(missing_ok=True)
    with replacing(note) as fresh:
        fresh.write_text(described)


def _part(folder, chunk):
    return folder / f"part-{chunk:06d}.parquet"


def _is_whole(folder, chunk, rows):
    try:
        return pa.parquet.read_metadata(_part(folder, chunk)).num_rows == rows
    except (pa.ArrowInvalid, OSError):
        return False


def _is_made(out, described):
    try:
        noted = pa.parquet.read_schema(out).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return False
    return noted.get(NOTE) == described.encode()
