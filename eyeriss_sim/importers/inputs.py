"""Arguments of a call of a torch module: shapes, dtypes, keywords → tensors.

An input is a shape, a shape and a dtype, or a tensor; several come as a list, those of
a keyword as a dict, and either may stand within the other as one argument.
"""

from dataclasses import dataclass
from numbers import Integral

import torch
from torch.utils._pytree import tree_flatten, tree_map

from eyeriss_sim.importers.constants import META

EXAMPLE = "(1, 3, 224, 224)"


@dataclass
class Inputs:
    """Positional and keyword arguments of a forward.

    Parameters
    ----------
    args : list
    kwargs : dict
        Trees whose leaves are tensors.
    """

    args: list
    kwargs: dict

    @property
    def tensors(self):
        """All tensors, the positional ones first."""
        return [leaf for leaf in tree_flatten((self.args, self.kwargs))[0]
                if isinstance(leaf, torch.Tensor)]

    @property
    def batch(self):
        """Images: as many as a list of them holds, or the first dimension of a tensor.

        A tensor of a single dimension has no batch.
        """
        if self.is_list_of_images:
            return len(self._first)
        first = self.tensors[0]
        return first.shape[0] if first.dim() > 1 else 1

    @property
    def _first(self):
        return next(iter([*self.args, *self.kwargs.values()]))

    @property
    def is_list_of_images(self):
        """True if the first argument holds the images one by one."""
        return isinstance(self._first, list)

    def changed(self, function):
        """The same tree with another tensor in the place of each."""
        def change(leaf):
            return function(leaf) if isinstance(leaf, torch.Tensor) else leaf
        return Inputs(*tree_map(change, (self.args, self.kwargs)))

    def on_meta(self):
        return self.changed(lambda tensor: tensor.detach().to(META))

    def of_twice_the_batch(self):
        """The same inputs on meta, with every image twice."""
        if self.is_list_of_images:
            return Inputs([self._first * 2, *self.args[1:]], self.kwargs) if (
                self.args) else self
        batch = self.batch
        return self.changed(
            lambda one: torch.cat([one, one]) if one.dim() and (
                one.shape[0] == batch) else one)

    def of_one_image(self):
        """The first image's part; the same where values are given, or no batch."""
        batch, tensors = self.batch, self.tensors
        if batch == 1 or any(tensor.device != META for tensor in tensors):
            return self
        if self.is_list_of_images:
            sizes = {tuple(one.shape) for one in self._first
                     if isinstance(one, torch.Tensor)}
            if len(self.args) != 1 or self.kwargs or len(sizes) != 1:
                return self
            return Inputs([self._first[:1]], {})
        return self.changed(
            lambda one: one[:1] if one.dim() > 1 and one.shape[0] == batch else one)

    def with_values(self, module, seed):
        """Random values for the tensors on meta, on the module's device.

        Images are in 0..1; whole numbers are 0 or 1, for any table has these.
        """
        source = torch.Generator().manual_seed(seed)
        device = next((value.device for value in module.parameters()), None)

        def fill(tensor):
            if tensor.device != META:
                values = tensor.detach().clone()
            elif tensor.dtype.is_floating_point or tensor.dtype.is_complex:
                values = torch.rand(tensor.shape, generator=source).to(tensor.dtype)
            else:
                values = torch.randint(0, 2, tensor.shape, generator=source).to(
                    tensor.dtype)
            return values.to(device)
        return self.changed(fill)


def read_inputs(given, module, name):
    """Tensors on meta for what a user says of a module's inputs.

    Parameters
    ----------
    given : tuple, list, dict, Tensor
        ``(1, 3, 224, 224)``; ``[(1, 3, 8, 8), (1, 4)]``, one for each positional
        input; ``{"tokens": ((1, 77), torch.int64), "mask": tensor}``, by keyword; a
        dict or list within a list is one argument. A tensor stands for its shape and
        dtype; where the module has to run, for its values, too.
    module : torch.nn.Module
        Shapes without a dtype get that of its first floating-point parameter.
    name : str
        Name of the network, for messages.

    Returns
    -------
    Inputs

    Raises
    ------
    ValueError
        No shape, a size below 1, a dtype that torch has not.
    """
    dtype = next((param.dtype for param in module.parameters()
                  if param.dtype.is_floating_point), torch.float32)

    def read(one):
        if isinstance(one, torch.Tensor):
            return one
        if isinstance(one, dict):
            return {key: read(value) for key, value in one.items()}
        if isinstance(one, (tuple, list)) and len(one) == 2 and (
                isinstance(one[1], (torch.dtype, str))
                and isinstance(one[0], (tuple, list))):
            return _tensor(one[0], as_dtype(one[1], name), name)
        if isinstance(one, list) and not all(_is_size(size) for size in one):
            return [read(value) for value in one]
        return _tensor(one, dtype, name)

    if isinstance(given, dict):
        inputs = Inputs([], {str(key): read(value) for key, value in given.items()})
    elif isinstance(given, list) and not all(_is_size(size) for size in given):
        inputs = Inputs([read(one) for one in given], {})
    else:
        inputs = Inputs([read(given)], {})
    if not inputs.tensors or not inputs.tensors[0].dim():
        raise ValueError(f"{name}: an input shape is needed, as in {EXAMPLE}")
    return inputs


def as_dtype(dtype, name):
    """A torch dtype from itself or its name."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name}: torch has no dtype {dtype!r}; write float32, int64, "
                         "bool, ...")
    return found


def _is_size(size):
    return isinstance(size, Integral) and not isinstance(size, bool)


def _tensor(shape, dtype, name):
    if isinstance(shape, torch.Size):
        shape = tuple(shape)
    if (not isinstance(shape, (tuple, list)) or not shape
            or any(not _is_size(size) or size < 1 for size in shape)):
        raise ValueError(
            f"{name}: an input shape is whole numbers of at least 1, the batch "
            f"first, as in {EXAMPLE}; got {shape!r}")
    try:
        return torch.empty(tuple(map(int, shape)), dtype=dtype, device=META)
    except (RuntimeError, TypeError, OverflowError) as problem:
        raise ValueError(f"{name}: an input of {'x'.join(map(str, shape))} is more "
                         "than torch can address; lower a size") from problem
