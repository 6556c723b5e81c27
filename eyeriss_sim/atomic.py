"""Files that are either the old one or the whole new one."""

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path


TEMPORARY = ".*.tmp"        # files being written, as glob knows them


@contextmanager
def replacing(path):
    """Give a path to write to; what is written takes the place of ``path`` at the end.

    If the block raises, the old file stays as it was and the new one is removed.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    Path
        A new empty file in the same folder, hence on the same file system.

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
    except OSError as problem:      # the caller knows no file of that odd name
        raise type(problem)(problem.errno, problem.strerror, str(path)) from None
    try:
        if path.exists():
            shutil.copymode(path, fresh)
        yield fresh
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
