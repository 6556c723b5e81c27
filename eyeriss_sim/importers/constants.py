"""Constants that keep their values in a trace that has only shapes.

A detector makes its grid of anchors from strides and sizes, reads some of them with
``.item()``, and cuts by them. None of that depends on the input, so that it can run
with values, on the CPU, beside operators that run on meta. A tensor there is known (it
has values) or on meta (it has a shape); an operator that reads both kinds runs on meta,
and a known tensor that it writes is lost: from then on a stand-in on meta takes its
place.
"""

import re

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from eyeriss_sim.importers.recurrent import is_packed

META = torch.device("meta")
MOST_VALUES = 1 << 20       # of a constant that keeps them: 8 MB of float64
FEW_VALUES = 1 << 10        # whose operators need no look at the size of their results
LIKE = re.compile(r"(empty|zeros|ones|full)_like|new_(empty|zeros|ones|full)\w*")
# Their second operand says how long sequences are; torch reads it, on meta as well.
READS_LENGTHS = {"_pack_padded_sequence", "_pad_packed_sequence"}
MADE_OF_DATA = (torch.tensor, torch.as_tensor, torch.asarray)


class Constants:
    """Tensors that have values, and stand-ins on meta for those that lost them."""

    def __init__(self):
        self._values = WeakTensorKeyDictionary()    # stand-in: what it stands for
        self._stand_ins = {}    # (storage, dtype): a flat tensor on meta
        self._origins = {}      # storage of a stand-in: storage that it stands for
        self._lost = set()      # storages with values that are no longer right
        self._known = {}        # address of a storage: keeps it from being reused

    def on_meta(self, value):
        """A stand-in for a tensor with values; anything else as it is."""
        if not isinstance(value, torch.Tensor) or value.device == META:
            return value
        with _disable_current_modes():      # a mode would give this a value, too
            stand_in = self._stand_in(value)
        self._values[stand_in] = value
        return stand_in

    def values_of(self, tensor):
        """The tensor with values that this one is, or stands for; None: unknown."""
        tensor = self._values.get(tensor, tensor)
        return tensor if self.is_known(tensor) else None

    def _stand_in(self, value):
        if value.layout != torch.strided or value.is_quantized or is_lazy(value):
            return value.to(META)
        storage = self._address(value)
        key = storage, value.dtype
        if key not in self._stand_ins:
            places = value.untyped_storage().nbytes() // value.element_size()
            flat = torch.empty(places, dtype=value.dtype, device=META)
            self._stand_ins[key] = flat
            self._origins[self._address(flat)] = storage
        return self._stand_ins[key].as_strided(
            value.shape, value.stride(), value.storage_offset())

    def is_known(self, tensor):
        """True if a tensor's values can be read."""
        return tensor.device != META and (
            tensor.layout != torch.strided or tensor.is_quantized
            or self._address(tensor) not in self._lost)

    def lose(self, tensors):
        """Note that values which nobody knows are written to these tensors."""
        for tensor in tensors:
            storage = self._address(tensor)
            self._lost.add(self._origins.get(storage, storage))

    def fit(self, func, args, kwargs, writes):
        """True if an operator on these known tensors, or on none, can run for real."""
        tensors = tensors_in((args, kwargs))
        sizes = [tensor.numel() for tensor in tensors]
        if any(size > MOST_VALUES for size in sizes):
            return False
        if tensors and (writes or func.is_view or sum(sizes) <= FEW_VALUES):
            return True
        try:
            shapes = func(*tree_map(self.on_meta, args), **on_device(
                func, tree_map(self.on_meta, kwargs), META))
        except Exception:       # it depends on values, and then it can't grow much
            return bool(tensors)
        return all(result.numel() <= MOST_VALUES for result in tensors_in(shapes))

    def _address(self, tensor):
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return id(tensor)
        address = storage._cdata
        if address not in self._known:
            self._known[address] = StorageWeakRef(storage)
        return address


class KnownFirst(TorchFunctionMode):
    """Keeps the values of what a forward makes of numbers, wherever it puts them.

    Parameters
    ----------
    constants : Constants
    on_meta : callable
        Gives a tensor's stand-in.
    """

    def __init__(self, constants, on_meta):
        super().__init__()
        self._constants, self._on_meta = constants, on_meta

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in MADE_OF_DATA:
            if kwargs.get("device") is not None:
                kwargs["device"] = "cpu"
            return func(*args, **kwargs)
        if func is torch.Tensor.new_tensor and not torch.is_tensor(args[1]):
            kwargs.setdefault("dtype", args[0].dtype)
            return torch.tensor(args[1], **{**kwargs, "device": "cpu"})
        tensors = tensors_in((args, kwargs))
        if any(tensor.device != META for tensor in tensors) and not all(
                map(self._constants.is_known, tensors)):
            # Many functions refuse operands of two devices before an operator runs.
            args, kwargs = all_but_lengths(
                self._on_meta, getattr(func, "__name__", ""), args, kwargs)
        return func(*args, **kwargs)


class ShapesBesideConstants(TorchDispatchMode):
    """Large tensors and random ones are made on meta, small constants with values.

    For code that makes a module.
    """

    def __init__(self):
        super().__init__()
        self._constants = Constants()

    def __enter__(self):
        self._functions = KnownFirst(self._constants, self._constants.on_meta)
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *problem):
        super().__exit__(*problem)
        self._functions.__exit__(*problem)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = tensors_in((args, kwargs))
        writes = writes_some(func)
        # Memory without values, or with random ones, is what parameters begin as.
        unknown = not tensors and (func.overloadpacket.__name__.startswith("empty")
                                   or torch.Tag.nondeterministic_seeded in func.tags)
        if not unknown and all(map(self._constants.is_known, tensors)) and (
                self._constants.fit(func, args, kwargs, writes)):
            return func(*args, **on_device(func, kwargs, "cpu"))
        if writes and any(tensor.device != META for tensor in tensors[:1]):
            raise ValueError("a constant is written that has a part without values")
        args, kwargs = tree_map(self._constants.on_meta, (args, kwargs))
        return func(*args, **on_device(func, kwargs, META))


def all_but_lengths(on_meta, name, args, kwargs):
    """Arguments on meta, but for how long sequences are, where a function reads that.

    Packed steps of a recurrent layer come with their batch sizes as second operand.
    """
    kept = args[1:2] if name in READS_LENGTHS or is_packed(name, args) else ()
    args, kwargs = tree_map(on_meta, (args, kwargs))
    return (args[0], *kept, *args[2:]) if kept else args, kwargs


def on_device(func, kwargs, device):
    """Keyword arguments of an operator, for this device if it takes one."""
    if any(arg.name == "device" for arg in func._schema.arguments) and (
            kwargs.get("device") is not None or not any(
                str(arg.type) == "Tensor" for arg in func._schema.arguments)):
        return {**kwargs, "device": torch.device(device)}
    return kwargs


def writes_some(func):
    """True if an operator writes one of its arguments."""
    return any(arg.alias_info is not None and arg.alias_info.is_write
               for arg in func._schema.arguments)


def made_like(out, op, args, kwargs):
    """Result of a ``zeros_like`` or ``new_full``, with values; None: too large."""
    if out.numel() > MOST_VALUES or out.layout != torch.strided:
        return None
    real = torch.empty_strided(out.shape, out.stride(), dtype=out.dtype)
    if "zeros" in op:
        return real.zero_()
    if "ones" in op:
        return real.fill_(1)
    if "full" in op:
        value = kwargs.get("fill_value", args[-1])
        return None if torch.is_tensor(value) else real.fill_(value)
    return real


def tensors_in(tree):
    """Tensors among the arguments or results of an operator."""
    if isinstance(tree, torch.Tensor):
        return [] if is_lazy(tree) else [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return []
    return [tensor for value in tree for tensor in tensors_in(value)]
