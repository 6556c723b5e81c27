"""The tensors of one torch operator → the arrays of its layer.

:class:`~eyeriss_sim.importers.operators.OperatorLog` says which layer an operator
becomes; here its operands get that layer's shapes. Views where torch allows one.
"""

from math import prod

import torch


class ConvOperands:
    """A convolution over one, two or three dimensions.

    Parameters
    ----------
    ifmap, filt : Tensor
        Operands of the operator.
    stride, padding, dilation, output_padding : list of int
        One value per dimension.
    transposed : bool
    groups : int
    """

    def __init__(self, ifmap, filt, stride, padding, dilation, transposed,
                 output_padding, groups):
        self.ifmap, self.filt = ifmap, filt
        self._stride, self._padding, self._dilation = stride, padding, dilation
        self._transposed, self._more = transposed, output_padding
        self._groups = groups

    def ifmap_of(self, layer):
        """Shape (N, groups * C, H, W), padding included."""
        fmap, steps = self.ifmap, self._stride
        before, after = self._padding, self._padding
        if self._transposed:
            fmap, steps = _zero_stuffed(fmap, steps), [1] * len(steps)
            around = [(taps - 1) * step for taps, step in zip(
                self.filt.shape[2:], self._dilation, strict=True)]
            before = [reach - pad for reach, pad in zip(around, before, strict=True)]
            after = [pad + more for pad, more in zip(before, self._more, strict=True)]
        if any(before) or any(after):
            # torch pads the last dimension first; a negative side crops.
            sides = [side for pair in zip(before, after, strict=True) for side in pair]
            fmap = torch.nn.functional.pad(fmap, [
                side for i in range(len(sides) - 2, -1, -2)
                for side in sides[i:i + 2]])
        if len(steps) == 1:
            return fmap.reshape(*fmap.shape[:2], layer.H, layer.W)
        if len(steps) == 3:
            step = self._dilation[0]
            span = (self.filt.shape[2] - 1) * step + 1
            slices = fmap.unfold(2, span, steps[0])[..., ::step]
            fmap = slices.permute(0, 2, 1, 5, 3, 4).reshape(
                layer.N, layer.groups * layer.C, layer.H, layer.W)
        return fmap

    def filter_of(self, layer):
        """Shape (M, C, R, S)."""
        filt = self.filt
        if self._transposed:
            taps = filt.shape[2:]
            filt = filt.reshape(self._groups, -1, *filt.shape[1:]).transpose(1, 2)
            filt = filt.reshape(layer.M, -1, *taps)
            filt = filt.flip(list(range(2, filt.dim())))
        return filt.reshape(layer.M, layer.C, layer.R, layer.S)

    def ofmap_of(self, layer, out):
        """Shape (N, M, E, F), of a tensor with the shape of the operator's result."""
        if out.dim() == 5:
            out = out.transpose(1, 2)
        return out.reshape(layer.N, layer.M, layer.E, layer.F)


class ProductOperands:
    """``groups`` matrix products; rows of ``ifmap`` with columns of ``filt``.

    Parameters
    ----------
    ifmap : Tensor, shape (copies * groups, rows, inner)
    filt : Tensor, shape (copies * groups, inner, filters)
    order : Unrepeated
        Order of ifmap and filt, whose same ``groups`` filters are repeated ``copies``
        times and run as more rows.
    flipped : bool
        The operator's result has the filters before the rows.
    """

    def __init__(self, ifmap, filt, order, flipped):
        self.ifmap, self.filt = ifmap, filt
        self._order, self._copies, self._flipped = order, order.copies, flipped

    def ifmap_of(self, layer):
        """Shape (N, groups * C, H, W)."""
        return self._rows_to_pixels(self.ifmap, layer).reshape(
            layer.N, layer.groups * layer.C, layer.H, layer.W)

    def filter_of(self, layer):
        """Shape (M, C, R, S)."""
        filt = self.filt[:self.filt.shape[0] // self._copies]
        return filt.transpose(1, 2).reshape(layer.M, layer.C, layer.R, layer.S)

    def ofmap_of(self, layer, out):
        """Shape (N, M, E, F), of a tensor with the shape of the operator's result."""
        rows, filters = self.ifmap.shape[1], self.filt.shape[2]
        if self._flipped:
            out = out.reshape(-1, filters, rows).transpose(1, 2)
        out = self._order.sorted(out.reshape(-1, rows, filters))
        return self._rows_to_pixels(out, layer).reshape(
            layer.N, layer.M, layer.E, layer.F)

    def _rows_to_pixels(self, rows, layer):
        """(copies * groups, rows, values) → (N, groups, values, pixels)."""
        groups = rows.shape[0] // self._copies
        rows = rows.reshape(self._copies, groups, *rows.shape[1:]).transpose(1, 2)
        rows = rows.reshape(layer.N, prod(rows.shape[:2]) // layer.N, groups, -1)
        return rows.permute(0, 2, 3, 1)


def _zero_stuffed(fmap, steps):
    """A map with ``step - 1`` zeros between neighbouring pixels."""
    if all(step == 1 for step in steps):
        return fmap
    stuffed = fmap.new_zeros(*fmap.shape[:2], *(
        (size - 1) * step + 1
        for size, step in zip(fmap.shape[2:], steps, strict=True)))
    stuffed[(..., *(slice(None, None, step) for step in steps))] = fmap
    return stuffed
