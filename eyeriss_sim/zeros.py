"""What is zero in a layer, and what that saves on a machine."""

import csv
from dataclasses import dataclass
from pathlib import Path

# Run-length code of the chip: three pairs of a 5-bit run and a 16-bit level, and a
# flag, in 64 bits (JSSC 2017, section V-B), so a non-zero takes 64/3 bits.
RLC_BITS_PER_LEVEL = 64 / 3
WORD_BITS = 16


@dataclass(frozen=True)
class Densities:
    """Shares of a layer's values that are not zero, each in 0..1, over padded fmaps."""

    ifmap: float = 1.0
    filter: float = 1.0
    ofmap: float = 1.0

    def check(self, layer_name):
        """Refuse a density that is no share."""
        for key in ("ifmap", "filter", "ofmap"):
            value = getattr(self, key)
            if not 0 <= value <= 1:
                raise ValueError(f"{layer_name}: {key} density must be in 0..1, "
                                 f"got {value!r}")


@dataclass(frozen=True)
class Zeros:
    """What the zeros of one layer save on one machine.

    Parameters
    ----------
    macs_left : float
        Share of the MACs, and of their spad accesses, that are not skipped.
    ifmap_ratio, filter_ratio, ofmap_ratio : float
        Words that cross the DRAM link over words of the uncoded stream.
    """

    macs_left: float
    ifmap_ratio: float
    filter_ratio: float
    ofmap_ratio: float


def rlc_ratio(density):
    """Coded over uncoded size of a stream of that density, expected.

    The code is switched off for a stream that it would not shrink, as the chip does for
    the first layer's input.

    Examples
    --------
    >>> rlc_ratio(0.375), rlc_ratio(1.0)
    (0.5, 1.0)
    """
    return min(1.0, density * RLC_BITS_PER_LEVEL / WORD_BITS)


def zeros_of(handling, densities, first_layer):
    """What densities save under a zero handling.

    Parameters
    ----------
    handling : {"dense", "gate_ifmap", "skip_either"}
    densities : Densities
    first_layer : bool
        The network's input is not run-length coded (JSSC 2017, section V-B).

    Returns
    -------
    Zeros
    """
    if handling == "dense":
        return Zeros(1.0, 1.0, 1.0, 1.0)
    ifmap_ratio = 1.0 if first_layer else rlc_ratio(densities.ifmap)
    ofmap_ratio = rlc_ratio(densities.ofmap)
    if handling == "gate_ifmap":
        return Zeros(densities.ifmap, ifmap_ratio, 1.0, ofmap_ratio)
    return Zeros(densities.ifmap * densities.filter, ifmap_ratio,
                 rlc_ratio(densities.filter), ofmap_ratio)


def read_densities(path):
    """Densities by layer name, from a CSV file with the columns layer, ifmap, filter,
    ofmap; a column that is left out stands for no zeros.

    Raises
    ------
    ValueError
        File, line and column of a bad cell; unknown columns list the known ones.
    OSError
        A file that can't be read.
    """
    known = ("layer", "ifmap", "filter", "ofmap")
    densities = {}
    header = None
    with Path(path).open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                if header is None:
                    header = _checked_header(cells, known, path)
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(cells) != len(header):
                    raise ValueError(f"{where}: {len(cells)} cells, but the header has "
                                     f"{len(header)} columns")
                cell_of = dict(zip(header, cells))
                name = cell_of.pop("layer")
                if name in densities:
                    raise ValueError(f"{where}: layer {name!r} stands here twice")
                densities[name] = Densities(**{
                    key: _share(cell, where, key) for key, cell in cell_of.items()})
        except (UnicodeDecodeError, csv.Error) as problem:
            raise ValueError(f"{path}: not a CSV file: {problem}") from None
    if not densities:
        raise ValueError(f"{path}: no densities in it; the columns are "
                         + ",".join(known))
    return densities


def _checked_header(cells, known, path):
    for cell in cells:
        if cell not in known:
            raise ValueError(f"{path}: unknown column {cell!r}; the columns are "
                             + ",".join(known))
        if cells.count(cell) > 1:
            raise ValueError(f"{path}: repeated column {cell!r}")
    if "layer" not in cells or len(cells) < 2:
        raise ValueError(f"{path}: needs the column layer and one of ifmap, filter, "
                         f"ofmap; got {','.join(cells)}")
    return cells


def _share(cell, where, key):
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{where}, column {key}: a density must be a number in 0..1, "
                         f"got {cell!r}")
    return value
