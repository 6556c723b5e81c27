"""The folder of a sweep: one Parquet file a chunk, each there whole or not at all.

    RESULTS/part-000000.parquet     rows of the first chunk, and so on: the dataset
    RESULTS/_sweep.json             what the sweep is; readers of Parquet skip _ and .
    RESULTS/_base.parquet           rows of the hardware that the sweep starts from
    RESULTS/_lock                   held while a sweep writes

A chunk is done if its file is there: files come into being by a rename, so that a kill
at any moment costs the chunks in flight and nothing else.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet

from eyeriss_sim.atomic import LOCK, TEMPORARY, only_writer, replacing

if TYPE_CHECKING:
    from eyeriss_sim.sweep.spec import Spec

SPEC, BASE = "_sweep.json", "_base.parquet"
# Earlier versions called the chip's energy so, clock and leakage together clock_uJ, and
# had no other energy of a part in joules.
OLD_CHIP = "energy_uJ"
MOST_SHOWN = 60
# Keys that readers of a description look at, and their kinds.
FORM = {"fields": list, "networks": list, "constraints": dict, "rows for layers": bool,
        "chunks": int}


@contextmanager
def opened(folder: str | Path, spec: "Spec",
           resume: bool = True) -> "Iterator[Results]":
    """The results of a sweep, new or to be gone on with; nobody else writes meanwhile.

    Parameters
    ----------
    folder : str or Path
        Made if it isn't there.
    spec : Spec
    resume : bool
        False refuses a folder that has results.

    Yields
    ------
    Results

    Raises
    ------
    ValueError
        The folder is of another sweep (the difference is named), holds something else,
        or is being written to.
    OSError
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the results")
    described = spec.described()
    if folder.exists() and not (folder / SPEC).exists():
        others = [entry.name for entry in folder.iterdir()
                  if entry.name != LOCK and not entry.match(TEMPORARY)]
        if others:
            raise ValueError(f"{folder} holds no sweep, but {min(others)}; name a new "
                             f"folder for the results")
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder):
        # Files that a killed sweep was writing; its lock is gone, so nobody is.
        for left in folder.glob(TEMPORARY):
            left.unlink(missing_ok=True)
        if (folder / SPEC).exists():
            if not resume:
                raise ValueError(f"{folder} has results; name another folder, or leave "
                                 f"--no-resume out to go on with them")
            _check_same(folder, described)
        else:
            with replacing(folder / SPEC) as fresh:
                fresh.write_text(json.dumps(described, indent=1) + "\n", "utf-8")
        yield Results(folder, spec)


class Results:
    """The dataset of one sweep, chunk by chunk.

    Parameters
    ----------
    folder : Path
    spec : Spec
    """

    def __init__(self, folder: Path, spec: "Spec"):
        self.folder, self.spec = folder, spec

    def path(self, chunk: int) -> Path:
        """The file of a chunk."""
        return self.folder / f"part-{chunk:06d}.parquet"

    def missing(self) -> list[int]:
        """Chunks that are still to be run, ascending; what can't be read is one."""
        present = {entry.name for entry in self.folder.iterdir()}
        return [chunk for chunk in range(self.spec.chunks)
                if self.path(chunk).name not in present or not self._whole(chunk)]

    def _whole(self, chunk):
        """Whether a chunk's file can be read and has all rows: disks fail."""
        try:
            rows = pa.parquet.read_metadata(self.path(chunk)).num_rows
        except (pa.ArrowInvalid, OSError):
            return False
        return rows == self.spec.rows_of(chunk)

    def read(self, chunk: int) -> pa.Table:
        """The rows of a chunk that is there, as a table."""
        return pa.parquet.read_table(self.path(chunk))

    def write(self, chunk: int, table: pa.Table) -> None:
        """Add the rows of a chunk."""
        self._write(self.path(chunk), table)

    def write_base(self, table: pa.Table) -> None:
        """Note the rows of the hardware that the sweep starts from."""
        self._write(self.folder / BASE, table)

    def _write(self, path, table):
        with replacing(path) as fresh:
            pa.parquet.write_table(table, fresh)


def _check_same(folder, described):
    """Refuse to mix two sweeps; names the first difference."""
    there = read_description(folder)
    here = json.loads(json.dumps(described))
    if "columns" not in there:
        raise ValueError(f"{folder} was begun by an earlier version, which called "
                         f"chip_uJ {OLD_CHIP} and knew fewer columns; name another "
                         f"folder, or delete it")
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            raise ValueError(
                f"{folder} is of another sweep: {key} is {_short(there.get(key))} "
                f"there and {_short(here.get(key))} here; name another folder")


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN - 4] + " ..."


def read_description(folder: str | Path) -> dict[str, Any]:
    """Description of the sweep in a folder: ``Spec.described()``.

    Raises
    ------
    ValueError
        There is no sweep.
    """
    path = Path(folder) / SPEC
    if not path.is_file():
        raise ValueError(f"{folder} holds no results of a sweep; make them with "
                         f"eyeriss-sim sweep")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: can't be read: {problem}") from None
    for key, kind in FORM.items():
        if not isinstance(found, dict) or not isinstance(found.get(key), kind):
            raise ValueError(f"{path}: {key!r} is no {kind.__name__} in it, so that it "
                             "describes no sweep; run the sweep into another folder")
    for key, kind in (("fields", str), ("networks", str), ("values of batch", int),
                      ("values of objective", str)):
        values = found.get(key, [])
        fits = isinstance(values, list) and all(type(one) is kind for one in values)
        if not fits or (key == "networks" and not values):
            raise ValueError(f"{path}: {key!r} is no list of {kind.__name__}s in it; "
                             "run the sweep into another folder")
    return found


def read_results(folder: str | Path, columns: Sequence[str] | None = None,
                 where: Any = None) -> Any:
    """Rows of a sweep, in the order of its points.

    Parameters
    ----------
    folder : str or Path
    columns : list of str, optional
        All unless given.
    where : pyarrow.dataset.Expression, optional
        Rows to read; all unless given.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        No sweep is there, it has no rows yet, or an earlier version wrote it without
        one of the columns.
    """
    read_description(folder)
    parts = sorted(Path(folder).glob("part-*.parquet"))
    if not parts:
        raise ValueError(f"{folder} has no rows yet; run its sweep first")
    return _under_new_names(folder, pa.dataset.dataset(parts), columns, where)


def read_base(folder: str | Path) -> Any:
    """Rows of the hardware that a sweep started from, as a DataFrame."""
    return _under_new_names(folder, pa.dataset.dataset(Path(folder) / BASE))


def _under_new_names(folder, rows, columns=None, where=None):
    """Rows as a DataFrame, those of earlier versions under the names of today."""
    if OLD_CHIP not in rows.schema.names:
        for column in columns or ():
            if column not in rows.schema.names:
                raise ValueError(
                    f"{folder} was written by another version, which had no {column}; "
                    "run its sweep into another folder")
        return rows.to_table(columns, where).to_pandas()
    there = {name: pc.field(name) for name in rows.schema.names
             if name not in (OLD_CHIP, "clock_uJ")}
    there |= {"chip_uJ": pc.field(OLD_CHIP),
              "total_uJ_per_image": pc.field("total_uJ") / pc.field("batch")}
    for column in columns or ():
        if column not in there:
            raise ValueError(f"{folder} was written by an earlier version, which had "
                             f"no {column}; run its sweep into another folder")
    return rows.to_table({name: there[name] for name in columns or there},
                         where).to_pandas()
