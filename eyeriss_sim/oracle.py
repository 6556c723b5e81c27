"""EnergyOracle: what pruning and cascade ask, as often as they like."""

import threading
import weakref
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from eyeriss_sim.codes import (
    WORD_BITS,
    expected_ratio,
    filter_ratio,
    fmap_strips_ratio,
    significance_map_ratio,
)
from eyeriss_sim.counts import count
from eyeriss_sim.energy import width_factors
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.levels import DRAM, FILTER, KINDS, PSUM, READ, RF, WRITE
from eyeriss_sim.mapping import Mapping, check_mapping, layer_of, shape_key
from eyeriss_sim.mapping_files import chosen_mappings
from eyeriss_sim.plain import is_whole, plain, shown
from eyeriss_sim.product_maps import laid, values_on_map
from eyeriss_sim.search import search
from eyeriss_sim.simulate import (
    SimulationResult,
    as_network,
    bits_of,
    check_names,
    clip_to_batch,
    provenance_of,
    simulate_layer,
)
from eyeriss_sim.strips import ifmap_strips, ofmap_strips
from eyeriss_sim.widths import BITS_16, Bits, as_bits, at_widths, stored_operands
from eyeriss_sim.zeros import (
    NO_SAVINGS,
    Densities,
    NonzeroMacs,
    Savings,
    count_taps,
    count_zeros,
    savings_of,
)

SEARCHES = ("dense", "sparse")
# Images that run through a module at once while its zeros are measured: a few first,
# then as many as the largest ifmap and ofmap of a layer seen there leave room for.
FIRST_IMAGES, MOST_IMAGES, FMAP_WORDS = 8, 64, 1 << 25


@dataclass(frozen=True)
class LayerWork:
    """One layer as the oracle prices it: hashable, so that its price is kept.

    Parameters
    ----------
    key : tuple
        The layer's shape.
    mapping : Mapping
    savings : Savings
        What its zeros leave.
    bits : Bits
    weights : int
        Weights that are not zero.
    steps : int
        Times that the layer runs.
    """

    key: tuple
    mapping: Mapping
    savings: Savings
    bits: Bits
    weights: int
    steps: int = 1


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """Zeros of one layer of a module over all measured images.

    Parameters
    ----------
    layer : ConvLayer
        At the oracle's batch.
    images : int
        That were measured, at each step of the layer.
    met : int64 ndarray, shape (groups * C, R, S), or None
        Non-zero ifmap values that each tap meets; None where each image has its own
        filters, which then can't be pruned.
    nonzero_macs : NonzeroMacs
        MACs of those images by which of their operands are not zero.
    densities : Densities
    ifmap_ratio, ofmap_ratio : float
        Words in DRAM over uncoded words.
    filter_ratio : float
    weights : int
        Non-zero weights.
    followed : bool
        Whether its filters can be read from the module again without a run.
    """

    layer: object
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
    def windows(self):
        """Windows of the measured images, each of which meets every weight once."""
        return self.nonzero_macs.all // self.layer.filter_words


class EnergyOracle:
    """What a network costs, with its zeros; quick to ask again.

    Parameters
    ----------
    hardware : Hardware or str
        A preset, or the path of a TOML file.
    zeros : str, optional
        What the machine does with zeros, one of ``ZERO_HANDLINGS``; the hardware's own
        unless given.
    batch : int
        Images of a run.
    objective : {"energy", "cycles", "edp", "joules"}
        Of the mapping search.
    search : {"dense", "sparse"}
        Whether the search, for whatever objective, takes zeros into account. Dense
        keeps one mapping a shape, whatever is pruned; every result says which it was.
    mapping : str or dict
        As in ``simulate``; layers not named are searched.
    filter_code : str, optional
        Of ``codes.FILTER_CODES``; the hardware's own unless given.
    bits : int, str, Bits or dict
        Widths of the operands, as in ``simulate``.

    Examples
    --------
    >>> oracle = EnergyOracle("eap_tool")
    >>> from eyeriss_sim.networks import load_zoo
    >>> dense = oracle.energy(load_zoo("resnet20_cifar"))
    >>> sparse = oracle.energy(load_zoo("resnet20_cifar"),
    ...                        {"conv1": Densities(filter=0.1)})
    >>> sparse.total_uJ < dense.total_uJ
    True
    """

    def __init__(self, hardware="eyeriss_chip", zeros=None, batch=1, *,
                 objective="energy", search="dense", mapping="search",
                 filter_code=None, bits=BITS_16):
        self.hardware = load_hardware(hardware)
        if zeros is not None:
            self.hardware = self.hardware.with_zeros(zeros)
        if filter_code is not None:
            self.hardware = replace(self.hardware, filter_code=filter_code)
        if search not in SEARCHES:
            raise ValueError(f"unknown search {search!r}; known: {', '.join(SEARCHES)}")
        self.batch = _checked_batch(batch)
        self.objective = objective
        self.search = search
        self.mappings, self.mapping_name = chosen_mappings(mapping, self.hardware)
        self.bits = as_bits(bits)
        self._lock = threading.Lock()
        self._measured = weakref.WeakKeyDictionary()

    def with_batch(self, batch: int) -> "EnergyOracle":
        """The same oracle for runs of another number of images; nothing is measured."""
        other = copy(self)
        other.batch = _checked_batch(batch)
        other._lock = threading.Lock()
        other._measured = weakref.WeakKeyDictionary()
        return other

    def __call__(self, model, images=None, *, name=None, progress=None):
        """Energy of a torch module with its real zeros.

        Parameters
        ----------
        model : torch.nn.Module
            Pruned in any way, or not at all.
        images : tensor or array, shape (images, ...), or list of them, optional
            One for each input of the model. Run through the model once, to measure
            the zeros of its activations. Without them the last measurement of this
            model is used, and only its weights are looked at again.
        name : str, optional
            Of the network in the report; by default the module's class.
        progress : callable, optional
            Called with (images done, images in all).

        Returns
        -------
        SimulationResult
            For ``batch`` images with the measured shares of zeros.

        Raises
        ------
        ValueError
            No images for a model that was never measured, or whose forward masks or
            turns its weights in a way of its own, so that a change needs a run.
        """
        if images is not None:
            network, measured = self._measure(model, images, name, progress)
            with self._lock:
                self._measured[model] = network, measured
        else:
            with self._lock:
                if model not in self._measured:
                    raise ValueError(
                        f"{type(model).__name__} was not measured yet; give the oracle "
                        f"images once: oracle(model, images)")
                network, measured = self._measured[model]
            measured = self._recount(model, measured)
        return self._report(network, {
            name: (one.densities, self._zeros_of(one), one.weights)
            for name, one in measured.items()})

    def energy(self, network, densities=None, input_shape=None):
        """Energy of a network whose zeros are known as shares.

        Parameters
        ----------
        network : Network, str or torch.nn.Module
            As in ``simulate``.
        densities : dict, optional
            Densities by layer name; layers not named are dense.
        input_shape : tuple of int, optional
            Of a module or a ``file.py:factory``, the batch first.

        Returns
        -------
        SimulationResult
        """
        network = as_network(network, self.batch, input_shape)
        densities = densities or {}
        known = {layer.name for layer in network.layers}
        for name in densities:
            if name not in known:
                raise ValueError(
                    f"density for layer {name!r}, which {network.name} has not; its "
                    f"layers are {', '.join(layer.name for layer in network.layers)}")
        shares = {}
        for place, layer in enumerate(network.layers):
            own = densities.get(layer.name, Densities())
            own.check(layer.name)
            savings = savings_of(
                self.hardware, own, place == 0, bits_of(layer, self.bits))
            shares[layer.name] = own, savings, round(own.filter * layer.filter_words)
        return self._report(network, shares)

    def works(self, result):
        """The LayerWork of each layer of a result of this oracle, by layer name."""
        return {
            one.layer.name: LayerWork(
                shape_key(laid(one.layer, one.mapping)), one.mapping, one.savings,
                one.bits, round(one.densities.filter * one.layer.filter_words),
                one.layer.steps)
            for one in result.by_layer}

    def marginal(self, work):
        """Energy that one more zero weight of a layer saves, the mean of its weights.

        Parameters
        ----------
        work : LayerWork
            From ``works``.

        Returns
        -------
        float
            uJ of the whole batch, DRAM included; 0 where a zero weight saves nothing.
        """
        return _marginal(work, self.hardware)

    def weight_prices(self, model):
        """What each weight of a model that was measured costs while it is not zero.

        A weight meets the ifmap values of its tap, whichever filter it is of, so the
        weights of one tap have one price; those that meet zeros only cost their
        storage. The mean of a layer's non-zero weights is ``marginal``.

        Parameters
        ----------
        model : torch.nn.Module

        Returns
        -------
        dict of str to float64 ndarray, shape (groups * C, R, S)
            uJ of the whole batch by layer; without the layers whose filters are no
            weights of the model. 0 where a zero weight saves nothing.
        """
        works = self.works(self(model))
        _, measured = self._measured[model]
        prices = {}
        for name, one in measured.items():
            if one.met is None or not one.followed:
                continue
            handling = self.hardware.zero_handling
            if not handling.counts_weights:
                prices[name] = np.zeros(one.met.shape)
                continue
            work = works[name]
            met = one.met if "ifmap" in handling.skips else np.full(
                one.met.shape, one.windows)
            macs = met * (work.steps * layer_of(work.key).macs / one.nonzero_macs.all)
            prices[name] = (macs * _mac_pJ(work, self.hardware)
                            + _stored_pJ(work, self.hardware)) * 1e-6
        return prices

    def _mapping_of(self, layer, savings):
        """The mapping of a layer and where it comes from."""
        sized = at_widths(self.hardware, bits_of(layer, self.bits), layer.name)
        if layer.name in self.mappings:
            mapping = clip_to_batch(self.mappings[layer.name], layer)
            check_mapping(layer, sized, mapping)
            return mapping, self.mapping_name
        seen = savings if self.search == "sparse" else NO_SAVINGS
        found = search(layer, sized, self.objective, savings=seen)
        return found.mappings[0], f"search:{self.objective}:{self.search}"

    def _report(self, network, shares):
        check_names(network, self.mappings, self.mapping_name, "mapping")
        if not isinstance(self.bits, Bits):
            check_names(network, self.bits, "bits", "bits")
        layers = []
        for place, layer in enumerate(network.layers):
            densities, savings, _ = shares[layer.name]
            mapping, source = self._mapping_of(layer, savings)
            layers.append(simulate_layer(
                layer, self.hardware, mapping, source, densities, place == 0,
                bits_of(layer, self.bits), savings))
        return SimulationResult(network, self.hardware, tuple(layers),
                                provenance_of(network, self.hardware))

    def _measure(self, model, images, name, progress):
        """Run the images through the model, chunk by chunk; zeros of every layer."""
        from eyeriss_sim.importers.activations import watch_layers
        sums = {}
        made_filters = set()
        inputs = images if isinstance(images, (list, tuple)) else [images]
        total = _images_in(inputs)

        def run(start, length):
            def on_layer(layer, ifmap, filt, ofmap):
                first = layer.name not in sums      # a layer's steps share filters
                self._add(sums, layer, length, ifmap, filt, ofmap)
                if first and not layer.dynamic_filters:
                    sums[layer.name].followed = _can_follow(
                        model, layer, filt, made_filters)

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
        network = network.with_batch(self.batch)
        measured = {layer.name: sums[layer.name].finish(layer)
                    for layer in network.layers}
        if self.hardware.fmap_code == "rlc":
            # The first to run; its ofmap need not be the first that is done.
            name = network.layers[0].name
            measured[name] = replace(measured[name], ifmap_ratio=1.0)
        return network, measured

    def _add(self, sums, layer, images, ifmap, filt, ofmap):
        """Add one chunk's exact counts to a layer's sums."""
        counted = count_zeros(layer, ifmap, filt, ofmap)
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
        return self._mapping_of(replace(layer, **sizes), guess)[0]

    def _zeros_of(self, measured):
        nonzero = measured.nonzero_macs
        left = self.hardware.zero_handling.exact_macs_left(nonzero)
        return Savings(left / nonzero.all, measured.ifmap_ratio, measured.filter_ratio,
                       measured.ofmap_ratio)

    def _recount(self, model, measured):
        """Measurements with the weights as they are now; nothing is run."""
        recounted = {}
        for name, one in measured.items():
            if one.met is None:
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
                mapping, _ = self._mapping_of(layer, self._zeros_of(one))
                ratio = filter_ratio(self.hardware.filter_code, filt, layer, mapping,
                                     self._stored_bits(layer).filter)
            nonzero = one.nonzero_macs._replace(
                filters=weights * one.windows, pairs=int((one.met * taps).sum()))
            recounted[name] = replace(
                one, nonzero_macs=nonzero, filter_ratio=ratio, weights=weights,
                densities=replace(one.densities, filter=weights / layer.filter_words))
        return recounted


def _checked_batch(batch):
    batch = plain(batch)
    if not is_whole(batch, 1):
        raise ValueError(
            f"batch must be a whole number of at least 1, got {shown(batch)}")
    return batch


class _Sums:
    """Counts of one layer while chunks of images go by."""

    def __init__(self):
        self.met = None
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
    """How many images the inputs of a model hold, each the same."""
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
    """Whether ``_filters_now`` reads what the layer ran on, also after a change."""
    from eyeriss_sim.importers.weights import is_masked_or_parametrized
    if layer.name in made_filters and not is_masked_or_parametrized(model, layer.name):
        return False
    try:
        return np.array_equal(_filters_now(model, layer), filt)
    except ValueError:
        return False


@lru_cache(maxsize=65536)
def _marginal(work, hardware):
    if not hardware.zero_handling.counts_weights or work.weights == 0:
        return 0.0
    macs = (work.steps * layer_of(work.key).macs * work.savings.macs_left
            / work.weights)
    return (macs * _mac_pJ(work, hardware) + _stored_pJ(work, hardware)) * 1e-6


def _mac_pJ(work, hardware):
    """Energy of one MAC with its spad accesses."""
    hardware = at_widths(hardware, work.bits, "the layer")
    counts = count(layer_of(work.key), hardware, work.mapping)
    of_access, of_mac = width_factors(hardware)
    prices = np.array([hardware.cost_pJ("rf", kind) for kind in KINDS]) * of_access[RF]
    datapath = counts.accesses[RF, :, READ].copy()
    datapath[PSUM] += counts.accesses[RF, PSUM, WRITE]
    return (float((datapath * prices).sum()) / counts.macs
            + of_mac * hardware.cost_pJ("alu"))


def _stored_pJ(work, hardware):
    """DRAM energy of one more weight that is not zero, over all trips of its filter."""
    if work.weights == 0:
        return 0.0
    hardware = at_widths(hardware, work.bits, "the layer")
    counts = count(layer_of(work.key), hardware, work.mapping)
    trips = counts.accesses[DRAM, FILTER, READ] / layer_of(work.key).filter_words
    shrinks = code_bits_per_weight(hardware.filter_code, work,
                                   hardware.stored_bits("filter"))
    return work.steps * trips * shrinks / WORD_BITS * hardware.cost_pJ("dram")


def code_bits_per_weight(code, work, bits):
    """Bits by which a filter of so many a weight shrinks with one more zero weight."""
    layer = layer_of(work.key)
    if code == "none":
        return 0.0
    if code == "rlc":
        words = layer.filter_words
        with_it, without = (expected_ratio("rlc", weights / words, bits)
                            for weights in (work.weights, work.weights - 1))
        return bits * words * (with_it - without)
    if code in ("csr", "csc"):
        columns = layer.C * layer.R * layer.S if code == "csr" else layer.M
        return bits + max(1, int(np.ceil(np.log2(columns))))
    return float(bits)
