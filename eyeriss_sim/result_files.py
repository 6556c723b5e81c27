"""A result as a file: CSV, JSON, Parquet or a page."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from eyeriss_sim.atomic import replacing

if TYPE_CHECKING:
    from eyeriss_sim.result import SimulationResult

FORMATS = (".csv", ".json", ".parquet", ".html")


def check_output_path(path: str | Path, formats: Sequence[str] = FORMATS) -> Path:
    """Refuse a path that can't be written to, before any work is done.

    Parameters
    ----------
    path : str or Path
    formats : sequence of str
        Suffixes that are known; those of ``write_table`` unless given.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        An unknown suffix, a folder, or a folder that is not there or is closed.

    Examples
    --------
    >>> check_output_path("table.xlsx")
    Traceback (most recent call last):
    ...
    ValueError: table.xlsx: no format for '.xlsx'; use .csv, .json, .parquet, .html
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, like "
                         f"{path / ('result' + formats[0])}")
    if path.suffix.lower() not in formats:
        raise ValueError(f"{path}: no format for {path.suffix!r}; use "
                         + ", ".join(formats))
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"{path}: the folder {path.parent} is closed to writing")
    return path


def write_table(result: "SimulationResult", path: str | Path) -> None:
    """Write the table in the format that the suffix names.

    A file that is there is replaced whole, or left as it is if anything fails.

    Parameters
    ----------
    result : SimulationResult
    path : str or Path
        ``.csv``: ``result.table``, a row a layer, every digit. ``.json``: the same,
        what all rows share under ``provenance``. ``.parquet``: the same with types.
        ``.html``: a page with figures for readers.

    Raises
    ------
    ValueError
        See ``check_output_path``.
    """
    path = check_output_path(path)
    write = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet,
             ".html": _write_html}[path.suffix.lower()]
    with replacing(path) as fresh:
        write(result, fresh)


def _write_csv(result, path):
    result.table.to_csv(path, index=False, lineterminator="\n")


def _write_json(result, path):
    layers = result.table.drop(columns=list(result.provenance))
    document = {
        "provenance": result.provenance,
        "layers": layers.to_dict("records"),
        "not_counted": [asdict(op) for op in result.network.not_counted],
        "notes": list(result.network.notes)}
    # NaN is not JSON, whatever Python thinks.
    text = json.dumps(document, indent=1, allow_nan=False)
    path.write_text(text + "\n", "utf-8")


def _write_parquet(result, path):
    import pyarrow as pa
    import pyarrow.parquet
    table = pa.Table.from_pandas(result.table, preserve_index=False)
    provenance = json.dumps(result.provenance).encode()
    metadata = {**table.schema.metadata, b"eyeriss_sim": provenance}
    table = table.replace_schema_metadata(metadata)
    pa.parquet.write_table(table, path)


def _write_html(result, path):
    # Brings in matplotlib, which takes longer to import than a network to simulate.
    from eyeriss_sim.html_report import render_html
    path.write_text(render_html(result), "utf-8")
