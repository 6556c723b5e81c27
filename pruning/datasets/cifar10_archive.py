"""The two published layouts of CIFAR-10, read and checked; and their download.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the layouts
are described at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
import io
import lzma
import pickle
import tarfile
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import numpy as np

from eyeriss_sim.atomic import replacing
from pruning.pickle_check import check_growth

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"    # as that page prints it
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
FOLDERS = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
PIXELS = 3 * 32 * 32
RECORDS = 10_000        # of each file
CLASSES = 10
MOST_B = 2**29          # of an archive, unpacked; CIFAR-10 has some 185 million


def read_archive(path: str | Path, records: int = RECORDS) -> dict:
    """All images of an archive, as it was published.

    Parameters
    ----------
    path : str or Path
        ``cifar-10-batches-bin`` or ``cifar-10-batches-py``, a folder that has one of
        them, their ``.tar.gz``, or a folder that has it.
    records : int
        Images that each of the six files must have.

    Returns
    -------
    dict of str to (uint8 ndarray (records, 3, 32, 32), int64 ndarray (records,))
        Images and labels, by the name of the file.

    Raises
    ------
    ValueError
        No such archive, a missing file, a wrong size or number of records, a label
        above 9, a pickle with anything but arrays, bytes, lists and dictionaries.
    """
    path = find_archive(path)
    if path.is_dir():
        return read_files(path, records, FolderFiles(path))
    try:
        with tarfile.open(path, "r:*") as tar:
            found = read_files(path, records, TarFiles(tar))
            while tar.fileobj.read(1 << 20):    # to its checksum, which is at the end
                check_length(tar.fileobj.tell())
            return found
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as problem:
        why = (str(problem) or type(problem).__name__).splitlines()[0].rstrip(":")
        raise ValueError(f"{path}: not an archive of CIFAR-10, or damaged, or cut "
                         f"short: {why}") from None


def find_archive(path: str | Path) -> Path:
    """The folder or file that holds the batches, at ``path`` or right in it."""
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder; CIFAR-10 is needed there, "
                         "--download fetches it")
    inside = [path / name for name in (*FOLDERS.values(), *ARCHIVES)]
    for place in (*inside, path):
        if place.is_file() or any(
                (place / f"{BATCHES[0]}{ending}").exists() for ending in (".bin", "")):
            return place
    names = " nor ".join(FOLDERS.values())
    raise ValueError(f"{path}: holds neither {names} nor their .tar.gz; --download "
                     "fetches CIFAR-10")


class FolderFiles:
    """Files of a folder, by name."""

    def __init__(self, folder: Path):
        self.folder = folder

    def size_B(self, name: str) -> int | None:
        """Bytes of a file; None if there is none of that name."""
        file = self.folder / name
        return file.stat().st_size if file.is_file() else None

    def read(self, name: str) -> bytes:
        """Content of the file."""
        return (self.folder / name).read_bytes()


def check_length(unpacked_B: int) -> None:
    """Refuse an archive that is far longer than CIFAR-10, before it is unpacked."""
    if unpacked_B > MOST_B:
        raise tarfile.ReadError(f"it unpacks to more than {MOST_B:,} bytes")


class TarFiles:
    """Files of a tar archive, by the last part of their name; nothing is unpacked."""

    def __init__(self, tar: tarfile.TarFile):
        self.tar = tar
        self.members = {}
        for member in tar:
            check_length(member.offset_data + member.size)
            if member.isfile():
                self.members[Path(member.name).name] = member

    def size_B(self, name: str) -> int | None:
        """Bytes of a file; None if there is none of that name."""
        return self.members[name].size if name in self.members else None

    def read(self, name: str) -> bytes:
        """Content of the file."""
        # Only what has content is among the members.
        return cast(IO[bytes], self.tar.extractfile(self.members[name])).read()


def read_files(
        path: Path, records: int,
        files: FolderFiles | TarFiles) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The six files, in whichever layout they are."""
    binary = files.size_B(f"{BATCHES[0]}.bin") is not None
    found = {}
    for batch in BATCHES:
        name = f"{batch}.bin" if binary else batch
        size_B, exact_B = files.size_B(name), records * (1 + PIXELS)
        if size_B is None:
            raise ValueError(f"{path}: {name} is missing")
        # A pickle has labels and file names beside the pixels.
        if (binary and size_B != exact_B) or (not binary and not (
                records * PIXELS < size_B < exact_B + 100 * records + 10_000)):
            raise ValueError(
                f"{path}: {name} has {size_B:,} bytes; {records:,} records need "
                f"{exact_B:,}{'' if binary else ' and their names'}")
        read = read_binary if binary else read_pickle
        images, labels = read(f"{path}: {name}", files.read(name), records)
        if not 0 <= labels.min() <= labels.max() < CLASSES:
            raise ValueError(f"{path}: {name} has labels {labels.min()} to "
                             f"{labels.max()}; CIFAR-10 has 0 to {CLASSES - 1}")
        found[batch] = images.reshape(-1, 3, 32, 32), labels
    return found


def read_binary(where: str, content: bytes,
                records: int) -> tuple[np.ndarray, np.ndarray]:
    """One byte of label, then the pixels, red plane first."""
    table = np.frombuffer(content, np.uint8).reshape(records, 1 + PIXELS)
    return table[:, 1:], table[:, 0].astype(np.int64)


def read_pickle(where: str, content: bytes,
                records: int) -> tuple[np.ndarray, np.ndarray]:
    """A dictionary with ``data`` and ``labels``, pickled by Python 2."""
    try:
        check_growth(content)
        table = PixelUnpickler(io.BytesIO(content), encoding="bytes").load()
        table = {key.decode() if isinstance(key, bytes) else key: value
                 for key, value in table.items()}
        data, labels = table["data"], table["labels"]
    except KeyError as problem:
        raise ValueError(f"{where} has no {problem}") from None
    except Exception as problem:    # whatever a broken pickle makes Python stumble on
        raise ValueError(f"{where} is no batch of CIFAR-10: {problem}") from None
    if not isinstance(data, PickledArray):
        raise ValueError(f"{where}: data is a {type(data).__name__}, no array")
    if not (isinstance(labels, list) and len(labels) == records
            and all(type(label) is int for label in labels)):
        raise ValueError(f"{where}: labels must be a list of {records:,} whole numbers")
    return data.pixels(where, records), np.array(labels, np.int64)


class PickledArray:
    """Stands for a numpy array in a pickle; only keeps what the pickle says of it."""

    state: Any = None

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        self.state = state

    def pixels(self, where: str, records: int) -> np.ndarray:
        """The bytes as an array, if they are pixels."""
        try:
            _, shape, dtype, by_columns, content = self.state
            kind = dtype.kind
        except (TypeError, ValueError, AttributeError):
            raise ValueError(f"{where}: data is no numpy array") from None
        if (shape, kind, bool(by_columns), type(content)) != (
                (records, PIXELS), "u1", False, bytes) or (
                len(content) != records * PIXELS):
            raise ValueError(f"{where}: data must be uint8 of shape ({records}, "
                             f"{PIXELS}), got {kind} of shape {shape}")
        return np.frombuffer(content, np.uint8).reshape(shape)


class PickledType:
    """Stands for a numpy dtype in a pickle."""

    def __init__(self, kind: str | bytes, *_: object):
        self.kind = kind.decode() if isinstance(kind, bytes) else kind

    def __setstate__(self, state):
        pass


class PixelUnpickler(pickle.Unpickler):
    """Reads arrays, bytes, lists and dictionaries; calls nothing that a file names.

    Each name that such a pickle may hold stands for a class of this file, so not even
    numpy's own code sees what is in it.
    """

    known: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): PickledArray,
        ("numpy", "ndarray"): PickledArray,
        ("numpy", "dtype"): PickledType,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.known[module, name]


def download(folder: str | Path, url: str = URL, md5: str = MD5,
             progress: Callable | None = None) -> Path:
    """Fetch the binary archive, unless a folder has CIFAR-10 already.

    It is checked before it takes its name.

    Parameters
    ----------
    folder : str or Path
    url, md5 : str
        Address of the archive, and the hexadecimal checksum that it must have.
    progress : callable, optional
        Called with (bytes so far, bytes in all).

    Returns
    -------
    Path
        The archive, or what was there.

    Raises
    ------
    ValueError
        It cannot be fetched, or has another checksum.
    """
    try:
        return find_archive(folder)
    except ValueError:
        archive = Path(folder) / Path(url).name
    archive.parent.mkdir(parents=True, exist_ok=True)
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with replacing(archive) as fresh:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, fresh.open(
                    "wb") as target:
                total = int(source.headers.get("Content-Length") or 0)
                while piece := source.read(1 << 20):
                    target.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    if progress:
                        progress(done, total or None)
        except OSError as problem:
            raise ValueError(f"{url}: cannot be fetched: "
                             f"{getattr(problem, 'reason', problem)}") from None
        if digest.hexdigest() != md5:
            raise ValueError(f"{url}: {done:,} bytes with MD5 {digest.hexdigest()}, "
                             f"not {md5}; try again")
    return archive
