"""A place for compiled kernels where neither the package nor the home is writable.

Importing this is enough; it has to come before any kernel is defined.
"""

import logging
import os
import stat
import tempfile
from pathlib import Path

import numba


def ensure_kernel_cache() -> None:
    """Point Numba to a temporary folder, said in one line, if it has no place else.

    Numba keeps what it compiled beside the source, or else in the user's home, and
    raises where both are closed to writing, before a single kernel runs.
    """
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        folder = private_folder()
        numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(folder)
        logging.getLogger("eyeriss_sim").warning(
            "eyeriss-sim: neither the package nor the home folder is open to writing; "
            "compiled kernels are kept in %s", folder)


def _probe():
    """A function by which Numba looks for a place; never compiled."""


def private_folder() -> Path:
    """A temporary folder that nobody else can write to, the same one each time.

    Compiled code in it is run, so one that somebody else may have filled is left alone.
    """
    folder = Path(tempfile.gettempdir()) / f"eyeriss_sim_kernels_{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not (
                stat.S_IMODE(found.st_mode) & 0o077):
            return folder
    except OSError:
        pass                        # a file of that name, say
    return Path(tempfile.mkdtemp(prefix="eyeriss_sim_kernels_"))


ensure_kernel_cache()
