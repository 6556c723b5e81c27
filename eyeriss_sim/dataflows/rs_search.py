"""The search for row-stationary mappings: what its kernels are given, and when."""

import numpy as np

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.base import SKIPS, kernel_place
from eyeriss_sim.dataflows.rs_cycles import ends_by_kind, kinds_of, mapping_ends
from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, limits, timing
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import FILTER, IFMAP, PSUM
from eyeriss_sim.zeros import Savings

# Mappings more than asked for that the first look leaves to the closed forms, and that
# these leave to be followed.
FIRST_LOOK, ROOM, MUCH_ROOM = 7, 31, 1 << 13


def search_chip(layer: ConvLayer, hardware: Hardware, objective: str, skip: str,
                savings: Savings, clock: float, best: np.ndarray,
                mappings: np.ndarray) -> int:
    """The search of ``Dataflow.search`` on the chip, into ``best`` and ``mappings``.

    Exact cycles take a thousand times as long as the closed forms, and these a hundred
    times as long as the bounds that ``kernels.find_floors`` begins. So a first look by
    bounds alone, at what is likely, gives a score to be beaten: so many mappings are at
    least as good as the worst of those that it finds. Of all mappings whose bound is
    below that, the closed forms give the best, and these are followed in turn until
    the closed form of the next is behind what was found.
    """
    aim = Search(layer, hardware, objective, savings, clock)
    if objective == "energy":
        return aim.visit(SKIPS.index(skip), best, mappings)
    keep, evaluated = best.shape[0], 0
    known = np.inf, np.inf
    if skip == "hopeless":
        rough = np.full((keep + FIRST_LOOK, 2), np.inf)
        likely = np.zeros((keep + FIRST_LOOK, 9), np.int64)
        evaluated += aim.visit(kernels.SKIP_UNLIKELY, rough, likely)
        candidates = [tuple(one) for one in likely.tolist() if any(one)]
        candidates = sorted(candidates, key=aim.closed)[:keep]
        if len(candidates) == keep:
            known = max(map(aim.exact, candidates))
    room, followed = keep + ROOM, set()
    while True:
        # A little above, so that they are found once more.
        closed = np.full((room, 2), known[0] * (1 + kernels.TIE))
        closed[:, 1] = known[1] * (1 + 4 * kernels.TIE) if keep == 1 else np.inf
        found = np.zeros((room, 9), np.int64)
        visited = aim.visit(SKIPS.index(skip), closed, found)
        for (score, energy), mapping in zip(closed.tolist(), found.tolist(),
                                            strict=True):
            behind = not any(mapping) or kernels.is_behind(
                best, keep - 1, score * (1 - kernels.TIE), energy)
            if not behind and tuple(mapping) not in followed:
                followed.add(tuple(mapping))
                aim.follow(mapping, best, mappings)
        if behind:
            return evaluated + visited
        # As many as there was room for, and others may be better.
        if skip == "hopeless" and best[keep - 1, 0] < known[0]:
            known = float(best[keep - 1, 0]), float(best[keep - 1, 1])
        # Each that is found moves all behind it, so that much room is dear.
        room *= 8 if room < MUCH_ROOM else 2


class Search:
    """What the kernels of a search are given, for each way to cut filter rows."""

    def __init__(self, layer, hardware, objective, savings, clock):
        self.layer, self.hardware = layer, hardware
        self.objective = kernel_place(objective)
        self.timing, self.limits = timing(hardware), limits(hardware)
        self.column_cuts = np.array(even_cuts(layer.F, layer.F))
        self.prices = {
            row_segments: prices_of(cut(layer, hardware, row_segments).shape, hardware,
                                    savings, clock)
            for row_segments in (0, *even_cuts(layer.R, hardware.rows)[1:])}

    def visit(self, skip, best, mappings):
        """Visit all mappings but those skipped; returns how many were evaluated."""
        return sum(kernels.search_chip(
            cut(self.layer, self.hardware, row_segments).shape, self.column_cuts,
            self.limits, self.timing, prices, (self.objective, skip, row_segments),
            best, mappings) for row_segments, prices in self.prices.items())

    def closed(self, mapping):
        """Score and energy of a mapping's nine numbers, by the closed forms."""
        shape, letters, kinds = self.read(mapping)
        return self.score(mapping, shape, letters, kinds, np.zeros(
            (len(kinds), 3, kernels.STEADY + 1), np.int64))

    def exact(self, mapping):
        """Score and energy of a mapping's nine numbers."""
        shape, letters, kinds = self.read(mapping)
        return self.score(mapping, shape, letters, kinds, mapping_ends(
            shape, self.timing, letters, kinds))

    def follow(self, mapping, best, mappings):
        """Keep a mapping, exactly, if it is among the best; ports of banks last."""
        shape, letters, kinds = self.read(mapping)
        for ports in (False, True) if self.timing.glb_ports else (True,):
            for ends in ends_by_kind(shape, self.timing, letters, kinds, ports):
                score, energy = self.score(mapping, shape, letters, kinds, ends)
                if kernels.is_behind(best, len(best) - 1, score * (1 - kernels.TIE),
                                     energy):
                    return
        kernels.keep_best(best, mappings, score, energy, tuple(mapping))

    def read(self, mapping):
        """The Shape, Letters and kinds of passes of a mapping's nine numbers."""
        *letters, row_segments, column_strips = mapping
        shape = cut(self.layer, self.hardware, row_segments, column_strips).shape
        letters = kernels.Letters(*letters)
        return shape, letters, kinds_of(shape, letters)

    def score(self, mapping, shape, letters, kinds, ends):
        return kernels.score_chip(shape, self.timing, self.prices[mapping[7]],
                                  self.objective, letters, kinds, ends)


def prices_of(shape: kernels.Shape, hardware: Hardware, savings: Savings,
              clock: float) -> kernels.Prices:
    """What a mapping's energy is made of, however the layer's columns are cut.

    Each of the coefficients of ``kernels.chip_energy`` is what one more load of a word
    of every channel, filter pass and so on costs, zeros included.
    """
    (rf, noc, glb, dram), alu = hardware.prices_at_widths
    N, G, M, C, E, F = shape.N, shape.G, shape.M, shape.C, shape.E, shape.F
    R = (shape.R_segs - 1) * shape.R_full + shape.R_last
    S = (shape.S_segs - 1) * shape.S_full + shape.S_last
    channels, filters, ofmap = N * G * C, G * M * C * R * S, N * G * M * E * F
    macs = ofmap * C * R * S * savings.macs_left
    filter_bits = hardware.stored_bits("filter")
    return kernels.Prices(
        per_load=float(channels * (dram[IFMAP] * savings.ifmap_ratio + glb[IFMAP])),
        per_filter_pass=float(channels * glb[IFMAP]),
        per_set=float(channels * R * E * (noc[IFMAP] + rf[IFMAP])),
        per_filter_load=float(filters * (
            dram[FILTER] * savings.filter_ratio + 2 * glb[FILTER])),
        per_column_stay=float(filters * E * (noc[FILTER] + rf[FILTER])),
        per_channel_pass=float(
            ofmap * shape.R_segs * shape.S_segs * (2 * glb[PSUM] + 2 * noc[PSUM])
            - noc[PSUM] * ofmap * shape.S_segs * shape.R_segs),
        per_channel_set=float(noc[PSUM] * ofmap * shape.S_segs * R),
        fixed=float(
            ofmap * (glb[PSUM] + dram[PSUM] * savings.ofmap_ratio)
            + macs * (rf[IFMAP] + rf[FILTER] + 2 * rf[PSUM] + alu)),
        clock=float(clock), link=float(hardware.cycles_per_dram_value("filter")),
        ifmap_ratio=float(
            savings.ifmap_ratio * (hardware.stored_bits("ifmap") / filter_bits)),
        ofmap_ratio=float(
            savings.ofmap_ratio * (hardware.stored_bits("ofmap") / filter_bits)))
