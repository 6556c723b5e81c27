"""A torch module runs on real tensors, once, where values decide how it goes on.

Non-maximum suppression keeps as many boxes as overlap too little; a mask, ``nonzero``
or a branch on ``.item()`` decides likewise. A trace of shapes ends there, so the module
runs on one seeded random image, which stands for each of the batch, and the network's
note names the layers whose rows were decided so.
"""

from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from eyeriss_sim.importers.constants import META, tensors_in
from eyeriss_sim.importers.eval_mode import RUNNING, in_eval_mode
from eyeriss_sim.importers.torch_module import Recorder, reason, written

SEED = 0
# Operators whose result has as many rows as values say.
DECIDING = {"nonzero", "nonzero_numpy", "masked_select", "nms", "unique_consecutive",
            "unique_dim", "_unique2", "_unique", "unique_dim_consecutive",
            "repeat_interleave", "bincount", "batched_nms", "nms_rotated",
            "_pack_padded_sequence"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Their results have the shape of what they write into, or fewer dimensions.
FIXED_SHAPE = {"index_put", "index_put_", "_index_put_impl_", "scatter", "scatter_",
               "scatter_add", "scatter_add_", "scatter_reduce", "index_add",
               "index_copy", "copy_", "sum", "mean", "amax", "amin", "max", "topk",
               "bincount", "any", "all"}
MOST_FIXED = 20_000         # results that a fixed number of rows may fill up


class NeedsValues(ValueError):
    """Values decide, and the module is on meta, where there are none."""


class RealRecorder(Recorder):
    """Runs a module on tensors with values."""

    def __init__(self, module, inputs, once=frozenset()):
        super().__init__(module, inputs, once)
        self._libraries = (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled)

    @contextmanager
    def _surroundings(self):
        """No fused kernels (attention, LSTM) that would hide the layers in them."""
        fast = torch.backends.mha.get_fastpath_enabled()
        with ExitStack() as stack:
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            torch.backends.mha.set_fastpath_enabled(False)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.callback(_use_libraries, self._libraries)
            _use_libraries((False, False))
            yield

    def _call(self, func, op, args, kwargs):
        _use_libraries(self._libraries)         # here they hide nothing
        try:
            return func(*args, **kwargs)
        finally:
            _use_libraries((False, False))


def _use_libraries(enabled):
    """Switch oneDNN and cuDNN, whose fused LSTM torch takes where it can."""
    mkldnn, cudnn = enabled
    torch._C._set_mkldnn_enabled(mkldnn)
    torch._C._set_cudnn_enabled(cudnn)


def network_by_running(module, inputs, name, proposals=None, once=frozenset()):
    """The network of a module whose values decide how it goes on.

    Parameters
    ----------
    module : torch.nn.Module
        With values; runs in eval mode and is left as it was.
    inputs : Inputs
    name : str
    proposals : int, optional
        Rows, a decision, that go on wherever values decide; fewer where there are
        fewer candidates.
    once : set of int
        Products of constants to leave out, as a Recorder takes them.

    Returns
    -------
    Network
        Its note names the layers whose rows were decided.

    Raises
    ------
    NeedsValues
        A parameter or buffer is on meta.
    ValueError
        The forward fails.
    """
    for key, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.device == META:
            raise NeedsValues(
                f"{name}: values decide how its forward goes on, but {key} is on meta "
                "and has none; build the module with real tensors")
    batch, inputs = inputs.batch, inputs.of_one_image()
    given = inputs.with_values(module, SEED)
    with RUNNING, in_eval_mode(module), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        recorder = DecisionRecorder(module, given, proposals, once)
        try:
            recorder.run()
        except (Exception, SystemExit) as problem:
            raise ValueError(reason(
                problem, name, recorder, given.tensors)) from problem
    network = recorder.network(name)
    return network.with_batch(batch) if given.batch == 1 else network


class DecisionRecorder(RealRecorder):
    """Follows what rows were decided by values, and fixes their number if asked.

    Parameters
    ----------
    module, inputs, once
        Arguments of a Recorder.
    proposals : int or None
    """

    def __init__(self, module, inputs, proposals=None, once=frozenset()):
        super().__init__(module, inputs, once)
        self._proposals = proposals
        self._deciders = {}         # (module, operator): None, in the order of the run
        self._decided = set()       # storages with a decided number of rows
        self._counts = set()        # numbers of rows that were decided
        self._asked = set()         # whole numbers that .item() gave
        self._rows = []             # (layer, decided rows an image)
        self._fixed = 0

    def notes(self):
        """Decisions, their places, and the layers that they reached: one line."""
        if not self._deciders:
            return ()
        places: dict[str, list[str]] = {}
        for path, op in self._deciders:
            places.setdefault(path or "the network", []).append(op)
        where = "; ".join(f"{path} ({', '.join(ops)})"
                          for path, ops in list(places.items())[:3])
        if len(places) > 3:
            where += f" and {len(places) - 3} more"
        how = ("one run on seeded random input" if self._proposals is None else
               f"one run on seeded random input, {self._proposals} rows fixed at each "
               "decision")
        kinds = {op for ops in places.values() for op in ops}
        said = [f"values decide in {where}: {how}"]
        if ".item()" in kinds:
            said.append("each branch on .item() counts as it went in that run")
        if self._rows:
            said.append("rows an image that reached later products: "
                        + ", ".join(_runs_of_layers(self._rows)))
            if self._proposals is None and "pack_padded_sequence" not in kinds:
                said.append("--proposals K fixes them")
        elif kinds != {".item()"}:
            said.append("no later product has a number of rows that was decided")
        return ("; ".join(said),)

    def _taken(self, func, args, kwargs):
        op = func.overloadpacket.__name__
        if self._proposals is None or op not in INDEXING:
            return args, kwargs
        indices = []
        for index in args[1]:
            if index is not None and index.dtype in (torch.bool, torch.uint8) and (
                    self._is_activation(index)):
                self._decides(op, index)
                columns = self._fixed_rows(index.nonzero(), index).unbind(1)
                for column in columns:
                    self._mark(column, decided=True)
                indices += columns
            else:
                indices.append(index)
        return (args[0], indices, *args[2:]), kwargs

    def _mark(self, tensor, decided):
        storage = self._storage(tensor)
        self._activations.add(storage)
        if decided:
            self._decided.add(storage)
            self._counts.add(tensor.shape[0])

    def _call(self, func, op, args, kwargs):
        out = super()._call(func, op, args, kwargs)
        if self._proposals is None or not any(
                map(self._is_activation, tensors_in(args))):
            return out
        if op == "nonzero":
            return self._fixed_rows(out, args[0])
        if op == "masked_select":
            values, mask = torch.broadcast_tensors(*args[:2])
            return values[tuple(self._fixed_rows(mask.nonzero(), mask).unbind(1))]
        if op == "nms":
            scores = args[1]
            kept = torch.zeros_like(scores, dtype=torch.bool)
            kept[out] = True
            others = scores.argsort(descending=True, stable=True)
            others = others[~kept[others]]
            return torch.cat([out, others])[:self._at_most(len(scores), len(out))]
        return out

    def _fixed_rows(self, places, mask):
        """Rows of ``nonzero``, cut or filled up with places where the mask is zero."""
        rows = self._at_most(mask.numel(), len(places))
        missing = rows - len(places)
        if missing > 0:
            places = torch.cat([places, (mask == 0).nonzero()[:missing]])
        return places[:rows]

    def _at_most(self, candidates, natural):
        rows = min(self._proposals, candidates)
        if rows > natural:
            self._fixed += 1
            if self._fixed > MOST_FIXED:
                raise ValueError(
                    f"proposals={self._proposals}: a loop on values does not end with "
                    "a fixed number of rows; leave it out")
        return rows

    def _decides(self, op, *tensors):
        if any(map(self._is_activation, tensors)):
            self._deciders.setdefault((self._stack[-1], op.strip("_")))

    def _asked_for(self, value, tensor):
        """A number was asked for: a branch or a size may follow from it."""
        if self._is_activation(tensor):
            self._decides(".item()", tensor)
            if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                self._asked.add(value)

    def _follow(self, func, op, args, tensors, outputs, active):
        super()._follow(func, op, args, tensors, outputs, active)
        results = outputs + written(func, args)
        sizes = {size for one in tensors for size in one.shape}
        if (active and (op in DECIDING or (op in INDEXING and _has_mask(args)))
                and op not in ("index_put", "index_put_", "_index_put_impl_")):
            self._decides(op, *tensors)
            for result in outputs:
                self._mark(result, decided=True)
            return
        by_number = self._asked and any(
            size in self._asked and size not in sizes
            for result in results for size in result.shape)
        decided = [one for one in tensors if self._storage(one) in self._decided]
        if not decided and not by_number:
            return
        for result in results:
            if by_number or (op not in FIXED_SHAPE and not written(func, args)) or (
                    self._counts & set(result.shape)):
                self._decided.add(self._storage(result))
                if result.dim() and result.shape[0] not in sizes:
                    self._counts.add(result.shape[0])

    def _saw_layer(self, layer, operands, out):
        self._note_rows(layer, operands.ifmap, operands.filt)

    def _saw_packed(self, layer, ifmap):
        self._note_rows(layer, ifmap)

    def _note_rows(self, layer, ifmap, *others):
        if self._decided & {self._storage(one) for one in (ifmap, *others)}:
            rows = layer.N if layer.R * layer.S > 1 or ifmap.dim() > 3 else (
                layer.N * layer.H * layer.W)
            # Of a late step only some of the images may have a row.
            self._rows.append((layer.name, max(1, rows * (
                layer.groups if layer.dynamic_filters else 1) // self.log.batch)))

    def _left_out(self, name):
        self._rows.append((name, 0))


def _has_mask(args):
    return any(index is not None and index.dtype in (torch.bool, torch.uint8)
               for index in args[1])


def _runs_of_layers(rows):
    """Layers in a row that got as many rows, in words.

    Examples
    --------
    >>> list(_runs_of_layers([("a", 9), ("b", 9), ("c", 9), ("d", 0)]))
    ['a to c 9', 'd 0 (left out)']
    """
    place = 0
    while place < len(rows):
        last = place
        while last + 1 < len(rows) and rows[last + 1][1] == rows[place][1]:
            last += 1
        name, count = rows[place]
        names = name if last == place else f"{name} to {rows[last][0]}"
        yield f"{names} {count:,}" + ("" if count else " (left out)")
        place = last + 1
