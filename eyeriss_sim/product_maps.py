"""Rows of a matrix product as the pixels of a map, a few of them padding if that pays.

A filter of one tap that visits every pixel has no neighbours to read: its layer is a
matrix product, the same in whatever map its pixels are laid. How they are laid decides
how well the array is filled. A number of rows that fills no map near to a square may be
laid on a map a little larger, whose last pixels are padding, zeros that run through the
machine and cost what pixels cost. The search takes whichever costs least; a mapping
names it as ``map_H`` and ``map_W``.
"""

from dataclasses import replace
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from eyeriss_sim.layer import ConvLayer, Shape

if TYPE_CHECKING:
    from eyeriss_sim.mapping import Mapping

Sized = TypeVar("Sized", bound=ConvLayer | Shape)

# Width over height up to which a map is near enough to a square, and how many larger
# maps are tried where the rows fill none.
WIDEST, LARGER_MAPS = 2, 3
# Finding a larger map tries as many heights as the root of its pixels has units.
MOST_PIXELS = 2**40


@lru_cache(maxsize=4096)
def squarest_map(pixels: int) -> tuple[int, int]:
    """Height and width of a map of so many pixels, as near to each other as can be.

    Of one long row a PE set is a single column: what fills the array then is many
    filters and channels at once, which costs buffer and accesses, and which a search
    for energy alone leaves. This is the map that a network flattened, where that was
    square.

    Parameters
    ----------
    pixels : int

    Returns
    -------
    (H, W) : tuple of int
        H <= W; a prime number of pixels is one row.

    Examples
    --------
    >>> squarest_map(3136), squarest_map(14), squarest_map(197)
    ((56, 56), (2, 7), (1, 197))
    """
    H = max(1, isqrt(pixels))
    while pixels % H:
        H -= 1
    return H, pixels // H


def is_product(layer: ConvLayer) -> bool:
    """True if the pixels of a layer have no neighbours to read, nor padding."""
    return (layer.R, layer.S, layer.U, layer.V) == (1, 1, 1, 1) and not any(
        layer.padding)


def maps_of(layer: ConvLayer, upright: bool = False) -> tuple[tuple[int, int], ...]:
    """Maps that the pixels of a layer may be laid on: its own, then larger ones.

    Parameters
    ----------
    layer : ConvLayer
    upright : bool
        Each turned by a right angle as well, for a machine that strips columns where
        the chip strips rows.

    Returns
    -------
    tuple of (int, int)
        (H, W); one alone where the layer is no product, or its own map is near to a
        square.

    Examples
    --------
    >>> from eyeriss_sim.layer import ConvLayer
    >>> maps_of(ConvLayer(name="tokens", M=8, C=8, H=1, W=197, R=1, S=1))
    ((1, 197), (11, 18), (10, 20), (12, 17))
    """
    own = layer.H, layer.W
    if (not is_product(layer) or max(own) <= WIDEST * min(own)
            or layer.H * layer.W > MOST_PIXELS):
        return (own,)
    maps = own, *_larger_maps(layer.H * layer.W)
    turned = [(W, H) for H, W in maps if H != W] if upright else []
    return *maps, *turned


@lru_cache(maxsize=4096)
def _larger_maps(pixels):
    """The next few numbers of pixels that fill a map near to a square, as (H, W)."""
    maps: list[tuple[int, int]] = []
    while len(maps) < LARGER_MAPS:
        for H in range(isqrt(pixels), 0, -1):
            if H * H * WIDEST < pixels:
                break
            if pixels % H == 0:
                maps.append((H, pixels // H))
                break
        pixels += 1
    return tuple(maps)


def laid(layer: Sized, mapping: "Mapping") -> Sized:
    """The layer as a mapping runs it: on the map that it names, padding included.

    A layer that is laid already stays as it is.
    """
    if not mapping.map_H or (mapping.map_H, mapping.map_W) == (layer.H, layer.W):
        return layer
    # Shapes come laid, so that this is a layer.
    return cast(Sized, on_map(cast(ConvLayer, layer), mapping.map_H, mapping.map_W))


@lru_cache(maxsize=16384)
def on_map(layer: ConvLayer, H: int, W: int) -> ConvLayer:
    """The layer with its pixels on another map."""
    return replace(layer, H=H, W=W)


def check_map(layer: ConvLayer | Shape, mapping: "Mapping") -> None:
    """Refuse a map that the pixels of a layer can't be laid on.

    Raises
    ------
    ValueError
        Names the layer, the map and the pixels.
    """
    H, W, pixels = mapping.map_H, mapping.map_W, layer.H * layer.W
    if not H and not W:
        return
    if not is_product(cast(ConvLayer, layer)):
        raise ValueError(f"{layer.name}: map_H = {H} and map_W = {W} name a map, but "
                         f"only pixels without neighbours (R = S = U = V = 1, no "
                         f"padding) can be laid on another; leave both out")
    if H * W < pixels or H < 1 or (H - 1) * W >= pixels:
        raise ValueError(
            f"{layer.name}: a map of map_H = {H} by map_W = {W} pixels "
            + ("does not hold" if H * W < pixels else "has rows that stay empty for")
            + f" its {pixels}; give map_H = {-(-pixels // max(1, W))}, or leave both "
              f"out")


def values_on_map(fmap: np.ndarray, layer: ConvLayer) -> np.ndarray:
    """Values of a product's pixels on the map of a laid layer, zeros behind them.

    Parameters
    ----------
    fmap : ndarray, shape (N, channels, H, W)
        On the layer's own map.
    layer : ConvLayer
        A layer that ``laid`` gave.

    Returns
    -------
    ndarray, shape (N, channels, layer.H, layer.W)
    """
    values = fmap.reshape(*fmap.shape[:2], -1)
    padding = layer.H * layer.W - values.shape[2]
    return np.pad(values, ((0, 0), (0, 0), (0, padding))).reshape(
        *fmap.shape[:2], layer.H, layer.W)
