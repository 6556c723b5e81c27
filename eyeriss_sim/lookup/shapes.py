"""Layer shapes with operand widths: those of a CSV file, or a grid."""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.layer_csv import whole
from eyeriss_sim.near_names import hint
from eyeriss_sim.number_table import text_rows
from eyeriss_sim.plain import plain
from eyeriss_sim.widths import BITS_16, OPERANDS, Bits, as_bits

NEEDED = ("M", "C", "H", "W", "R", "S")
WIDTHS = tuple(f"{operand}_bits" for operand in OPERANDS)
# A layer's name is passed over: shapes are what the table is of.
OPTIONAL = ("N", "U", "V", "groups", "dilation", "padding", "steps", *WIDTHS, "layer")
PARTS = {"dilation": 2, "padding": 4}
FORMS = {1: "a positive whole number", 2: "a whole number or two as in 2x1",
         4: "a whole number or top x bottom x left x right as in 0x1x0x1"}
GRID = {"M": None, "C": None, "size": None, "kernel": None, "stride": [1],
        "groups": [1], "batch": [1], "bits": [16]}


class ShapeFile:
    """The shapes of a CSV file, read line by line each time that they are gone through.

    Columns: ``M, C, H, W, R, S`` and, where wanted, ``N, U, V, groups, dilation,
    padding, steps, ifmap_bits, filter_bits, ofmap_bits``, as in a table of layers: C
    counts the channels of one filter, H and W include the padding. An empty cell of an
    optional column is its default. Blank lines and lines that begin with # are skipped.

    Parameters
    ----------
    path : str or Path
    bits : Bits
        Widths where the file says none.
    """

    def __init__(self, path, bits=BITS_16):
        self.path, self.bits = Path(path), bits

    def __iter__(self):
        """(layer, bits) of each row; ValueError with the line of a bad one."""
        header = None
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            for line, cells in text_rows(file, self.path):
                if header is None:
                    header = self._checked(cells)
                else:
                    yield self._shape(f"{self.path}, line {line}", header, cells)

    def _checked(self, header):
        known = NEEDED + OPTIONAL
        for cell in header:
            if cell not in known:
                raise ValueError(f"{self.path}: unknown column {cell!r}; "
                                 f"{hint(cell, known)}known: {', '.join(known)}")
            if header.count(cell) > 1:
                raise ValueError(f"{self.path}: column {cell!r} repeats another; drop "
                                 "one")
        for column in NEEDED:
            if column not in header:
                raise ValueError(f"{self.path}: column {column!r} is missing; a table "
                                 f"of shapes needs {', '.join(NEEDED)}")
        return header

    def _shape(self, where, header, cells):
        if len(cells) != len(header):
            raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                             f"{len(header)}")
        sizes: dict[str, Any] = {}
        for column, cell in zip(header, cells, strict=True):
            if column == "layer" or (not cell and column in OPTIONAL):
                continue
            count = PARTS.get(column, 1)
            values = tuple(whole(part.strip()) for part in cell.lower().split("x"))
            if len(values) not in (1, count) or None in values:
                raise ValueError(f"{where}: column {column!r} holds {cell:.40}; write "
                                 f"{FORMS[count]}")
            sizes[column] = values if len(values) > 1 else values[0]
        widths = {operand: sizes.pop(f"{operand}_bits", getattr(self.bits, operand))
                  for operand in OPERANDS}
        try:
            bits = Bits(**widths)
            bits.check("the shape")
            return ConvLayer(name="the shape", **sizes), bits
        except ValueError as problem:
            raise ValueError(f"{where}: {problem}") from None


@dataclass(frozen=True)
class Grid:
    """All combinations of some sizes; square fmaps and filters, padded to keep size.

    Parameters
    ----------
    values : dict of str to list
        ``M, C, size, kernel`` and, where wanted, ``stride, groups, batch, bits``:
        filters; channels of one filter; height and width in pixels, to which
        ``kernel // 2`` pixels of padding are added on each side; filter height and
        width; and so on. Widths are what ``simulate(bits=)`` takes.

    Raises
    ------
    ValueError
        An unknown or missing name, or a name without a value.

    Examples
    --------
    >>> (layer, bits), *others = Grid({"M": 8, "C": [3, 4], "size": 14, "kernel": 3})
    >>> layer.H, layer.E, bits.ifmap, len(others)
    (16, 14, 16, 1)
    """

    values: dict

    def __post_init__(self):
        given = {}
        for name in self.values:
            if name not in GRID:
                raise ValueError(f"unknown size {name!r} of a grid; {hint(name, GRID)}"
                                 f"known: {', '.join(GRID)}")
        for name, default in GRID.items():
            values = self.values.get(name, default)
            if values is None:
                raise ValueError(f"a grid of shapes needs {name}, as in "
                                 f"{name}=[16, 32]")
            if isinstance(values, (str, dict, Bits)) or not hasattr(values, "__iter__"):
                values = [values]
            given[name] = [plain(value) for value in values]
            if not given[name]:
                raise ValueError(f"a grid of shapes needs a value of {name}")
        given["bits"] = [as_bits(one) for one in given["bits"]]
        object.__setattr__(self, "values", given)

    def __iter__(self):
        for M, C, size, kernel, stride, groups, batch, bits in itertools.product(
                *(self.values[name] for name in GRID)):
            padding = kernel // 2
            padded = size + 2 * padding
            yield ConvLayer(
                name=f"M={M} C={C} size={size} kernel={kernel} stride={stride}",
                N=batch, M=M, C=C, H=padded, W=padded, R=kernel, S=kernel, U=stride,
                groups=groups, padding=padding), bits


def shapes_of(given, bits=BITS_16):
    """Shapes that can be gone through again and again, (layer, bits) at a time.

    Parameters
    ----------
    given : str, Path, dict or list
        A CSV file, the values of a ``Grid``, or ConvLayers.
    bits : Bits
        Widths where nothing else says them.
    """
    if isinstance(given, dict):
        return Grid(given if "bits" in given else {**given, "bits": [bits]})
    if isinstance(given, (str, Path)):
        return ShapeFile(given, bits)
    layers = list(given)
    for layer in layers:
        if not isinstance(layer, ConvLayer):
            raise ValueError(f"a table is of ConvLayers, got {layer!r:.60}")
    return [(layer, bits) for layer in layers]


def distinct(shapes):
    """Find the shapes that are the first of their kind.

    Parameters
    ----------
    shapes : iterable of (ConvLayer, Bits)

    Returns
    -------
    first : bool ndarray, shape (shapes,)
    digest : str
        Digest of all distinct shapes in their order.

    Raises
    ------
    ValueError
        No shape, or a bad one.
    """
    keys, whole_digest = bytearray(), hashlib.sha256()
    for layer, bits in shapes:
        key = repr((tuple(layer.shape), layer.padding, layer.steps, bits)).encode()
        keys += hashlib.blake2b(key, digest_size=16).digest()
    if not keys:
        raise ValueError("there is no shape; give a row for each")
    halves = np.frombuffer(bytes(keys), np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 0], halves[:, 1]))        # stable: the first leads
    ranked = halves[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    first = np.zeros(len(order), bool)
    first[order[fresh]] = True
    whole_digest.update(halves[first].tobytes())
    return first, whole_digest.hexdigest()[:32]
