"""Layer shapes, in the letters of the Eyeriss papers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from eyeriss_sim.plain import is_whole, plain, shown

# Counts are int64 in the kernels and float64 once zeros have been taken off; up to here
# both are exact, with room for the cycles that a word may take.
EXACT = 2**53


class Shape(NamedTuple):
    """Sizes that the array sees of one step of a layer, its name left out; hashable.

    A layer's ``shape`` is one. It answers for its sizes as the layer does, so that what
    asks for nothing else takes either.

    Parameters
    ----------
    N, groups, M_group, C, H, W, R, S, U, V : int
        Sizes in the letters of ConvLayer; M_group counts the filters of one group.
    dilation : (int, int)

    Examples
    --------
    >>> fc = ConvLayer(name="FC", N=4, M=10, C=64, H=1, W=1, R=1, S=1)
    >>> fc.shape.macs == fc.macs, fc.shape in {fc.shape}
    (True, True)
    """

    N: int
    groups: int
    M_group: int
    C: int
    H: int
    W: int
    R: int
    S: int
    U: int
    V: int
    dilation: tuple[int, int]

    @property
    def name(self) -> str:
        """Words that stand for a name in messages."""
        return "a layer"

    @property
    def steps(self) -> int:
        """The one step that a shape is."""
        return 1

    @property
    def one_step(self) -> "Shape":
        """The shape itself."""
        return self

    @property
    def shape(self) -> "Shape":
        """The shape itself."""
        return self

    @property
    def M(self) -> int:
        """Filters of all groups."""
        return self.M_group * self.groups

    @property
    def R_span(self) -> int:
        """Height in pixels that a filter covers, dilation included."""
        return (self.R - 1) * self.dilation[0] + 1

    @property
    def S_span(self) -> int:
        """Width in pixels that a filter covers, dilation included."""
        return (self.S - 1) * self.dilation[1] + 1

    @property
    def E(self) -> int:
        """Ofmap height in pixels."""
        return (self.H - self.R_span) // self.U + 1

    @property
    def F(self) -> int:
        """Ofmap width in pixels."""
        return (self.W - self.S_span) // self.V + 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer, zeros included."""
        return self.ofmap_words * self.C * self.R * self.S

    @property
    def ifmap_words(self) -> int:
        """Ifmap values of the batch, all groups, padding included."""
        return self.N * self.groups * self.C * self.H * self.W

    @property
    def filter_words(self) -> int:
        """Weights of the layer, biases not included."""
        return self.M * self.C * self.R * self.S

    @property
    def ofmap_words(self) -> int:
        """Ofmap values of the batch."""
        return self.N * self.M * self.E * self.F


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """One CONV layer: a shape with a name; an FC layer is the case R = H, S = W, U = 1.

    Parameters
    ----------
    name : str
        Used in every message and report row.
    N, M, C : int
        Batch size; filters, i.e. ofmap channels, of all groups; channels of one filter.
    H, W : int
        Ifmap height and width in pixels, *padding included*.
    R, S : int
        Filter height and width in taps (a dilated filter covers more pixels).
    U, V : int
        Vertical and horizontal stride in pixels; V defaults to U, the papers' case.
    groups : int
        Groups that share neither ifmap channels nor filters; M is a multiple of it.
    dilation : int or (int, int)
        Distance of neighbouring filter taps in pixels, (vertical, horizontal).
    padding : int or (int, int, int, int)
        Pixels of H and W that are padding: (top, bottom, left, right).
    dynamic_filters : bool
        The filter operand is an activation too (a product of two activations), so each
        image brings its own: a larger batch means more groups, not a larger N.
    steps : int
        Times that the layer runs, one after the other, each time on other values:
        the steps of a recurrent layer. Filters are read anew at each.

    Raises
    ------
    ValueError
        A size below 1, a filter that exceeds the ifmap, groups that do not divide M,
        padding that leaves no pixel of the ifmap, or more work than can be counted
        exactly.

    Examples
    --------
    >>> conv1 = ConvLayer(name="CONV1", N=4, M=96, C=3, H=227, W=227, R=11, S=11, U=4)
    >>> conv1.E, conv1.F, conv1.macs
    (55, 55, 421660800)
    """

    name: str
    N: int = 1
    M: int
    C: int
    H: int
    W: int
    R: int
    S: int
    U: int = 1
    V: int = None           # type: ignore[assignment]  # U unless given
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dynamic_filters: bool = False
    steps: int = 1

    def __post_init__(self):
        def set_field(key, value):
            object.__setattr__(self, key, value)

        if self.V is None:
            set_field("V", self.U)
        for key in ("N", "M", "C", "H", "W", "R", "S", "U", "V", "groups",
                    "steps"):
            value = plain(getattr(self, key))
            set_field(key, value)
            if not is_whole(value, 1):
                raise ValueError(
                    f"{self.name}: {key} must be a whole number of at least 1, "
                    f"got {shown(value)}")
            if value > EXACT:
                raise ValueError(f"{self.name}: {key}={shown(value)} exceeds the "
                                 f"{EXACT} that is counted exactly; lower {key}")
        for key, length, least in (("dilation", 2, 1), ("padding", 4, 0)):
            values = plain(getattr(self, key))
            values = ((values,) * length if isinstance(values, int)
                      else tuple(map(plain, values)))
            set_field(key, values)
            if len(values) != length or not all(is_whole(v, least) for v in values):
                raise ValueError(
                    f"{self.name}: {key} must be {length} whole numbers of at least "
                    f"{least}, got ({', '.join(map(shown, values))})")
            if max(values) > EXACT:
                raise ValueError(
                    f"{self.name}: {key}={shown(max(values))} exceeds the {EXACT} that "
                    f"is counted exactly; lower {key}")
        if self.M % self.groups:
            raise ValueError(
                f"{self.name}: M={self.M} filters cannot be divided into "
                f"groups={self.groups}; M counts the filters of all groups")
        for filt, span, fmap in (("R", self.R_span, "H"), ("S", self.S_span, "W")):
            if span > getattr(self, fmap):
                raise ValueError(
                    f"{self.name}: filter {filt}={getattr(self, filt)} covers {span} "
                    f"pixels and exceeds the padded ifmap "
                    f"{fmap}={getattr(self, fmap)}; was padding added?")
        top, bottom, left, right = self.padding
        for pad, fmap in ((top + bottom, "H"), (left + right, "W")):
            if pad >= getattr(self, fmap):
                raise ValueError(
                    f"{self.name}: padding of {pad} pixels leaves nothing of "
                    f"{fmap}={getattr(self, fmap)}; {fmap} must include the padding")
        # No level sees more words than this: every MAC, or every pixel that a filter
        # row passes over, fetched anew.
        most = (self.steps * self.N * self.M * self.C * self.R * self.E
                * (self.S * (self.F - 1) * self.V + self.W))
        if most > EXACT:
            raise ValueError(
                f"{self.name}: {self.macs:.2g} MACs may take {most:.2g} accesses, more "
                f"than the {EXACT:.2g} that are counted exactly; lower N or split "
                f"the layer")

    @cached_property
    def shape(self) -> Shape:
        """The Shape of one step: all that the array sees of the layer."""
        return Shape(self.N, self.groups, self.M // self.groups, self.C, self.H, self.W,
                     self.R, self.S, self.U, self.V, self.dilation)

    @property
    def R_span(self) -> int:
        """Height in pixels that a filter covers, dilation included."""
        return self.shape.R_span

    @property
    def S_span(self) -> int:
        """Width in pixels that a filter covers, dilation included."""
        return self.shape.S_span

    @cached_property
    def E(self) -> int:
        """Ofmap height in pixels."""
        return self.shape.E

    @cached_property
    def F(self) -> int:
        """Ofmap width in pixels."""
        return self.shape.F

    @property
    def M_group(self) -> int:
        """Filters of one group."""
        return self.shape.M_group

    @property
    def one_step(self) -> "ConvLayer":
        """The layer as it runs once."""
        return self if self.steps == 1 else replace(self, steps=1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer at all steps, zeros included."""
        return self.steps * self.shape.macs

    @property
    def ifmap_words(self) -> int:
        """Ifmap values of the batch at all steps, all groups, padding included."""
        return self.steps * self.shape.ifmap_words

    @property
    def filter_words(self) -> int:
        """Weights of the layer, biases not included."""
        return self.shape.filter_words

    @property
    def ofmap_words(self) -> int:
        """Ofmap values of the batch at all steps."""
        return self.steps * self.shape.ofmap_words


@dataclass(frozen=True)
class UncountedOp:
    """Work of a network that the PE array cannot run, so that no energy is counted.

    Parameters
    ----------
    op : str
        Kind of operator, as its framework calls it: ``"max_pool2d"``, ``"relu"``.
    calls : int
        How often the network runs it.
    outputs : int or None
        Values that all calls produce together at the network's batch; None: unknown.
    """

    op: str
    calls: int
    outputs: int | None = None


@dataclass(frozen=True)
class Network:
    """Layers in the order in which they run, and what else the network does.

    Parameters
    ----------
    name : str
        Shown in every report.
    layers : tuple of ConvLayer
        At least one; names are unique.
    not_counted : tuple of UncountedOp
        Operators that run elsewhere than on the PE array.
    batch : int
        Images that ``layers`` stand for. A layer's N may be a multiple of it.
    source : str
        Where the shapes come from.
    notes : tuple of str
        What a reader of a result should know of the layers, a line each.

    Raises
    ------
    ValueError
        No layer, or two layers of one name.
    """

    name: str
    layers: Sequence[ConvLayer]
    not_counted: Sequence[UncountedOp] = ()
    batch: int = 1
    source: str = ""
    notes: Sequence[str] = ()

    def __post_init__(self):
        object.__setattr__(self, "batch", plain(self.batch))
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "not_counted", tuple(self.not_counted))
        if not self.layers:
            raise ValueError(
                f"{self.name}: no CONV, FC or matmul layer found; nothing to simulate")
        seen = set()
        for layer in self.layers:
            if layer.name in seen:
                raise ValueError(
                    f"{self.name}: two layers are called {layer.name}; rename one")
            seen.add(layer.name)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    def layer(self, name: str) -> ConvLayer:
        """The layer of that name; where none is spelt so, upper or lower case."""
        for spelt in (str, str.lower):
            for layer in self.layers:
                if spelt(layer.name) == spelt(name):
                    return layer
        raise ValueError(f"{self.name} has no layer {name!r}; its layers are "
                         + ", ".join(layer.name for layer in self.layers))

    def with_batch(self, batch: int) -> "Network":
        """The same network for another number of images.

        Examples
        --------
        >>> fc = ConvLayer(name="FC", M=10, C=64, H=1, W=1, R=1, S=1)
        >>> Network("tiny", (fc,)).with_batch(4).layers[0].N
        4
        """
        batch = plain(batch)
        if not is_whole(batch, 1):
            raise ValueError(
                f"{self.name}: batch must be a whole number of at least 1, "
                f"got {shown(batch)}")
        if batch == self.batch:
            return self
        layers = []
        for layer in self.layers:
            key = "groups" if layer.dynamic_filters else "N"
            per_image, rest = divmod(getattr(layer, key), self.batch)
            if rest:
                raise ValueError(
                    f"{layer.name}: {key}={getattr(layer, key)} is no multiple of the "
                    f"batch of {self.batch}, so it cannot be rescaled to {batch}")
            sizes = {key: per_image * batch}
            if layer.dynamic_filters:
                sizes["M"] = layer.M // self.batch * batch
            layers.append(replace(layer, **sizes))
        not_counted = [
            replace(op, outputs=op.outputs and op.outputs * batch // self.batch)
            for op in self.not_counted]
        return replace(self, layers=layers, not_counted=not_counted, batch=batch)
