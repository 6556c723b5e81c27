"""A torch module → Network, by watching which operators run.

Operators are caught below torch's Python layer (aten), so a functional call counts as
much as a module. The module is copied onto torch's "meta" device, where tensors have
shapes but no values: nothing is computed, nothing large is allocated, and the user's
module is left as it is. :mod:`eyeriss_sim.importers.activations` watches the same
operators on real tensors.
"""

import copy
import functools
import re
from contextlib import contextmanager, nullcontext
from numbers import Integral
from weakref import WeakKeyDictionary

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch.export import ExportedProgram
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from eyeriss_sim.importers.constants import (
    LIKE,
    META,
    MOST_VALUES,
    Constants,
    KnownFirst,
    all_but_lengths,
    made_like,
    on_device,
    tensors_in,
    writes_some,
)
from eyeriss_sim.importers.eval_mode import in_eval_mode
from eyeriss_sim.importers.inputs import Inputs, read_inputs
from eyeriss_sim.importers.layouts import ConvOperands, ProductOperands
from eyeriss_sim.importers.module_files import first_line, load_module
from eyeriss_sim.importers.operators import OperatorLog, flattened_map
from eyeriss_sim.importers.products import (
    arguments_by_name,
    is_linear,
    is_packed_conv,
    told,
    written_out,
)
from eyeriss_sim.importers.recurrent import (
    RECURRENT,
    in_closed_form,
    is_long,
    is_packed,
    packed_steps,
    runs_at_each_step,
)
from eyeriss_sim.importers.repeats import Unrepeated, factors_of, leading_copies
from eyeriss_sim.workload import Workload

FEW_WEIGHTS = 64        # of a parameter that keeps its values in a trace

# Operators that only rename or reserve memory, beyond those that aten marks as views.
FREE = {
    "_unsafe_view", "lift_fresh", "lift_fresh_copy", "unsafe_split",
    "unsafe_split_with_sizes", "unsafe_chunk",
    "_linalg_check_errors", "resize_", "set_", "t_", "transpose_",
    "squeeze_", "unsqueeze_", "swapaxes_", "as_strided_", "sym_size", "sym_numel"}
FACTORY = re.compile(r"(empty|zeros|ones|full)_like|new_\w+")
# aten's names of what users know under another name.
KNOWN_AS = {
    "constant_pad_nd": "pad", "clone": "copy", "_to_copy": "copy", "copy_": "copy",
    "_safe_softmax": "softmax", "_adaptive_avg_pool2d": "adaptive_avg_pool2d"}
# Position of the two factors of a matrix product among the arguments.
FACTORS = {
    "mm": 0, "bmm": 0, "mv": 0, "dot": 0, "vdot": 0, "_int_mm": 0, "_scaled_mm": 0,
    "_scaled_mm_v2": 0, "matmul": 0,
    "addmm": 1, "baddbmm": 1, "addbmm": 1, "addmv": 1, "_addmm_activation": 1}

# module: its products of constants, by shapes
_ONCE: WeakKeyDictionary[torch.nn.Module, dict] = WeakKeyDictionary()


def network_from_module(module, input_shape=None, name=None, proposals=None):
    """Trace a torch module.

    Layers are called after the module whose forward runs, or after the module that
    owns the weight (``attn.out_proj``); a product of two activations and a functional
    call on a free tensor carry the running module's name and the operator
    (``attn.matmul``). A second run of the same layer is ``conv#2``; products of a
    recurrent layer that run at each step are one layer with its steps. Rows of a linear
    layer that belong to one image are the pixels of the squarest map. Work on weights
    alone (masks, parametrizations) is done once, not per image, and is left out.

    Where values decide how the forward goes on (non-maximum suppression, boolean masks,
    branches), the module itself runs once on seeded random input instead, and a note of
    the network names the layers whose rows were decided so.

    Parameters
    ----------
    module : torch.nn.Module or torch.export.ExportedProgram
        Traced as in eval mode, without gradients, on a copy. Of a ``DataParallel``, or
        of what torch.compile gave, the module in it.
    input_shape : tuple of int, list or dict
        With the batch as first dimension. A list has one for each positional input, a
        dict one for each keyword; a dict or list within a list is one argument.
        ``((1, 77), torch.int64)`` also says the dtype; a tensor may stand for its shape
        and dtype, and for its values where the module runs. None: those that an
        ``ExportedProgram`` was made with.
    name : str, optional
        Name of the network; by default the module's class.
    proposals : int, optional
        Rows, an image and a decision, that go on wherever values decide.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        The forward fails on this shape, or depends on the values of tensors.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(3, 8, 3, padding=1)
    >>> network_from_module(torch.nn.Sequential(conv), (2, 3, 32, 32)).macs
    442368
    """
    examples = module.example_inputs if isinstance(module, ExportedProgram) else None
    module, name = checked_module(module, name)
    if input_shape is not None:
        given = read_inputs(input_shape, module, name)
    elif examples:
        given = Inputs([*examples[0]], dict(examples[1]))
    else:
        raise ValueError(f"{name}: a module needs the shape of its input, batch first, "
                         "as in (1, 3, 224, 224)")
    if proposals is not None and (
            not isinstance(proposals, Integral) or proposals < 1):
        raise ValueError(f"{name}: proposals must be a whole number of at least 1, got "
                         f"{proposals!r}")
    return _network_from_inputs(module, given, name, proposals)


def _network_from_inputs(module, given, name, proposals):
    """Trace shapes; run the module where values decide."""
    recorder, problem = _traced(module, given.on_meta(), name)
    once = _done_once(module, given, name, recorder)
    if once and problem is None:
        recorder, problem = _traced(module, given.on_meta(), name, once)
    if problem is not None:
        inputs = given.on_meta()
        numbers = given.changed(torch.Tensor.long)
        if "scalar types: Long" in str(problem) and (
                numbers.tensors[0].dtype != given.tensors[0].dtype):
            # The network begins with an embedding.
            return _network_from_inputs(module, numbers, name, proposals)
        if values_decide(problem):
            from eyeriss_sim.importers.real_run import network_by_running
            return network_by_running(module, given, name, proposals, once)
        raise ValueError(reason(problem, name, recorder, inputs.tensors)) from problem
    if proposals is not None:
        raise ValueError(f"{name}: no values decide how its forward goes on, so that "
                         f"proposals={proposals} changes nothing; leave it out")
    return recorder.network(name)


def _traced(module, inputs, name, once=frozenset()):
    """A recorder of a copy of the module on meta, and what its forward raised."""
    twin = _meta_copy(module, name)
    recorder = _MetaRecorder(twin, inputs, once)
    try:
        with in_eval_mode(twin):
            recorder.run()
    except (Exception, SystemExit) as problem:
        return recorder, problem
    return recorder, None


def _done_once(module, given, name, recorder):
    """Products of constants that a batch runs once, by their place among those.

    A table that a forward makes and multiplies is the same for any batch; a state that
    begins as zeros has a row for each image. A trace of twice the batch tells which.
    """
    if not recorder.constant_macs:
        return frozenset()
    twice, _ = _traced(module, given.on_meta().of_twice_the_batch(), name)
    # A forward that fails at twice the batch says nothing of what would have followed.
    pairs = zip(recorder.constant_macs, twice.constant_macs, strict=False)
    return frozenset(
        place for place, (macs, double) in enumerate(pairs) if macs == double)


def done_once(module, given, name):
    """Answer of ``_done_once`` for a module that is run; kept for the same shapes."""
    shapes = tuple(tuple(one.shape[1:]) for one in given.tensors)
    known = _ONCE.setdefault(module, {})
    if shapes not in known:
        try:
            recorder, _ = _traced(module, given.on_meta(), name)
            known[shapes] = _done_once(module, given, name, recorder)
        except ValueError:              # it can't be copied
            known[shapes] = frozenset()
    return known[shapes]


def checked_module(module, name):
    """The module to run and the network's name, or a ValueError."""
    given, module = module, unwrapped(module)
    name = name or type(given if isinstance(given, ExportedProgram) else
                        module).__name__
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"a torch.nn.Module is needed, got a {type(module).__name__}")
    if any(isinstance(child, torch.jit.ScriptModule) for child in module.modules()):
        raise ValueError(f"{name}: TorchScript cannot be traced; give the nn.Module "
                         "that it was made from, or an ONNX export")
    return module, name


def unwrapped(module):
    """The module in what torch.export, torch.compile or DataParallel made of it."""
    if isinstance(module, ExportedProgram):
        return module.module()
    while isinstance(module, (torch.nn.DataParallel,
                              torch.nn.parallel.DistributedDataParallel)) or (
            hasattr(module, "_orig_mod")):
        module = getattr(module, "_orig_mod", None) or module.module
    return module


def workload_from_file(text, input_shape=None, proposals=None):
    """The Workload of the module that a Python file makes; see ``load_module``.

    Where values decide, the file makes it once more, with real tensors.
    """
    from eyeriss_sim.importers.real_run import NeedsValues
    module, name = load_module(text), text.rpartition(":")[2]
    if input_shape is None and not isinstance(module, ExportedProgram):
        raise ValueError(f"{text}: a torch module needs an input shape, batch first, "
                         "as in 1,3,224,224")
    try:
        network = network_from_module(module, input_shape, name, proposals)
    except NeedsValues:
        module = load_module(text, meta=False)
        network = network_from_module(module, input_shape, name, proposals)
    return Workload(network)


class _CopyToMeta(TorchFunctionMode):
    """Makes ``copy.deepcopy`` of any tensor but a small one a meta tensor."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = _small_or_on_meta(tensor, MOST_VALUES)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def _small_or_on_meta(tensor, most_values):
    """A copy with values, on the CPU, of a small tensor; of another its shape."""
    tensor = tensor.detach()
    if tensor.device == META or tensor.numel() > most_values or (
            tensor.layout != torch.strided):
        return tensor.to("meta")
    return tensor.cpu().clone()


def _meta_copy(module, name):
    memo: dict[int, torch.Tensor] = {}
    for param in module.parameters():
        # A Parameter's own __deepcopy__ would copy its values.
        if is_lazy(param):
            # The stub of torch does not know the argument.
            memo[id(param)] = torch.nn.UninitializedParameter(
                requires_grad=False, device=META)   # type: ignore[call-arg]
        else:
            memo[id(param)] = torch.nn.Parameter(
                _small_or_on_meta(param, FEW_WEIGHTS), requires_grad=False)
    try:
        with _CopyToMeta():
            return copy.deepcopy(module, memo)
    except Exception as problem:
        raise ValueError(f"{name}: the module cannot be copied for a trace: "
                         f"{first_line(problem)}; give a fresh one") from problem


def values_decide(problem):
    """True if a trace ended because it has shapes and no values."""
    return isinstance(problem, NotImplementedError) or bool(re.search(
        "meta (tensor|device|backend)|register_meta|data-dependent|got 1D meta",
        str(problem), re.IGNORECASE))


def reason(problem, name, recorder, inputs):
    """One line that says where and why a forward failed."""
    where = f"module {recorder.failed}" if recorder.failed else "its forward"
    return (f"{name}: {where} fails on an input of {sizes(inputs)}: "
            f"{type(problem).__name__}: {first_line(problem)}"
            f"{recorder.failed_operator}; is the input shape right?")


def sizes(tensors):
    return ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors)


class Recorder(TorchDispatchMode):
    """Notes the operators that run in a module.

    What a tensor depends on is noted per storage, so that views and in-place writes
    need no rules of their own: on an input ("an activation"), or else on a parameter.
    No tensor is kept alive.

    Parameters
    ----------
    module : torch.nn.Module
        The forward of each of its modules is wrapped while it runs.
    inputs : Inputs
    once : set of int
        Places, among the products of constants, of those that are left out, for a batch
        runs them once.

    Attributes
    ----------
    log : OperatorLog
    failed : str or None
        Innermost module that raised.
    constant_macs : list of int
        Multiply-accumulates of each product of which no operand depends on an input.
    failed_operator : str
        Operator that raised and the sizes of its operands, ready for a message.
    """

    def __init__(self, module, inputs, once=frozenset()):
        super().__init__()
        self.constant_macs = []
        self._once = once
        self.log = OperatorLog(inputs.batch)
        self.failed = None
        self.failed_operator = ""
        self._module, self._inputs = module, inputs
        self._stack = [""]
        self._in_hooks = False      # between a module's call and its forward
        self._known = {}            # address of a storage: keeps it from being reused
        self._activations = set()   # storages
        self._owners: dict = {}     # storage: names of the parameter it came from
        self._given = set()         # storages of parameters and buffers themselves
        self._copies = WeakTensorKeyDictionary()    # repeated weight: its factors
        self._flat = WeakTensorKeyDictionary()      # flattened tensor: its (C, h, w)
        self._standard = {path for path, child in module.named_modules()
                          if isinstance(child, (_ConvNd, torch.nn.Linear))}
        self._packing = {path for path, child in module.named_modules()
                         if hasattr(child, "_packed_params")}
        for key, value in [*module.named_parameters(remove_duplicate=False),
                           *module.named_buffers(remove_duplicate=False)]:
            if not is_lazy(value):
                self._owners.setdefault(self._storage(value), []).append(key)
                self._given.add(self._storage(value))
        for tensor in inputs.tensors:
            self._activations.add(self._storage(tensor))

    def run(self):
        """Run the forward once."""
        with self._wrapped(), torch.no_grad(), self._surroundings(), self:
            self._module(*self._inputs.args, **self._inputs.kwargs)

    def network(self, name):
        """The layers that ran, as a Network."""
        if self.log.odd and not self._inputs.is_list_of_images:
            layer, N, dims = self.log.odd
            given = self._inputs.tensors[0]
            # torch takes an image without a batch, whose channels come first.
            if N == 1 and given.dim() == dims + 1:
                raise ValueError(
                    f"{name}: {layer} sees N=1, but the input {sizes([given])} says "
                    f"{self.log.batch} images; the batch comes first, as in "
                    f"1x{sizes([given])}")
        return self.log.network(
            name, f"traced from the torch module {type(self._module).__name__}",
            self.notes())

    def notes(self):
        """Lines that a reader of the network should know."""
        return ()

    def _surroundings(self):
        """Context in which the forward runs."""
        return nullcontext()

    def _taken(self, func, args, kwargs):
        """Arguments with which an operator is to run."""
        return args, kwargs

    def _before(self, func, op, args, kwargs, tensors):
        """An operator is about to run."""

    def _call(self, func, op, args, kwargs):
        return func(*args, **kwargs)

    def _values_of(self, tensor):
        """A tensor with values, or None where only its shape is known."""
        return None if tensor.device == META else tensor

    def _asked_for(self, value, tensor):
        """The forward made a Python number of a tensor's value."""

    def _left_out(self, name):
        """A layer ran on no row at all."""

    def _saw_packed(self, layer, ifmap):
        """A layer ran whose weights are packed."""

    def _saw_layer(self, layer, operands, out):
        """A layer ran on these operands with this result."""

    @contextmanager
    def _wrapped(self):
        """Follow which module runs; the modules are left as they were."""
        hooks, forwards = [], []
        try:
            for path, child in self._module.named_modules():
                hooks.append(child.register_forward_pre_hook(
                    self._enter_hooks, prepend=True))
                forwards.append((child, vars(child).get("forward")))
                child.forward = self._wrap(child.forward, path)
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for child, forward in forwards:
                vars(child).pop("forward", None)
                if forward is not None:
                    child.forward = forward

    def _enter_hooks(self, module, args):
        self._in_hooks = True

    def _wrap(self, forward, path):
        @functools.wraps(forward)
        def wrapped(*args, **kwargs):
            self._in_hooks = False
            self._stack.append(path)
            try:
                return forward(*args, **kwargs)
            except (Exception, SystemExit):
                if self.failed is None:
                    self.failed = path
                raise
            finally:
                self._stack.pop()
        return wrapped

    def _storage(self, tensor):
        """The storage that views of one tensor share."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):     # sparse: shares nothing
            self._known[id(tensor)] = tensor
            return id(tensor)
        address = storage._cdata
        if address not in self._known:
            # Frees the values, but keeps the address from being given out again.
            self._known[address] = StorageWeakRef(storage)
        return address

    def follow(self, source, result):
        """Note that a tensor depends on what ``source`` does; returns the tensor."""
        if self._is_activation(source):
            self._activations.add(self._storage(result))
        return result

    def _is_activation(self, tensor):
        return self._storage(tensor) in self._activations

    def _is_of_weights(self, tensor):
        """Made of parameters or buffers alone; an LSTM's first state is of neither."""
        return not self._is_activation(tensor) and self._storage(tensor) in self._owners

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        op = func.overloadpacket.__name__
        args, kwargs = self._taken(func, args, kwargs)
        if op == "_local_scalar_dense":
            value = func(*args)     # no work
            self._asked_for(value, args[0])
            return value
        # In inference mode composite operators arrive here whole.
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        if op.startswith("_scaled_dot_product") and "backward" not in op:
            return self._unfused(func, args, kwargs)
        parts = written_out(func, args, kwargs, self._values_of)
        if parts is not None:
            with self:
                return parts()
        tensors = tensors_in((args, kwargs))
        self._before(func, op, args, kwargs, tensors)
        try:
            out = self._call(func, op, args, kwargs)
        except Exception:
            self.failed_operator = f" ({op} of {sizes(tensors)})"
            raise
        self._record(func, op, args, tensors, tensors_in(out))
        return out

    def _unfused(self, func, args, kwargs):
        """Run a fused attention as its two products and the softmax between them."""
        given = arguments_by_name(func, args) | kwargs
        query, key, value = (given[name] for name in ("query", "key", "value"))
        mask = given.get("attn_mask", given.get("attn_bias"))
        with self:
            out, weights = torch.ops.aten._scaled_dot_product_attention_math(
                query, key, value, mask, 0.0, given.get("is_causal", False),
                scale=given.get("scale"),
                enable_gqa=query.shape[-3] != key.shape[-3])
        # What else it returns serves only a backward pass.
        return (out, *(weights.new_empty(0) if str(result.type) == "Tensor" else 0
                       for result in func._schema.returns[1:]))

    def _record(self, func, op, args, tensors, outputs):
        active = any(map(self._is_activation, tensors))
        layer = None
        if op == "convolution":
            layer = self._convolution(*args)
        elif op.rstrip("_") in FACTORS:
            op = op.rstrip("_")
            layer = self._product(op, *args[FACTORS[op]:][:2])
        elif is_linear(func):
            layer = self._packed_linear(args[0], tensors, outputs[0])
        elif is_packed_conv(func):
            layer = self._packed_convolution(args)
        elif active and not (func.is_view or op in FREE or FACTORY.fullmatch(op)):
            self.log.other(told(func, _usual_name(op)),
                           outputs[0].numel() if outputs else None)
        self._follow(func, op, args, tensors, outputs, active)
        if layer and layer[1] is None:
            self._saw_packed(layer[0], args[0])
        elif layer:
            made, operands = layer
            self._saw_layer(made, operands, outputs[0])

    def _follow(self, func, op, args, tensors, outputs, active):
        """Note what the results of an operator depend on."""
        if FACTORY.fullmatch(op):
            return
        results = outputs + written(func, args)
        owners = next((self._owners[self._storage(tensor)] for tensor in tensors
                       if self._storage(tensor) in self._owners), None)
        for result in results:
            storage = self._storage(result)
            if active:
                self._activations.add(storage)
            elif owners:
                self._owners.setdefault(storage, owners)
        if not tensors or len(outputs) != 1:
            return
        source, result = tensors[0], outputs[0]
        if not active:
            factors = factors_of(op, func, args, tensors, result, self._copies,
                                 self._values_of)
            if factors:
                self._copies[result] = factors
        fmap = (flattened_map(source.shape, result.shape)
                if op in ("view", "_unsafe_view") else None)
        if not fmap and source.shape == result.shape:
            fmap = self._flat.get(source)
        if fmap:
            self._flat[result] = fmap

    def _is_done_once(self, macs):
        """Note a product of constants; whether a batch runs it once."""
        self.constant_macs.append(macs)
        return len(self.constant_macs) - 1 in self._once

    def _convolution(self, ifmap, filt, bias, stride, padding, dilation, transposed,
                     output_padding, groups):
        """The layer of a convolution, and its operands; None: weights in the making."""
        if self._is_of_weights(ifmap) and self._is_of_weights(filt):
            return None
        kind = f"conv{'_transpose' if transposed else ''}{ifmap.dim() - 2}d"
        name = self._name(filt, kind)
        if not ifmap.numel():
            return self._left_out(name)
        constant = not self._is_activation(ifmap) and not self._is_activation(filt)
        if constant and self._is_done_once(ifmap.numel() * filt.numel()):
            return None
        dims = ifmap.dim() - 2

        def each(values):       # aten lets one value stand for all dimensions
            return list(values) * dims if len(values) == 1 else list(values)

        # Filters repeated for each image that is laid as channels: one set of filters.
        repeated = None if self._is_activation(filt) else self._copies.get(filt)
        copies = self.log.batch // ifmap.shape[0]
        if repeated and copies > 1 and groups % copies == 0 and (
                leading_copies(repeated[0]) % copies == 0):
            groups //= copies
            ifmap = ifmap.unflatten(1, (copies, -1)).flatten(0, 1)
            filt = filt[:filt.shape[0] // copies]
        stride, padding, dilation, output_padding = map(
            each, (stride, padding, dilation, output_padding))
        layer = self.log.convolution(
            name, tuple(ifmap.shape), tuple(filt.shape),
            stride=stride, pads=[(pad, pad) for pad in padding], dilation=dilation,
            groups=groups, transposed=transposed, output_padding=output_padding,
            dynamic_filters=self._is_activation(filt), constant=constant)
        return layer, ConvOperands(ifmap, filt, stride, padding, dilation, transposed,
                                   output_padding, groups)

    def _product(self, op, left, right):
        """The layer of a matrix product, and its operands; None: weights in the making.
        """
        dynamic = self._is_activation(left) and self._is_activation(right)
        if not self._is_activation(left) and not self._is_activation(right):
            path = f".{self._stack[-1]}."
            if self._in_hooks or ".parametrizations." in path or (
                    self._is_of_weights(left) and self._is_of_weights(right)):
                return None
        ifmap, filt = left, right
        if not left.numel() or not right.numel():
            return self._left_out(self._name(
                right if self._is_activation(left) else left,
                "matmul" if dynamic else "linear"))
        if left.dim() == 1:
            left = left.unsqueeze(0)
        if right.dim() == 1:
            right = right.unsqueeze(1)
        flipped = self._is_activation(right) and not self._is_activation(left)
        if flipped:
            ifmap, filt = filt, ifmap
            left, right = right.mT, left.mT
        if op == "addbmm":      # sums over the groups
            left = left.transpose(0, 1).flatten(1)
            right = right.flatten(0, 1)
        if left.dim() == 2:
            left, right = left.unsqueeze(0), right.unsqueeze(0)
        groups, rows, inner = left.shape
        repeated = None if dynamic else self._copies.get(filt)
        order = Unrepeated(
            repeated[0] if repeated and len(repeated) == 3 and op != "addbmm" else [])
        copies = order.copies
        left, right = order.sorted(left), order.sorted(right)
        name = self._name(filt, "matmul" if dynamic else "linear")
        constant = not self._is_activation(ifmap) and not self._is_activation(filt)
        if constant and not runs_at_each_step(name) and self._is_done_once(
                groups * rows * inner * right.shape[-1]):
            return None
        layer = self.log.product(
            name, rows * copies, inner, right.shape[-1], groups=groups // copies,
            dynamic_filters=dynamic, fmap=self._flat.get(ifmap),
            again=runs_at_each_step(name))
        return layer, ProductOperands(left, right, order, flipped)

    def _packed_linear(self, ifmap, tensors, out):
        """The layer of a product with packed weights, which only shapes describe."""
        if not self._is_activation(ifmap):
            return None
        inner, filters = ifmap.shape[-1], out.shape[-1]
        filt = next((one for one in tensors[1:] if one.dim() > 1), None)
        name = self._name(filt, "linear")
        if not ifmap.numel():
            return self._left_out(name)
        return self.log.product(name, ifmap.numel() // inner, inner, filters,
                                fmap=self._flat.get(ifmap)), None

    def _packed_convolution(self, args):
        ifmap, packed = args[0], args[1]
        filt = packed.unpack()[0]
        transposed = bool(packed.transpose())
        dims = filt.dim() - 2
        stride, padding, dilation, more = (list(each())[-dims:] for each in (
            packed.stride, packed.padding, packed.dilation, packed.output_padding))
        if ifmap.dim() == 3:        # one dimension is kept as the last of two
            ifmap, filt = ifmap.unsqueeze(2), (
                filt if filt.dim() == 4 else filt.unsqueeze(2))
            stride, padding, dilation, more = (
                [fixed, each[-1]] for fixed, each in zip(
                    (1, 0, 1, 0), (stride, padding, dilation, more), strict=True))
        layer = self.log.convolution(
            self._name(None, f"conv{dims}d"), tuple(ifmap.shape), tuple(filt.shape),
            stride=stride, pads=[(pad, pad) for pad in padding], dilation=dilation,
            groups=packed.groups(), transposed=transposed, output_padding=more)
        return layer, None

    def _name(self, filt, op):
        """Dotted name of the module that owns a weight, or of the one that runs."""
        running = self._stack[-1]
        names = []
        if filt is not None and not self._is_activation(filt):
            names = [_layer_of_parameter(key)
                     for key in self._owners.get(self._storage(filt), [])]
            if running in self._standard:       # however its weight was made
                names = [running]
        elif running in self._packing:
            names = [running]
        names = [name for name in names if name is not None]
        if running in names:
            return running or op
        if names and names[0]:
            return names[0]
        return f"{running}.{op}" if running else op


class _StepsAsWithValues(TorchFunctionMode):
    """Lets torch take a recurrent layer's inputs of all steps at once on meta, too."""

    def __init__(self, recorder):
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name not in RECURRENT:
            return func(*args, **(kwargs or {}))
        if is_packed(name, args):
            return packed_steps(self._recorder, func, args)
        with enable_python_dispatcher():
            if is_long(func, args):
                return in_closed_form(self._recorder, func, args)
            return func(*args, **(kwargs or {}))


class _MetaRecorder(Recorder):
    """Runs on shapes alone, but for small constants; see ``constants.py``."""

    def __init__(self, module, inputs, once=frozenset()):
        super().__init__(module, inputs, once)
        self._constants = Constants()

    @contextmanager
    def _surroundings(self):
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with (torch.random.fork_rng(devices=[]), _StepsAsWithValues(self),
                  KnownFirst(self._constants, self._on_meta)):
                torch.manual_seed(0)
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def _values_of(self, tensor):
        return self._constants.values_of(tensor)

    def follow(self, source, result):
        return super().follow(source, self._on_meta(result))

    def _taken(self, func, args, kwargs):
        """All operands known, on the CPU, or all on meta."""
        tensors = tensors_in((args, kwargs))
        writes = writes_some(func)
        # A lazy parameter gets its memory in a hook, and stays on meta.
        lazy = self._in_hooks and func.overloadpacket.__name__ == "empty"
        if not lazy and all(map(self._constants.is_known, tensors)) and (
                self._constants.fit(func, args, kwargs, writes)):
            return args, on_device(func, kwargs, "cpu")
        if writes:
            self._constants.lose(written(func, args, kwargs))
        args, kwargs = all_but_lengths(
            self._on_meta, func.overloadpacket.__name__, args, kwargs)
        return args, on_device(func, kwargs, META)

    def _call(self, func, op, args, kwargs):
        out = func(*args, **kwargs)
        if LIKE.fullmatch(op) and out.device == META:
            made = made_like(out, op, args, kwargs)
            return out if made is None else made
        return out

    def _on_meta(self, value):
        """A stand-in for a tensor with values, which belongs to the same parameter."""
        stand_in = self._constants.on_meta(value)
        if stand_in is not value:
            origin, storage = self._storage(value), self._storage(stand_in)
            if origin in self._owners:
                self._owners.setdefault(storage, self._owners[origin])
            for kind in (self._given, self._activations):
                if origin in kind:
                    kind.add(storage)
            for facts in (self._copies, self._flat):
                if value in facts:
                    facts[stand_in] = facts[value]
        return stand_in


# Once for each operator: a small network's run would take half its time here.
@functools.cache
def _is_composite(func):
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), "CompositeImplicitAutograd")


@functools.cache
def _arguments_written(func):
    return tuple(
        (place, arg.name) for place, arg in enumerate(func._schema.arguments)
        if arg.alias_info is not None and arg.alias_info.is_write)


def written(func, args, kwargs=None):
    """Tensors among an operator's arguments that it writes."""
    kwargs = kwargs or {}
    return tensors_in([args[place] if place < len(args) else kwargs.get(name)
                       for place, name in _arguments_written(func)])


def _layer_of_parameter(key):
    """Layer that a parameter is the weight of, or None where its name does not say.

    Examples
    --------
    >>> _layer_of_parameter("layer1.0.conv1.weight")
    'layer1.0.conv1'
    >>> _layer_of_parameter("conv.parametrizations.weight.original")
    'conv'
    >>> _layer_of_parameter("attn.in_proj_weight")
    'attn.in_proj'
    >>> _layer_of_parameter("lstm.weight_ih_l0")
    'lstm.weight_ih_l0'
    """
    owner, _, weight = f".{key}".rpartition(".")
    if ".parametrizations." in owner:
        owner, _, weight = owner.rpartition(".parametrizations.")
    owner = owner.lstrip(".")
    if weight in ("weight", "weight_orig", "weight_mask", "weight_v", "weight_g"):
        return owner
    if weight.endswith("_weight"):
        return f"{owner}.{weight.removesuffix('_weight')}".lstrip(".")
    if weight.startswith("weight_"):
        return f"{owner}.{weight}".lstrip(".")
    return None


def _usual_name(op):
    """Name of an aten operator as users know it.

    Examples
    --------
    >>> _usual_name("max_pool2d_with_indices"), _usual_name("native_batch_norm")
    ('max_pool2d', 'batch_norm')
    """
    op = KNOWN_AS.get(op, op).strip("_")
    return op.removeprefix("native_").removesuffix("_with_indices")
