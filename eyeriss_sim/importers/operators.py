"""Shapes of operators → layers; what the torch and the ONNX importer share."""

from dataclasses import replace
from math import prod

from eyeriss_sim.layer import ConvLayer, Network, UncountedOp
from eyeriss_sim.product_maps import squarest_map


class OperatorLog:
    """Collects layers and other operators in the order in which a network runs them.

    Parameters
    ----------
    batch : int
        Images that the operators' shapes stand for.
    """

    def __init__(self, batch):
        self.batch = batch
        self.layers = []
        self.runs = 1           # how often what is added now runs, one after the other
        self.odd = None         # first convolution whose N is no multiple of the batch
        self._names = set()
        self._places = {}       # name and sizes of a product: its place in ``layers``
        self._others = {}

    def convolution(self, name, ifmap, filt, *, stride, pads, dilation, groups=1,
                    transposed=False, output_padding=None, dynamic_filters=False,
                    constant=False):
        """Add a convolution over one, two or three dimensions.

        A 1-D convolution becomes a layer of one row, or of a squarest map where its
        pixels have no neighbours to read: one tap, stride 1. A 3-D one becomes its 2-D
        slices: each of the D_out ofmap slices reads C*KD ifmap slices, so N' = N*D_out
        and C' = C*KD. A transposed one becomes what it computes: a stride-1 convolution
        over the ifmap with stride - 1 zeros between its pixels and span - 1 - padding
        zeros around it; ``padding`` of the layer holds only the zeros around, the
        ones between are ordinary pixels of H and W.

        Parameters
        ----------
        name : str
        ifmap : sequence of int
            (N, channels of all groups, pixels...), without padding.
        filt : sequence of int
            (M, C, taps...); transposed: (all channels, M/groups, taps...).
        stride, dilation, output_padding : sequence of int
            One value per dimension.
        pads : sequence of (int, int)
            Pixels before and after, per dimension.
        groups : int
        transposed, dynamic_filters : bool
        constant : bool
            The ifmap depends on no input, so that its N need not be the batch's.

        Returns
        -------
        ConvLayer
        """
        N, channels, *pixels = ifmap
        taps = filt[2:]
        dims = len(pixels)
        if not 1 <= dims <= 3:
            raise ValueError(f"{name}: a convolution over {dims} dimensions; only "
                             "1, 2 and 3 are known")
        expected = filt[0] if transposed else filt[1] * groups
        if groups < 1 or channels != expected:
            raise ValueError(f"{name}: the ifmap has {channels} channels, but filters "
                             f"and groups={groups} make {expected}")
        M = filt[1] * groups if transposed else filt[0]
        span = [(k - 1) * d + 1 for k, d in zip(taps, dilation, strict=True)]
        if transposed:
            extra = output_padding or [0] * dims
            pixels = [(size - 1) * step + 1
                      for size, step in zip(pixels, stride, strict=True)]
            pads = [(reach - 1 - before, reach - 1 - after + more)
                    for reach, (before, after), more
                    in zip(span, pads, extra, strict=True)]
            stride = [1] * dims
        sizes = [size + before + after
                 for size, (before, after) in zip(pixels, pads, strict=True)]
        C = channels // groups
        if N % self.batch and not dynamic_filters and not constant:
            self.odd = self.odd or (name, N, dims)
        if dims == 3:
            N *= (sizes[0] - span[0]) // stride[0] + 1
            C *= taps[0]
            sizes, taps, pads = sizes[1:], taps[1:], pads[1:]
            stride, dilation = stride[1:], dilation[1:]
        elif dims == 1:
            sizes, taps, pads = [1, *sizes], [1, *taps], [(0, 0), *pads]
            # One row has no vertical step; equal steps are the case every mapper knows.
            stride, dilation = [*stride] * 2, [*dilation] * 2
            if taps == [1, 1] and stride == [1, 1] and not any(map(any, pads)):
                sizes = [*squarest_map(sizes[1])]
        # A transposed convolution that is padded by more than span - 1 crops instead.
        padding = [max(0, side) for pair in pads for side in pair]
        return self._add(name, N=N, M=M, C=C, H=sizes[0], W=sizes[1], R=taps[0],
                         S=taps[1], U=stride[0], V=stride[1], groups=groups,
                         dilation=tuple(dilation), padding=tuple(padding),
                         dynamic_filters=dynamic_filters)

    def product(self, name, rows, inner, filters, *, groups=1, dynamic_filters=False,
                fmap=None, steps=1, again=False):
        """Add ``groups`` matrix products (rows x inner) @ (inner x filters).

        Rows that belong to one image are the pixels of a ``squarest_map``, so that a
        filter is kept while they pass. If ``fmap`` = (C, h, w) names the map that was
        flattened to one row of ``inner`` values, the layer is an FC layer over that
        map. Returns the layer.

        It runs ``steps`` times, one after the other. With ``again`` it is one more step
        of the layer with this name and these sizes, if there is one and it is not the
        network's first, whose ifmap alone no code shortens.
        """
        N = 1 if dynamic_filters or rows % self.batch else self.batch
        H, W = squarest_map(rows // N)
        sizes = {"C": inner, "H": H, "W": W, "R": 1, "S": 1}
        if fmap and rows == N and not dynamic_filters:
            C, h, w = fmap
            sizes = {"C": C, "H": h, "W": w, "R": h, "S": w}
        sizes |= {"N": N, "M": groups * filters, "groups": groups,
                  "dynamic_filters": dynamic_filters}
        steps *= self.runs
        key = name, *sizes.values()
        place = self._places.get(key, 0)
        if again and place:
            before = self.layers[place]
            self.layers[place] = replace(before, steps=before.steps + steps)
            return replace(before, steps=steps)
        self._places[key] = len(self.layers)
        return self._add(name, steps=steps, **sizes)

    def _add(self, name, **sizes):
        unique, runs = name, 1
        while unique in self._names:
            runs += 1
            unique = f"{name}#{runs}"
        self._names.add(unique)
        sizes.setdefault("steps", self.runs)
        self.layers.append(ConvLayer(name=unique, **sizes))
        return self.layers[-1]

    def other(self, op, outputs, calls=1):
        """Count runs of an operator that is no layer; ``outputs`` None: unknown."""
        before, total = self._others.get(op, (0, 0))
        known = total is not None and outputs is not None
        self._others[op] = (before + calls * self.runs,
                            total + outputs * self.runs if known else None)

    def others(self):
        """Operators that are no layers, an UncountedOp for each kind."""
        return [UncountedOp(op, *counts) for op, counts in self._others.items()]

    def network(self, name, source, notes=()):
        """All that was added, as a Network."""
        return Network(name, self.layers, self.others(), self.batch, source, notes)


def flattened_map(before, after):
    """(C, h, w) of a shape ``before`` that was flattened to ``after``, or None.

    Examples
    --------
    >>> flattened_map((8, 512, 7, 7), (8, 25088))
    (512, 7, 7)
    >>> flattened_map((8, 197, 768), (1576, 768)) is None
    True
    """
    if (len(before) == 4 and len(after) == 2 and before[0] == after[0]
            and before[1] > 1 and before[2] * before[3] > 1
            and prod(before) == prod(after)):
        return tuple(before[1:])
    return None
