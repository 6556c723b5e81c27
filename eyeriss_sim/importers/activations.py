"""Real images through a torch module: every layer's tensors, one layer at a time.

The recorder that traces shapes runs here on the module itself, so that layers carry the
same names. A layer's tensors are shown once its ofmap is what the chip would write, and
nothing keeps them after that.
"""

import functools

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from eyeriss_sim.importers.constants import META
from eyeriss_sim.importers.eval_mode import RUNNING, in_eval_mode
from eyeriss_sim.importers.inputs import Inputs
from eyeriss_sim.importers.products import arguments_by_name
from eyeriss_sim.importers.real_run import RealRecorder
from eyeriss_sim.importers.torch_module import (
    FACTORY,
    FREE,
    checked_module,
    done_once,
    reason,
    written,
)

# Elementwise operators that aten doesn't tag as pointwise.
ELEMENTWISE = {
    "gelu", "hardswish", "threshold", "prelu", "_prelu_kernel", "rsub",
    "log_sigmoid_forward", "rrelu_with_noise", "masked_fill",
    "fake_quantize_per_tensor_affine_cachemask",
    "fake_quantize_per_channel_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams"}
# Their result is no activation; what it is made from goes on.
COMPARISONS = {
    "eq", "ne", "gt", "ge", "lt", "le", "greater", "less", "isnan", "isinf",
    "isfinite", "isposinf", "isneginf", "signbit", "logical_not", "logical_and",
    "logical_or", "logical_xor"}
NORMS = {"native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm",
         "miopen_batch_norm", "_native_batch_norm_legit_no_training"}
# Same values in other memory.
COPIES = {"clone", "_to_copy", "copy_", "copy", "lift_fresh", "lift_fresh_copy",
          "contiguous"}
# Views that leave the order of the values alone.
RESHAPES = {"view", "_unsafe_view", "_reshape_alias", "reshape", "squeeze", "squeeze_",
            "unsqueeze", "unsqueeze_", "alias", "detach", "expand"}


def watch_layers(module, images, on_layer, name=None, made_filters=None,
                 check_weights=True):
    """Run a torch module on real images and show every layer's tensors to ``on_layer``.

    The ofmap is what the chip writes: the operator's result after the elementwise
    operators that follow it (bias, batch norm, residual sum, activation), up to the
    first operator of another kind. A sum of two such results belongs to the one with
    more layers behind it, otherwise to the first operand: a ResNet block's second
    CONV layer gets the sum, its shortcut its own batch norm. Reshapes are followed;
    permutations, slices and statistics over a map (layer norm) end an ofmap.

    Parameters
    ----------
    module : torch.nn.Module
        With weights. Runs in eval mode, without gradients, where its weights are, and
        is left as it was.
    images : Tensor or ndarray, shape (N, ...), or list of them
        Floating point gets the module's dtype; whole numbers (tokens) stay.
    on_layer : callable
        ``on_layer(layer, ifmap, filt, ofmap)``, once per layer when its ofmap is
        done, and once for each step of a recurrent layer, as a layer of one step. The
        read-only arrays are valid during the call only; copy what you keep:

        ``ifmap`` : shape (N, groups * C, H, W), padding included.
        ``filt`` : shape (M, C, R, S), as the operator used it, masks applied.
        ``ofmap`` : shape (N, M, E, F).
    name : str, optional
        Name of the network; by default the module's class.
    made_filters : set of str, written
        Gets the names of layers whose filters are no parameter but made from some in
        the run: masked, normalised, or another layer's result.
    check_weights : bool
        False where an earlier chunk of the same images had them looked at: in a large
        FC layer that takes as long as the run of a few images.

    Returns
    -------
    Network
        As :func:`~eyeriss_sim.importers.torch_module.network_from_module` gives it.

    Raises
    ------
    ValueError
        The forward fails on these images; NaN or infinite values; no weights.

    Examples
    --------
    >>> module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1),
    ...                              torch.nn.ReLU())
    >>> def show(layer, ifmap, filt, ofmap):
    ...     print(layer.name, ifmap.shape, filt.shape, ofmap.shape, ofmap.min() >= 0)
    >>> network = watch_layers(module, torch.randn(2, 3, 6, 6), show)
    0 (2, 3, 8, 8) (8, 3, 3, 3) (2, 8, 6, 6) True
    """
    module, name = checked_module(module, name)
    if check_weights:
        _check_weights(module, name)
    inputs = _real_inputs(images, module, name)
    with RUNNING, in_eval_mode(module):
        once = done_once(module, Inputs(inputs, {}), name)
        recorder = _Watcher(module, Inputs(inputs, {}), once, on_layer, made_filters)
        try:
            recorder.run()
        except Exception as problem:
            if recorder.refused is not None:
                raise recorder.refused from problem
            raise ValueError(reason(problem, name, recorder, inputs)) from problem
    return recorder.network(name)


def _check_weights(module, name):
    for key, weight in module.named_parameters():
        if is_lazy(weight):
            raise ValueError(f"{name}: {key} has no shape yet; run the lazy module "
                             "once, or load its weights")
    for values, allowed in ((module.named_parameters(), ()),
                            # An attention mask holds -inf by right.
                            (module.named_buffers(), (float("inf"), -float("inf")))):
        for key, weight in values:
            if weight.device == META:
                raise ValueError(f"{name}: {key} is on meta and has no values; build "
                                 "with load_module(..., meta=False) or load weights")
            if not _is_finite(weight, allowed):
                raise ValueError(f"{name}: {key} holds NaN or infinite values; was "
                                 "the training run sound?")


def _is_finite(tensor, allowed=()):
    """No NaN, no infinity but an allowed one; takes no memory of the tensor's size."""
    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_sparse:
        return True
    if tensor.element_size() == 1:          # 8-bit floats know no minimum
        tensor = tensor.float()
    return all(bool(torch.isfinite(edge)) or edge.item() in allowed
               for edge in torch.aminmax(tensor))


def _real_inputs(images, module, name):
    weight = next((value for value in module.parameters()
                   if value.dtype.is_floating_point), torch.empty(0))
    inputs = []
    for given in images if isinstance(images, (list, tuple)) else [images]:
        tensor = given
        if isinstance(given, np.ndarray):
            try:
                tensor = torch.from_numpy(
                    np.array(given, given.dtype.newbyteorder("=")))
            except TypeError:           # text, objects
                tensor = None
        if not isinstance(tensor, torch.Tensor) or tensor.is_complex():
            kind = getattr(given, "dtype", type(given).__name__)
            raise ValueError(f"{name}: images must be a torch tensor or a numpy array "
                             f"of floating-point numbers, got {kind}")
        if not tensor.dim() or not tensor.numel():
            raise ValueError(f"{name}: images have the shape {tuple(tensor.shape)}; "
                             "at least one image is needed, the batch first")
        if tensor.device == META:
            raise ValueError(f"{name}: images on meta have no values")
        dtype = weight.dtype if tensor.is_floating_point() else tensor.dtype
        # A copy: a first layer may work in place.
        tensor = tensor.detach().to(weight.device, dtype, copy=tensor is given)
        if not _is_finite(tensor):
            raise ValueError(f"{name}: the images hold NaN or infinite values; "
                             "check how they were scaled")
        inputs.append(tensor)
    if not inputs:
        raise ValueError(f"{name}: no images given")
    return inputs


class _Pending:
    """A layer that ran, and the tensors that hold its ofmap so far.

    All of ``holders`` have the same values in the same order.
    """

    def __init__(self, layer, operands, out, depth):
        self.layer, self.operands = layer, operands
        self.holders = [out]
        self.shape = out.shape          # of the operator's own result
        self.depth = depth              # layers behind it

    def holds(self, tensor):
        return any(tensor is holder for holder in self.holders)


class _Watcher(RealRecorder):
    """Runs on real tensors and shows every layer's once its ofmap is final.

    Attributes
    ----------
    refused : Exception or None
        What the callback, or a check of a layer's filters, raised.
    """

    def __init__(self, module, inputs, once, on_layer, made_filters):
        super().__init__(module, inputs, once)
        self.refused = None
        self._on_layer = on_layer
        self._made_filters = set() if made_filters is None else made_filters
        self._parameters = {self._storage(one) for one in module.parameters()}
        self._pending = []      # a few: each keeps its layer's tensors alive
        self._goes_on = None    # pending layer that the running operator continues
        self._depth = {}        # storage: layers behind it

    def run(self):
        super().run()
        for pending in list(self._pending):
            self._finish(pending)

    def _before(self, func, op, args, kwargs, tensors):
        """Show the layers whose ofmap this operator leaves behind."""
        self._goes_on = None
        changes = written(func, args, kwargs)
        if FACTORY.fullmatch(op) or (op.strip("_") in COMPARISONS and not changes):
            return
        if op == "copy_":               # what the destination held doesn't matter
            tensors = tensors[1:]
        readers = []
        for tensor in tensors:
            readers += [(pending, tensor) for pending in self._pending
                        if pending.holds(tensor)]
        kept = _kept_shape(func, op, args, tensors)
        chosen = [pending for pending, tensor in readers if kept(tensor)]
        if chosen:
            self._goes_on = max(chosen, key=lambda pending: pending.depth)
        for pending in dict(readers):
            if pending is not self._goes_on:
                self._finish(pending)
        if not changes:
            return
        changed = {self._storage(tensor) for tensor in changes}
        for pending in list(self._pending):
            if pending is self._goes_on:
                continue
            untouched = [holder for holder in pending.holders
                         if self._storage(holder) not in changed]
            if untouched:
                pending.holders = untouched
            else:
                self._finish(pending)
        for pending in self._pending:   # their operands must be as they were read
            for key in ("ifmap", "filt"):
                operand = getattr(pending.operands, key)
                if self._storage(operand) in changed:
                    setattr(pending.operands, key, operand.clone())

    def _record(self, func, op, args, tensors, outputs):
        self._find_depth(args, tensors, outputs, func)
        pending = self._goes_on
        if pending and outputs:
            out = outputs[0]
            if (func.is_view or op in FREE or op in COPIES) and out.numel() == (
                    pending.holders[0].numel()):
                pending.holders.append(out)
            elif func.is_view or op in FREE:
                self._finish(pending)
            else:
                where = self._storage(out)
                pending.holders = [out] + [
                    holder for holder in pending.holders
                    if holder is not out and self._storage(holder) == where]
        super()._record(func, op, args, tensors, outputs)

    def _find_depth(self, args, tensors, outputs, func):
        depth = max((self._depth.get(self._storage(tensor), 0) for tensor in tensors),
                    default=0)
        for result in outputs + written(func, args):
            self._depth[self._storage(result)] = depth

    def _saw_packed(self, layer, ifmap):
        self.refused = ValueError(
            f"{layer.name}: its weights are packed, so that their zeros can't be "
            "counted; give the module before it was quantised")
        raise self.refused

    def _saw_layer(self, layer, operands, out):
        where = self._storage(out)
        self._depth[where] += 1
        source = self._storage(operands.filt)
        if source not in self._given:
            self._made_filters.add(layer.name)
        # Parameters were looked at before the run; turned, as an FC layer's are, they
        # would take far longer.
        if (source not in self._parameters and not layer.dynamic_filters
                and not _is_finite(operands.filt)):
            self.refused = ValueError(
                f"{layer.name}: its filters hold NaN or infinite values; look at what "
                "makes them (masks, parametrizations)")
            raise self.refused
        self._pending.append(_Pending(layer, operands, out, self._depth[where]))

    def _finish(self, pending):
        self._pending.remove(pending)
        layer, operands = pending.layer, pending.operands
        out = pending.holders[0].reshape(pending.shape)
        arrays = (operands.ifmap_of(layer), operands.filter_of(layer),
                  operands.ofmap_of(layer, out))
        try:
            self._on_layer(layer, *map(_read_only, arrays))
        except Exception as problem:
            self.refused = problem
            raise


def _kept_shape(func, op, args, tensors):
    """True if an operator passes one of its operands on, value by value."""
    base = op if op.startswith("__") else op.rstrip("_")
    if func.is_view or op in FREE or op in COPIES:
        if op in RESHAPES or op in COPIES:
            return lambda tensor: tensor is tensors[0]
        # An operator in place changes the tensor itself before anyone can look.
        return lambda tensor: op == "slice" and tensor is tensors[0]
    if base in NORMS:
        training = arguments_by_name(func, args).get("training", False)
        return lambda tensor: not training and tensor is args[0]
    if not (torch.Tag.pointwise in func.tags or base in ELEMENTWISE
            or _functional_is_pointwise(base)):
        return lambda tensor: False
    try:
        shape = (args[0].shape if op != base and isinstance(args[0], torch.Tensor)
                 else torch.broadcast_shapes(*(tensor.shape for tensor in tensors)))
    except RuntimeError:                # the operator itself will say why
        return lambda tensor: False
    return lambda tensor: tensor.shape == shape


@functools.cache
def _functional_is_pointwise(base):
    """True if aten tags some form of an operator; those in place often lack the tag."""
    packet = getattr(torch.ops.aten, base, None)
    return packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags
        for overload in packet.overloads())


def _read_only(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()         # numpy or Numba has no such type
    array = tensor.numpy()
    array.flags.writeable = False
    return array
