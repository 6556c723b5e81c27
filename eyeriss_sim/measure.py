"""Zeros of a torch module, counted while images run through it.

torch itself is imported in the importers that run and read the module.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eyeriss_sim.codes import filter_ratio, fmap_strips_ratio, significance_map_ratio
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.product_maps import laid, values_on_map
from eyeriss_sim.simulate import bits_of
from eyeriss_sim.strips import ifmap_strips, ofmap_strips
from eyeriss_sim.widths import stored_operands
from eyeriss_sim.zeros import Densities, NonzeroMacs, Savings, count_taps, count_zeros

# Images that run through a module at once while its zeros are measured: a few first,
# then as many as the largest ifmap and ofmap of a layer seen there leave room for.
FIRST_IMAGES, MOST_IMAGES, FMAP_WORDS = 8, 64, 1 << 25


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """Zeros of one layer of a module over all measured images.

    Parameters
    ----------
    layer : ConvLayer
        The layer at the oracle's batch.
    images : int
        Images that were measured, at each step of the layer.
    met : int64 ndarray, shape (groups * C, R, S), or None
        Non-zero ifmap values that each tap meets; None where each image has its own
        filters, which then can't be pruned.
    nonzero_macs : NonzeroMacs
        MACs of the measured images, by which of their operands are not zero.
    densities : Densities
    ifmap_ratio, ofmap_ratio : float
        Words in DRAM over uncoded words.
    filter_ratio : float
    weights : int
        Non-zero weights.
    followed : bool
        Whether its filters can be read from the module again without a run.
    """

    layer: ConvLayer
    images: int
    nonzero_macs: NonzeroMacs
    met: np.ndarray
    densities: Densities
    ifmap_ratio: float
    ofmap_ratio: float
    filter_ratio: float
    weights: int
    followed: bool

    @property
    def windows(self) -> int:
        """Windows of the measured images, each of which meets every weight once."""
        return self.nonzero_macs.all // self.layer.filter_words

    def savings(self, hardware: Hardware) -> Savings:
        """Savings that the measured zeros leave on a machine."""
        left = hardware.zero_handling.exact_macs_left(self.nonzero_macs)
        return Savings(left / self.nonzero_macs.all, self.ifmap_ratio,
                       self.filter_ratio, self.ofmap_ratio)


@dataclass(frozen=True)
class ZeroMeter:
    """A meter of zeros, with all that coded sizes of fmaps and filters depend on.

    Parameters
    ----------
    hardware : Hardware
    bits : Bits or dict
        Widths of the operands, as ``simulate`` takes them.
    batch : int
        Images of a run of the measured network.
    mapping_of : callable
        Function of (layer, savings) that returns the layer's Mapping.
    """

    hardware: Hardware
    bits: Any
    batch: int
    mapping_of: Callable

    def measure(self, model: Any, images: Any, name: str | None = None,
                progress: Callable[[int, int], None] | None = None
            ) -> tuple[Network, dict[str, MeasuredLayer]]:
        """Zeros of every layer, counted while the images run through the model.

        Parameters
        ----------
        model : torch.nn.Module
        images : tensor or array, shape (images, ...), or list of them
            One for each input of the model; they run in chunks.
        name : str, optional
            Name of the network; the module's class unless given.
        progress : callable, optional
            Called with (images done, images in all).

        Returns
        -------
        network : Network
            Layers at the meter's batch.
        measured : dict of str to MeasuredLayer

        Raises
        ------
        ValueError
            No images, inputs of different lengths, or a model whose layers depend on
            the image.
        """
        return measure_together([self], model, images, name, progress)[0]

    def _add(self, sums, layer, images, counted, ifmap, filt, ofmap):
        """Add one chunk's exact counts to a layer's sums."""
        mapping = self._mapping_at_batch(layer, images, counted)
        bits = self._stored_bits(layer)
        on_chip = laid(layer, mapping)
        if on_chip is not layer:
            counted = replace(counted, layer=on_chip)
            ifmap, ofmap = (values_on_map(fmap, on_chip) for fmap in (ifmap, ofmap))
        one = sums.setdefault(layer.name, _Sums())
        one.add(counted, images)
        one.ifmap_coded += ifmap.size * self._fmap_ratio(
            ifmap, ifmap_strips(layer, self.hardware, mapping), counted.ifmap_nonzeros,
            bits.ifmap)
        one.ofmap_coded += ofmap.size * self._fmap_ratio(
            ofmap, ofmap_strips(layer, self.hardware, mapping), counted.ofmap_nonzeros,
            bits.ofmap)
        ratio = 1.0
        if self.hardware.coded("filter"):
            ratio = filter_ratio(
                self.hardware.filter_code, filt, layer, mapping, bits.filter)
        # Over all chunks: dynamic filters are other ones in each.
        one.filter_ratio += (ratio - one.filter_ratio) * images / one.images

    def _finished(self, network, sums):
        """The network at the meter's batch, and its layers as they were measured."""
        network = network.with_batch(self.batch)
        measured = {layer.name: sums[layer.name].finish(layer)
                    for layer in network.layers}
        if self.hardware.fmap_code == "rlc":
            # The first to run; its ofmap need not be the first that is done.
            name = network.layers[0].name
            measured[name] = replace(measured[name], ifmap_ratio=1.0)
        return network, measured

    def _stored_bits(self, layer):
        """The Bits that a layer's operands take in DRAM, uncoded."""
        return stored_operands(bits_of(layer, self.bits), self.hardware.pack)

    def _fmap_ratio(self, fmap, strips, nonzeros, bits):
        """Coded over uncoded size of one fmap."""
        code = self.hardware.fmap_code
        if not self.hardware.coded("ifmap"):
            return 1.0
        if code == "rlc":
            return fmap_strips_ratio(fmap, strips, bits)
        return significance_map_ratio(nonzeros, fmap.size, bits)

    def _mapping_at_batch(self, layer, images, counted):
        """A layer's mapping for the oracle's batch, seen with other images."""
        key = "groups" if layer.dynamic_filters else "N"
        per_image, rest = divmod(getattr(layer, key), images)
        if rest:
            raise ValueError(
                f"{layer.name}: {key}={getattr(layer, key)} for {images} images, so it "
                "does not work on each image alone; give such a model one image, and "
                "batch=1")
        sizes = {key: per_image * self.batch}
        if layer.dynamic_filters:
            sizes["M"] = layer.M // images * self.batch
        shares = counted.densities
        # With a sparse search the streams are coded in the order of a mapping that sees
        # these shares, which may differ from the one that the exact zeros then choose.
        guess = Savings(shares.ifmap * shares.filter, min(1.0, shares.ifmap),
                        min(1.0, shares.filter), min(1.0, shares.ofmap))
        return self.mapping_of(replace(layer, **sizes), guess)

    def recount(self, model: Any, measured: dict[str, MeasuredLayer],
                changed: Iterable[str] | None = None) -> dict[str, MeasuredLayer]:
        """Measurements with the weights as they are now; nothing is run.

        Parameters
        ----------
        model : torch.nn.Module
        measured : dict of str to MeasuredLayer
            Measurements of the same model.
        changed : iterable of str, optional
            Names of layers, modules or parameters, see ``EnergyOracle``; the weights of
            all layers are counted unless given.

        Returns
        -------
        dict of str to MeasuredLayer

        Raises
        ------
        ValueError
            A layer whose filters only a run shows, or that has another shape now; a
            name of nothing in the model.
        """
        from eyeriss_sim.importers.weights import layers_touched
        recounted = {}
        looked_at = measured if changed is None else layers_touched(
            model, measured, changed)
        for name, one in measured.items():
            if one.met is None or name not in looked_at:
                recounted[name] = one
                continue
            if not one.followed:
                raise ValueError(
                    f"{name}: its filters are not the module's weights as they stand, "
                    f"so a change needs a run to be seen; give the oracle images again")
            layer = one.layer
            filt = _filters_now(model, layer)
            taps = count_taps(layer, filt)
            weights = int(taps.sum())
            if not self.hardware.coded("filter"):
                ratio = 1.0
            elif self.hardware.filter_code == "significance_map":
                ratio = significance_map_ratio(
                    weights, layer.filter_words, self._stored_bits(layer).filter)
            else:
                mapping = self.mapping_of(layer, one.savings(self.hardware))
                ratio = filter_ratio(self.hardware.filter_code, filt, layer, mapping,
                                     self._stored_bits(layer).filter)
            nonzero = one.nonzero_macs._replace(
                filters=weights * one.windows, pairs=int((one.met * taps).sum()))
            recounted[name] = replace(
                one, nonzero_macs=nonzero, filter_ratio=ratio, weights=weights,
                densities=replace(one.densities, filter=weights / layer.filter_words))
        return recounted


def measure_together(
        meters: Sequence[ZeroMeter], model: Any, images: Any, name: str | None = None,
        progress: Callable[[int, int], None] | None = None
        ) -> list[tuple[Network, dict[str, MeasuredLayer]]]:
    """Zeros as several meters see them, while the images run through the model once.

    Parameters and errors are those of :meth:`ZeroMeter.measure`.

    Returns
    -------
    list of (Network, dict of str to MeasuredLayer)
        One a meter.
    """
    from eyeriss_sim.importers.activations import watch_layers
    sums: list[dict[str, _Sums]] = [{} for _ in meters]
    made_filters: set[str] = set()
    inputs = images if isinstance(images, (list, tuple)) else [images]
    total = _images_in(inputs)

    def run(start, length):
        def on_layer(layer, ifmap, filt, ofmap):
            first = layer.name not in sums[0]
            counted = count_zeros(layer, ifmap, filt, ofmap)
            for meter, own in zip(meters, sums, strict=True):
                meter._add(own, layer, length, counted, ifmap, filt, ofmap)
            if first and not layer.dynamic_filters:
                followed = _can_follow(model, layer, filt, made_filters)
                for own in sums:
                    own[layer.name].followed = followed

        seen = watch_layers(model, [one[start:start + length] for one in inputs],
                            on_layer, name, made_filters, check_weights=start == 0)
        if progress is not None:
            progress(start + length, total)
        return seen

    start = total if total <= FIRST_IMAGES + 1 else FIRST_IMAGES
    network = run(0, start)
    for length in _further_chunks(network, start, total - start):
        _check_same_layers(network, run(start, length), start, length)
        start += length
    return [meter._finished(network, own)
            for meter, own in zip(meters, sums, strict=True)]


class _Sums:
    """Counts of one layer while chunks of images go by."""

    def __init__(self):
        self.met: Any = None
        self.nonzero_macs, self.images = NonzeroMacs(0, 0, 0, 0), 0
        self.nonzeros = np.zeros(2, np.int64)
        self.words = np.zeros(2, np.int64)
        self.weights = self.filter_words = 0
        self.ifmap_coded = self.ofmap_coded = 0.0
        self.filter_ratio = 0.0
        self.followed = False

    def add(self, counted, images):
        layer = counted.layer
        self.images += images
        self.nonzero_macs = NonzeroMacs(*map(sum, zip(
            self.nonzero_macs, counted.nonzero_macs, strict=True)))
        self.nonzeros += (counted.ifmap_nonzeros, counted.ofmap_nonzeros)
        self.words += (layer.ifmap_words, layer.ofmap_words)
        if layer.dynamic_filters:
            self.weights += counted.filter_nonzeros
            self.filter_words += layer.filter_words
        else:
            self.met = counted.met if self.met is None else self.met + counted.met
            self.weights = counted.filter_nonzeros
            self.filter_words = layer.filter_words

    def finish(self, layer):
        ifmap, ofmap = self.nonzeros / self.words
        return MeasuredLayer(
            layer, self.images, self.nonzero_macs, self.met,
            Densities(float(ifmap), self.weights / self.filter_words, float(ofmap)),
            self.ifmap_coded / int(self.words[0]),
            self.ofmap_coded / int(self.words[1]),
            self.filter_ratio, self.weights, self.followed)


def _images_in(inputs):
    """Number of images that the inputs of a model hold, each the same."""
    for one in inputs:
        if not getattr(one, "shape", ()):
            kind = "a single number" if hasattr(one, "shape") else type(one).__name__
            raise ValueError("images must be a tensor or an array, the batch first, or "
                             f"a list with one for each input of the model; got {kind}")
    lengths = {len(one) for one in inputs}
    if len(lengths) > 1:
        raise ValueError("every input of the model needs as many images; got "
                         + ", ".join(str(len(one)) for one in inputs))
    if not lengths or lengths == {0}:
        raise ValueError("no images to measure zeros with; give at least one")
    return lengths.pop()


def _further_chunks(network, images, rest):
    """Sizes of the chunks for ``rest`` images, from what ``images`` of them needed.

    None holds one image where others hold more: a model that squeezes its tensors would
    lose the batch.
    """
    most = max(layer.ifmap_words + layer.ofmap_words for layer in network.layers)
    at_once = min(max(2, FMAP_WORDS * images // most), MOST_IMAGES)
    chunks = -(-rest // at_once)
    if chunks > 1 and rest // chunks < 2:
        chunks -= 1
    return [rest // chunks + (place < rest % chunks) for place in range(chunks)]


def _check_same_layers(network, seen, start, length):
    """Refuse a model that runs some layers for some images only."""
    first, here = ({layer.name for layer in one.layers} for one in (network, seen))
    if first != here:
        odd = min(first ^ here)
        raise ValueError(
            f"{odd}: runs for some images only, of {start + 1} to {start + length} or "
            "of those before; which layers run must not depend on the image")


def _filters_now(model, layer):
    """A layer's filters as the module holds them, shape (M, C, R, S)."""
    from eyeriss_sim.importers.weights import effective_weight
    filt = effective_weight(model, layer.name)
    shape = (layer.M, layer.C, layer.R, layer.S)
    if filt.shape[0] != layer.M or filt.size != layer.filter_words:
        raise ValueError(f"{layer.name}: weights of shape {filt.shape}, but the layer "
                         f"that was measured has {shape}; give the oracle images again")
    return filt.reshape(shape)


def _can_follow(model, layer, filt, made_filters):
    """True if ``_filters_now`` reads what the layer ran on, also after a change."""
    from eyeriss_sim.importers.weights import is_masked_or_parametrized
    if layer.name in made_filters and not is_masked_or_parametrized(model, layer.name):
        return False
    try:
        return np.array_equal(_filters_now(model, layer), filt)
    except ValueError:
        return False
