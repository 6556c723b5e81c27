"""A walk through an ONNX graph in the order in which it runs, branches and loops too.

Every value's shape follows from the operands' own, node by node: what the file states
of intermediate values is asked only where that fails, because it may be stale.
"""

import ast
from collections import ChainMap
from contextlib import contextmanager
from dataclasses import replace
from math import gcd, prod

import numpy as np
from onnx import AttributeProto, defs, numpy_helper

from eyeriss_sim.importers import onnx_contrib
from eyeriss_sim.importers.onnx_operators import (
    HIDDEN,
    STANDARD,
    STANDARD_HIDING,
    STANDARD_HOLDING,
    Operands,
    Refused,
)
from eyeriss_sim.importers.onnx_shapes import (
    SHAPE_WORDS,
    Value,
    node_types,
    shape_of,
    small_results,
    tensor_type,
)
from eyeriss_sim.importers.onnx_weights import evaluated, read_tensor
from eyeriss_sim.importers.operators import OperatorLog, flattened_map

FREE = {
    "Constant", "ConstantOfShape", "Dropout", "Expand", "Flatten", "Identity", "Range",
    "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
# Each value of the result comes of one value of each operand.
ELEMENTWISE = {"Abs", "Add", "Cast", "Clip", "Div", "Exp", "Mul", "Neg", "Pow", "Relu",
               "Round", "Sigmoid", "Sign", "Sqrt", "Sub", "Tanh", "Where"}
# Results whose values describe shapes, not images.
SHAPES = {"Shape", "Size"}
# Nodes that loops may come to, each with its own shapes.
MOST_IN_LOOPS = 20_000
STANDARD_DOMAINS = ("", "ai.onnx")
SCOPES = "pkg.torch.onnx.name_scopes"       # where torch's dynamo exporter says it


class OnnxLog(OperatorLog):
    """Layers of a graph, their names, and the weights that they multiply by."""

    def __init__(self, batch):
        super().__init__(batch)
        self.weights = {}           # layer: Weight of its filters

    def name_of(self, one, value):
        """Name of a layer: the module that made it, the weight's, or the node's."""
        source = value.source if value is not None else ""
        source = source.removesuffix("_quantized")
        if source.endswith(".weight"):
            return source.removesuffix(".weight")
        node = one.node
        path = scoped_path(node) or module_path(node.name)
        if not path:
            return node.name or next(filter(None, node.output), node.op_type)
        if value is not None and value.constant:
            return path
        return f"{path}.{node.op_type.lower()}"

    def weigh(self, layer, weight):
        """Keep the filter operand of a layer, if it is one of weights."""
        if weight.value is not None and weight.value.constant:
            self.weights[layer.name] = weight


class Walk:
    """Collects the layers of a model.

    Parameters
    ----------
    path : Path
        The file, for errors, and where its weights in other files are looked for.
    model : onnx.ModelProto
        Without functions, its inputs bound.
    batch : int
        Images that the inputs stand for.
    """

    def __init__(self, path, model, batch):
        self.path, self.graph = path, model.graph
        self.opsets = list(model.opset_import)
        self.log = OnnxLog(batch)
        self._in_loops = 0      # nodes run in loops so far
        self._loops = 0         # loops that are being run
        self._trips = []        # what is told of them in errors, the outermost first

    def run(self):
        """Walk through the whole graph; the log of its layers."""
        scope: ChainMap[str, Value] = ChainMap()
        inputs = {value.name: Value(value.type) for value in self.graph.input}
        scope.update(inputs)
        self._walk(self.graph, scope)
        return self.log

    def _walk(self, graph, scope):
        """Run a graph's nodes in ``scope``; the Values of its outputs."""
        for tensor in graph.initializer:
            scope[tensor.name] = self._weight(tensor)
        for sparse in graph.sparse_initializer:
            kind = tensor_type(list(sparse.dims))
            scope[sparse.values.name] = Value(kind, constant=True,
                                              source=sparse.values.name)
        stated = {value.name: value.type
                  for value in [*graph.value_info, *graph.output]}
        for node in graph.node:
            values = {name: scope.get(name) or Value(why="it is not there")
                      for name in node.input if name}
            try:
                results = self._visit(node, values, scope, stated)
            except (AttributeError, ArithmeticError, LookupError, TypeError,
                    ValueError) as problem:
                raise self._named(node, problem) from problem
            scope.update(zip(node.output, results, strict=True))
        return [scope.get(value.name) or Value() for value in graph.output]

    def _weight(self, tensor):
        """Value of an initializer; its content only if it is small and in the file."""
        array = None
        if (prod(tensor.dims) <= SHAPE_WORDS
                and tensor.data_location != tensor.EXTERNAL):
            # What stands in other files is not looked for as sizes.
            try:
                array = numpy_helper.to_array(tensor)
            except Exception:
                array = None        # a tensor without its values, or of another length
        return Value(tensor_type(list(tensor.dims), _element(tensor)), array,
                     constant=True, source=tensor.name,
                     maker=lambda: read_tensor(tensor, self.path.parent))

    def _named(self, node, problem):
        """The problem with the file and the node that it comes from."""
        said = " ".join(str(problem).split())
        if said.startswith(f"{self.path}: "):
            return problem
        name = node.name or "".join(node.output[:1])
        advice = "; is the model valid? onnx.checker tells"
        if isinstance(problem, Refused):
            advice = ""
        elif self._trips:
            trips = " of ".join(reversed(self._trips))
            advice = (f"; this is {trips}: if what the loop hands on shrinks, lower "
                      "its trip count or pad")
        return ValueError(f"{self.path}: {node.op_type} {name}: {said}{advice}")

    # ------------------------------------------------------------------- one node

    def _visit(self, node, values, scope, stated):
        """Results of a node, a Value for each output; its layers go to the log."""
        if self._loops:
            self._in_loops += 1
            if self._in_loops > MOST_IN_LOOPS:
                raise Refused(f"the loops run more than {MOST_IN_LOOPS} nodes, each "
                              "of its own shape; lower their trip counts")
        standard = node.domain in STANDARD_DOMAINS
        if standard and node.op_type in ("If", "Loop", "Scan"):
            run = {"If": self._if, "Loop": self._loop, "Scan": self._scan}
            return run[node.op_type](node, values, scope, stated)
        if any(attr.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
               for attr in node.attribute):
            return self._other_graphs(node, stated)
        types, arrays, why = self._results(node, values, standard)
        constant = all(value.constant for value in values.values())
        if constant or (standard and node.op_type in SHAPES):
            return self._constants(node, values, types, arrays)
        one = Operands(node, [values.get(name) for name in node.input])
        for name, kind in stated.items():
            if name in node.output and shape_of(types.get(name)) is None:
                types[name] = kind
        shapes = self._count(node, one, types)
        like = next((value.type for value in values.values()
                     if value.type is not None
                     and value.type.HasField("tensor_type")), None)
        # A node need not name all that its operator gives, nor an operator tell shapes.
        for name, shape in zip(node.output, shapes or (), strict=False):
            if name and shape_of(types.get(name)) is None:
                types[name] = tensor_type(shape, like)
        fmap = self._fmap(node, one, types)
        return [Value(types.get(name), fmap=None if place else fmap, why=why)
                for place, name in enumerate(node.output)]

    def _results(self, node, values, standard):
        """Types by name, small arrays or None, and why a type is not known."""
        if standard and defs.has(node.op_type):
            types, why = node_types(node, values, self.opsets)
            return types, small_results(node, values, types, self.opsets), why
        known = node.domain == onnx_contrib.DOMAIN or (
            standard and node.op_type in onnx_contrib.OPTIMISED)
        twin = known and onnx_contrib.standard_twin(node, values)
        if not twin:
            return {}, None, f"onnx does not know {_label(node)}"
        operands = {name: values[name] for name in twin.input if name in values}
        last = onnx_contrib.channels_last(node)
        if last:
            operands = {name: _moved(value, -1, 1) for name, value in operands.items()}
        types, why = node_types(twin, operands, onnx_contrib.TWIN_OPSET)
        if last:
            types = {name: _moved(Value(kind), 1, -1).type
                     for name, kind in types.items()}
        return types, None, why

    def _constants(self, node, values, types, arrays):
        source = next((value.source for value in values.values() if value.source), "")
        arrays = arrays or [None] * len(node.output)
        results = []
        for place, (name, array) in enumerate(zip(node.output, arrays, strict=True)):
            kind = types.get(name)
            if array is not None and shape_of(kind) is None:
                kind = tensor_type(array.shape, kind)
            results.append(Value(
                kind, array, constant=True, source=source,
                copies=_copies(node, values, shape_of(kind)), maker=(
                    lambda place=place: evaluated(node, values, self.opsets)[place])))
        return results

    def _count(self, node, one, types):
        """Add a node to the log; shapes of its results if it tells them."""
        op = node.op_type
        if node.domain in STANDARD_DOMAINS:
            run, hiding, holding = STANDARD.get(op), STANDARD_HIDING, STANDARD_HOLDING
            known = defs.has(op) or op in onnx_contrib.OPTIMISED
        elif node.domain == onnx_contrib.DOMAIN:
            run, hiding = onnx_contrib.CONTRIB.get(op), onnx_contrib.HIDING
            holding = onnx_contrib.HOLDING
            known = op in onnx_contrib.TWINS or op in onnx_contrib.OTHERS
        else:
            run, hiding, holding = None, _sounding_like_products(op), STANDARD_HOLDING
            known = defs.has(op, node.domain)
        if run is not None:
            return run(self.log, one)
        if op in hiding:
            raise Refused(HIDDEN)
        if op not in FREE or not known:
            name = _label(node)
            if op in holding or not known:
                name += " (holds products)" if op in holding else (
                    " (may hold products)")
            shape = shape_of(types.get(next(iter(node.output), "")))
            self.log.other(name, None if shape is None else prod(shape))
        return None

    def _fmap(self, node, one, types):
        """The map that the first result is, flattened, also after an activation."""
        value = one.value(0)
        after = shape_of(types.get(next(iter(node.output), "")))
        if value is None or value.shape is None or after is None:
            return None
        flat = (flattened_map(value.shape, after)
                if node.op_type in ("Flatten", "Reshape") else None)
        return flat or (value.fmap if value.shape == after else None)

    # --------------------------------------------------------- branches and loops

    @contextmanager
    def _aside(self, runs=1):
        """A log of its own for a while: what a graph gives before it is counted."""
        kept, self.log = self.log, OnnxLog(self.log.batch)
        try:
            yield self.log
        finally:
            self.log = kept

    @contextmanager
    def _repeated(self, runs):
        """Let what is counted meanwhile run so often, one time after the other."""
        self.log.runs *= runs
        self._loops += 1
        try:
            yield
        finally:
            self.log.runs //= runs
            self._loops -= 1

    def _other_graphs(self, node, stated):
        """A node with graphs of which it is not known how often they run."""
        if any(map(holds_products, graphs_of(node))):
            raise Refused("how often it runs the products in it can't be told")
        self.log.other(_label(node), None)
        return [Value(stated.get(name)) for name in node.output]

    def _if(self, node, values, scope, stated):
        branches = {attr.name: attr.g for attr in node.attribute}
        yes, no = branches["then_branch"], branches["else_branch"]
        decides = values[node.input[0]].array
        if decides is not None:
            return self._walk(yes if decides.item() else no, scope.new_child())
        ways = []
        for branch in (yes, no):
            with self._aside() as log:
                try:
                    results = self._walk(branch, scope.new_child())
                except ValueError:
                    if holds_products(branch):
                        raise
                    results = [Value() for _ in node.output]
            ways.append(([replace(layer, name="") for layer in log.layers], results))
        if ways[0][0] != ways[1][0]:
            raise Refused("which of its branches runs depends on the image, and they "
                          "hold different products; export the branch that is meant")
        results = []
        for name, one, other in zip(node.output, ways[0][1], ways[1][1], strict=True):
            same = one.shape is not None and one.shape == other.shape
            results.append(Value(one.type if same else stated.get(name),
                                 why="it depends on the branch that runs"))
        if ways[0][0]:
            self._walk(yes, scope.new_child())
        else:
            self.log.other("If", None)
        return results

    def _loop(self, node, values, scope, stated):
        body, = graphs_of(node)
        most, going = (values.get(name) for name in (*node.input, "", "")[:2])
        states = [values[name] for name in node.input[2:]]
        trips = None if most is None or most.array is None else int(most.array.item())
        if most is not None and trips is None:
            return self._undecided(node, body, stated, "how often it runs")
        if going is not None and going.array is None:
            return self._undecided(node, body, stated, "whether it runs at all")
        runs, ends = 0, going is not None and not going.array.item()
        pieces, length = [], 0
        while not ends and (trips is None or runs < trips):
            count, goes_on, results = self._iteration(
                node, body, states, scope, runs,
                None if trips is None else trips - runs)
            if goes_on is None:
                return self._undecided(node, body, stated, "how often it runs")
            runs, ends = runs + count, not goes_on
            states, pieces = results[:len(states)], results[len(states):]
            length += count
        if not pieces:
            pieces = [Value()] * (len(node.output) - len(states))
        return [*(_state(value) for value in states),
                *(_stacked(value, length, 0) for value in pieces)]

    def _iteration(self, node, body, states, scope, place, left):
        """Count as many iterations as are alike; (their number, goes on, results).

        Iterations are alike if a loop's states keep their shapes, and nothing but
        what depends on the image tells one from the next. ``goes on`` is None where
        it depends on the image.
        """
        def once():
            goes_on, *results = self._body(body, states, scope, None)
            return results, goes_on

        results, goes_on = self._trial(once, states)
        alike = goes_on is not None and all(map(_alike, states, results))
        if alike and goes_on and left is not None:
            with self._repeated(left):
                goes_on, *results = self._body(body, states, scope, None)
            return left, goes_on, results
        if alike and not goes_on:
            left = 1
        self._trips.append(f"trip {place + 1} of {node.op_type} "
                           f"{node.name or ''.join(node.output[:1])}")
        with self._repeated(1):
            goes_on, *results = self._body(body, states, scope, place)
        self._trips.pop()
        return 1, goes_on, results

    def _trial(self, once, states):
        """Results of an iteration, uncounted; ``states`` that a later one makes of the
        image are no constants from the first on.
        """
        while True:
            with self._aside():
                try:
                    results, goes_on = once()
                except ValueError:      # it may need to know which iteration it is
                    return [Value() for _ in states], None
            # Behind the states come pieces of what the loop stacks.
            lost = [place for place, (before, after) in enumerate(
                        zip(states, results[:len(states)], strict=True))
                    if before.constant and not after.constant]
            if not lost:
                return results, goes_on
            for place in lost:
                states[place] = Value(states[place].type)

    def _body(self, body, states, scope, place):
        """One iteration: whether another follows (None: unknown), and its results."""
        inner = scope.new_child()
        index, going, *names = [value.name for value in body.input]
        inner[index] = Value(tensor_type(()), constant=True, array=(
            None if place is None else np.int64(place)))
        inner[going] = Value(tensor_type(()), np.bool_(True), constant=True)
        for name, state in zip(names, states, strict=True):
            inner[name] = state if place is not None else _state(state)
        goes_on, *results = self._walk(body, inner)
        return None if goes_on.array is None else bool(goes_on.array.item()), *results

    def _undecided(self, node, body, stated, what):
        if holds_products(body):
            raise Refused(f"{what} depends on the image, and it holds products; export "
                          "it with a fixed trip count")
        self.log.other(node.op_type, None)
        return [Value(stated.get(name)) for name in node.output]

    def _scan(self, node, values, scope, stated):
        one = Operands(node, [values.get(name) for name in node.input])
        body, = graphs_of(node)
        scanned = one.attributes["num_scan_inputs"]
        if any(entry.domain in STANDARD_DOMAINS and entry.version < 9
               for entry in self.opsets):
            return self._undecided(node, body, stated, "what Scan of opset 8 runs over")
        first = len(one.values) - scanned
        axes = one.attributes.get("scan_input_axes") or [0] * scanned
        states, lengths, slices = one.values[:first], set(), []
        for place, axis in zip(range(first, len(one.values)), axes, strict=True):
            shape = list(one.shape(place))
            lengths.add(shape.pop(axis))
            value = one.values[place]
            slices.append(Value(tensor_type(shape, value.type),
                                constant=value.constant, source=value.source))
        if len(lengths) > 1:
            raise ValueError(f"its inputs have {sorted(lengths)} slices")
        left = trips = lengths.pop()
        results = []
        while left:
            def once(states=states):
                given = [*map(_state, states), *slices]
                return self._scan_body(body, given, scope), True

            results, _ = self._trial(once, states)
            count = left if all(map(_alike, states, results)) else 1
            with self._repeated(count):
                results, _ = once()
            states, left = results[:first], left - count
        pieces = results[first:]
        where = one.attributes.get("scan_output_axes") or [0] * len(pieces)
        return [*map(_state, states),
                *(_stacked(value, trips, axis)
                  for value, axis in zip(pieces, where, strict=True))]

    def _scan_body(self, body, given, scope):
        inner = scope.new_child()
        inner.update(zip((value.name for value in body.input), given, strict=True))
        return self._walk(body, inner)


# ------------------------------------------------------------------- values of loops


def _state(value):
    """A value that a loop hands on: its content may be another next time."""
    return Value(value.type, constant=value.constant, source=value.source,
                 why=value.why)


def _alike(before, after):
    """True if a state after an iteration says nothing else than before it."""
    return (before.shape is not None and before.shape == after.shape
            and before.constant == after.constant)


def _stacked(value, length, axis):
    """A result of all iterations, one behind the other on a new axis."""
    if value.shape is None:
        return Value(why=value.why)
    shape = list(value.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, length)
    return Value(tensor_type(shape, value.type), why=value.why)


def _moved(value, source, target):
    """A value of four dimensions with one axis moved."""
    if value.shape is None or len(value.shape) < 3:
        return value
    shape = list(value.shape)
    size = shape.pop(source)
    shape.insert(target if target >= 0 else len(shape), size)
    return Value(tensor_type(shape, value.type))


# --------------------------------------------------------------------------- graphs


def graphs_of(node):
    """The graphs among a node's attributes."""
    graphs = []
    for attr in node.attribute:
        if attr.type == AttributeProto.GRAPH:
            graphs.append(attr.g)
        graphs.extend(attr.graphs)
    return graphs


def holds_products(graph):
    """True if any node of a graph, or of one in it, may multiply and add."""
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS:
            named = node.op_type in STANDARD or node.op_type in STANDARD_HIDING
        else:
            named = (node.op_type in onnx_contrib.CONTRIB
                     or node.op_type in onnx_contrib.HIDING
                     or node.domain != onnx_contrib.DOMAIN)
        if named or any(map(holds_products, graphs_of(node))):
            return True
    return False


def _copies(node, values, after):
    """Times that the result of a node on constants repeats what it has, as a whole."""
    operands = [values.get(name) for name in node.input if name]
    if node.op_type in ELEMENTWISE:
        if not after or any(one is None or one.shape is None for one in operands):
            return 1
        return gcd(*(_copies_in(one, after) for one in operands))
    first = operands[0] if operands else None
    if first is None or not first.shape or not after:
        return 1
    if node.op_type in ("Expand", "Tile"):
        return _copies_in(first, after)
    if node.op_type == "Concat" and len(set(node.input)) == 1 and after[0] == (
            first.shape[0] * len(node.input)):
        return first.copies * len(node.input)
    if node.op_type == "Transpose":
        order = next((attr.ints for attr in node.attribute if attr.name == "perm"), ())
        return first.copies if order and order[0] == 0 and (
            first.copies == first.shape[0]) else 1
    if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        of_all = all(one.shape is not None and prod(one.shape) == 1
                     for one in operands[1:])
        return first.copies if of_all else 1
    return first.copies if node.op_type in (
        "Identity", "Reshape", "Squeeze", "Unsqueeze") else 1


def _copies_in(value, after):
    """Times that a value is repeated as a whole where it is expanded to a shape."""
    copies = value.copies
    before = (1,) * (len(after) - len(value.shape)) + value.shape
    for old, new in zip(before, after, strict=True):
        copies *= new // old
        if old > 1:
            break
    return copies


def _sounding_like_products(op):
    """An operator of an unknown domain that is called like one with products."""
    known = {*STANDARD, *STANDARD_HIDING, *onnx_contrib.CONTRIB, *onnx_contrib.HIDING}
    return {op} & known


def _label(node):
    """A kind of operator as reports list it."""
    if node.domain in (*STANDARD_DOMAINS, onnx_contrib.DOMAIN):
        return node.op_type
    return f"{node.domain}.{node.op_type}"


def _element(tensor):
    kind = tensor_type(())
    kind.tensor_type.elem_type = tensor.data_type
    return kind


# ---------------------------------------------------------------------------- names


def scoped_path(node):
    """Dotted torch module that torch's dynamo exporter wrote beside a node, or ""."""
    for entry in node.metadata_props:
        if entry.key != SCOPES:
            continue
        try:
            scopes = ast.literal_eval(entry.value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
        if isinstance(scopes, list) and len(scopes) > 1 and all(
                isinstance(scope, str) for scope in scopes):
            return scopes[-2]       # the last is the call in it
    return ""


def module_path(node):
    """Dotted torch module in the name of a node, or "".

    Examples
    --------
    >>> module_path("/layer1/layer1.0/conv1/Conv")
    'layer1.0.conv1'
    >>> module_path("/blocks.0/attn/MatMul_1"), module_path("Conv_3")
    ('blocks.0.attn', '')
    """
    parts = node.split("/")
    if len(parts) < 3 or parts[0]:
        return ""
    path: list[str] = []
    last = ""
    for part in parts[1:-1]:
        # A module inside a Sequential repeats the name of its container.
        if last and part.startswith(last + "."):
            path.pop()
        path.append(part)
        last = part
    return ".".join(path)
