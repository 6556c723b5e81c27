"""Files that are either the old one or the whole new one, of one writer at a time."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

TEMPORARY = ".*.tmp"        # files being written, as glob knows them
LOCK = "_lock"              # in a folder, while something writes there


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; what is written takes the place of ``path`` at the end.

    If the block raises, the old file stays as it was and the new one is removed.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    Path
        A new empty file in the same folder, hence on the same file system.

    Raises
    ------
    OSError
        Names ``path``: the folder is closed to writing, the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with replacing(path) as fresh:
    ...     _ = fresh.write_text("layer")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('layer', 1)
    """
    # The file behind a link is replaced, not the link.
    path = Path(os.path.realpath(path))
    # Not mkstemp: its files are for the owner only, and a report is to be shared.
    fresh = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        fresh.open("xb").close()
        if path.exists():
            shutil.copymode(path, fresh)
        yield fresh
        os.replace(fresh, path)
    except BaseException as problem:
        with suppress(OSError):
            fresh.unlink()
        if isinstance(problem, OSError) and problem.filename in (None, str(fresh)):
            # The caller knows no file of that odd name; what writes to a full disk
            # names none at all.
            raise OSError(problem.errno or 0, problem.strerror or first_line(problem),
                          str(path)) from None
        raise


def first_line(problem: BaseException) -> str:
    """First line of an exception, or its name."""
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(problem).__name__


@contextmanager
def only_writer(folder: str | Path, lock: str = LOCK,
                place: str | Path | None = None) -> Iterator[None]:
    """Be the only one that writes results into a folder, which is made if need be.

    Parameters
    ----------
    folder : str or Path
    lock : str
        Name of the file in it that is locked; whose names differ do not meet.
    place : str or Path, optional
        What is written, as the refusal calls it; the folder unless given.

    Raises
    ------
    ValueError
        Another run is writing there.
    """
    folder = Path(folder)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{place or folder}: another run is writing there; wait for "
                         "it, or write elsewhere") from None
    try:
        yield
    finally:
        # Removed while it is held: who has opened it meanwhile holds a lock on nothing,
        # in a folder that is done.
        with suppress(OSError):
            (folder / lock).unlink()
        held.release()
        with suppress(OSError):     # where nothing was written, no folder is left
            for one in made:
                one.rmdir()


def only_writer_of(path: str | Path) -> AbstractContextManager[None]:
    """Be the only one that writes a file, or a folder that is replaced as a whole.

    The lock lies beside it, since it may not be there yet.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ValueError
        As :func:`only_writer`.
    """
    real = Path(os.path.realpath(path))
    return only_writer(real.parent, f".{real.name}.lock", path)
