"""The machine as users ask it: one hardware, any layer, in either mode."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from eyeriss_sim.hardware import Hardware, load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine.layer_run import LayerRun, run_layer
from eyeriss_sim.machine.micro import check_machine
from eyeriss_sim.machine.timing import LayerTiming, time_layer
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.product_maps import laid, values_on_map
from eyeriss_sim.search import search


class Machine:
    """The chip itself, stepped cycle by cycle.

    Parameters
    ----------
    hardware : Hardware or str
        A preset, or the path of a TOML file, that can be stepped.

    Raises
    ------
    ValueError
        Hardware that is only an analysis.

    Examples
    --------
    >>> layer = ConvLayer(name="conv", M=4, C=2, H=8, W=8, R=3, S=3)
    >>> machine = Machine("eyeriss_chip")
    >>> run = machine.run(layer, np.ones((1, 2, 8, 8)), np.ones((4, 2, 3, 3)))
    >>> run.ofmap.shape, int(run.ofmap[0, 0, 0, 0])
    ((1, 4, 6, 6), 18)
    """

    def __init__(self, hardware: Hardware | str = "eyeriss_chip"):
        self.hardware = load_hardware(hardware)
        check_machine(self.hardware)

    def __repr__(self) -> str:
        return f"Machine({self.hardware.name!r})"

    def mapping_of(self, layer: ConvLayer, objective: str | None = None) -> Mapping:
        """The mapping that the search finds, for the hardware's objective unless given.
        """
        return search(layer, self.hardware, objective).mappings[0]

    def time(self, layer: ConvLayer, mapping: Mapping | None = None) -> LayerTiming:
        """Step each kind of pass of a layer once, without values.

        Parameters
        ----------
        layer : ConvLayer
        mapping : Mapping, optional
            The search's mapping unless given.
        """
        mapping = mapping or self.mapping_of(layer)
        return time_layer(laid(layer, mapping), self.hardware, mapping)

    def run(self, layer: ConvLayer, ifmap: np.ndarray, filters: np.ndarray,
            bias: np.ndarray | None = None, mapping: Mapping | None = None, *,
            first_layer: bool = False, relu: bool = False,
            progress: Callable | None = None) -> LayerRun:
        """Step every pass of a layer on real values.

        Parameters
        ----------
        layer : ConvLayer
        ifmap : array_like, shape (N, groups * C, H, W), whole numbers of 16 bits
            Padding included.
        filters : array_like, shape (M, C, R, S), whole numbers of 16 bits
        bias : array_like, shape (M,), optional
        mapping : Mapping, optional
            The search's mapping unless given.
        first_layer : bool
            Whether the ifmap is the network's input, which no code shortens.
        relu : bool
            Whether ofmaps leave through a ReLU.
        progress : callable, optional
            Called with (passes done, passes in all).

        Returns
        -------
        LayerRun
            Its ofmap on the map that the mapping names, padding pixels included.

        Raises
        ------
        ValueError
            Values that are no whole numbers of 16 bits, shapes that are not the
            layer's, or a mapping that does not fit.
        """
        ifmap = whole_words(layer.name, "ifmap", ifmap)
        filters = whole_words(layer.name, "filters", filters)
        if bias is not None:
            bias = whole_words(layer.name, "bias", bias)
        mapping = mapping or self.mapping_of(layer)
        on_chip = laid(layer, mapping)
        if on_chip is not layer:
            ifmap = values_on_map(ifmap, on_chip)
        return run_layer(on_chip, self.hardware, mapping, ifmap, filters, bias,
                         relu=relu, first_layer=first_layer, progress=progress)


def whole_words(layer_name: str, kind: str, values: ArrayLike) -> np.ndarray:
    """Values as int16, or a ValueError where that would change one."""
    values = np.asarray(values)
    words = values.astype(np.int16)
    if not np.array_equal(words, values):
        raise ValueError(f"{layer_name}: {kind} holds values that are no whole numbers "
                         "in -32768..32767; quantise them first")
    return np.ascontiguousarray(words)
