"""Mappings of a layer onto the array, and what refuses one that does not fit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eyeriss_sim.layer import EXACT, ConvLayer, Shape
from eyeriss_sim.plain import is_whole, plain, shown
from eyeriss_sim.product_maps import check_map, laid

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware

# The least that each number of a mapping can be.
LEAST = {**dict.fromkeys("mnepqrt", 1), "row_segments": 0, "column_strips": 1,
         "map_H": 0, "map_W": 0}


@dataclass(frozen=True)
class Mapping:
    """The way a layer runs on the array, in the letters of JSSC 2017 Table III.

    Parameters
    ----------
    m : int
        Ofmap channels whose psums stay in the global buffer.
    n : int
        Ifmaps of a processing pass.
    e : int
        Ofmap rows of a strip, the width of a PE set; on ``isca16`` hardware, whose
        analysis strips the other direction, ofmap columns.
    p, q : int
        Filters and channels interleaved in a PE.
    r, t : int
        PE sets that work on different channels and add up; on different filters.
    row_segments : int
        Pieces of nearly equal height that the filter rows are cut into, each a filter
        of its own whose psums meet in the global buffer; 0 for the fewest that the
        array is high enough for, which is one unless the filter is higher than it.
    column_strips : int
        Strips of nearly equal width that the ofmap's columns are cut into, run one
        after the other like narrower layers: each loads the ifmap columns under its
        own windows, those that neighbours share once more, and all filters.
    map_H, map_W : int
        Height and width of the map that the rows of a matrix product are laid on, where
        that is not the layer's own (``product_maps.py``); 0 for the layer's own.
    """

    m: int
    n: int
    e: int
    p: int
    q: int
    r: int
    t: int
    row_segments: int = 0
    column_strips: int = 1
    map_H: int = 0
    map_W: int = 0

    def __post_init__(self):
        for key in LEAST:
            object.__setattr__(self, key, plain(getattr(self, key)))

    @property
    def letters(self) -> tuple[int, int, int, int, int, int, int]:
        """The numbers m n e p q r t, in that order."""
        return self.m, self.n, self.e, self.p, self.q, self.r, self.t

    @property
    def cuts(self) -> str:
        """Pieces that filter rows R and ofmap columns F are cut into, as ``R2 F41``.

        Before them the map of a matrix product, as ``11x18``.
        """
        own_map = [f"{self.map_H}x{self.map_W}"] if self.map_H else []
        return " ".join(own_map + [f"{what}{pieces}" for what, pieces in (
            ("R", self.row_segments), ("F", self.column_strips)) if pieces > 1])

    def __str__(self):
        text = " ".join(f"{key}={getattr(self, key)}" for key in "mnepqrt")
        if self.row_segments:
            text += f" row_segments={self.row_segments}"
        if self.column_strips > 1:
            text += f" column_strips={self.column_strips}"
        if self.map_H:
            text += f" map_H={self.map_H} map_W={self.map_W}"
        return text


def check_mapping(layer: ConvLayer | Shape, hardware: "Hardware",
                  mapping: Mapping) -> None:
    """Refuse a mapping that the hardware cannot run.

    Raises
    ------
    ValueError
        Names the layer, the limit, by how much it is exceeded, and what to lower.
    """
    for key, least in LEAST.items():
        value = getattr(mapping, key)
        if not is_whole(value, least):
            raise ValueError(
                f"{layer.name}: {key} must be a whole number of at least {least}, "
                f"got {shown(value)}")
        if value > EXACT:
            raise ValueError(f"{layer.name}: {key} = {shown(value)} is more than any "
                             f"array has room for; lower {key}")
    check_map(layer, mapping)
    layer = laid(layer, mapping)
    for quantity, value, limit, what, cure in hardware.dataflow.limits(
            layer, hardware, mapping):
        if value > limit:
            raise ValueError(f"{layer.name}: {quantity} = {value} exceeds {what} of "
                             f"{limit} by {value - limit}; {cure}")
