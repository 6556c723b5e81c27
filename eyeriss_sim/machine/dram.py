"""The DRAM link of the machine, with the run-length codec at its end."""

from dataclasses import dataclass

import numpy as np

from eyeriss_sim.codes import RLC_WORD_BITS, WORD_BITS, rlc_decode, rlc_encode
from eyeriss_sim.dataflows.rs_kernels import link_cycles
from eyeriss_sim.hardware import Hardware

RLC_WORDS = RLC_WORD_BITS // WORD_BITS


class FmapStream:
    """Strips of one fmap on their way over the link, either way.

    A strip of one channel of one image is a code of its own, row after row. The code is
    switched off for an fmap that it does not shrink.

    Parameters
    ----------
    coded : bool
        Whether the fmap is coded at all.
    bits : int
        Cycles of an uncoded value on the link.
    """

    def __init__(self, coded: bool, bits: int = WORD_BITS):
        self.coded, self.bits = coded, bits
        self.uncoded_words = self.coded_words = 0

    def carry(self, strip: np.ndarray) -> np.ndarray:
        """The strip as it comes out at the other end.

        Parameters
        ----------
        strip : int16 ndarray, shape (images, channels, rows, columns)

        Returns
        -------
        int16 ndarray of that shape
        """
        self.uncoded_words += strip.size
        if not self.coded:
            return strip
        arrived = np.empty_like(strip)
        for place in np.ndindex(strip.shape[:2]):
            code = rlc_encode(strip[place])
            self.coded_words += len(code) * RLC_WORDS
            arrived[place] = rlc_decode(code, strip[place].size).reshape(
                strip[place].shape)
        return arrived

    @property
    def words(self) -> int | float:
        """16-bit words that crossed the link."""
        return words_on_link(self.uncoded_words, self.bits,
                             self.coded_words if self.coded else None)


def words_on_link(values: int, bits: int,
                  coded_words: int | float | None = None) -> int | float:
    """16-bit words of so many values on the link, maybe not whole; at most the coded.

    Examples
    --------
    >>> words_on_link(10, 16), words_on_link(3, 8), words_on_link(10, 8, coded_words=4)
    (10, 1.5, 4)
    """
    words = values * bits / WORD_BITS
    if words == int(words):
        words = int(words)
    return words if coded_words is None else min(words, coded_words)


@dataclass(frozen=True)
class Phases:
    """Cycles of a layer by what the chip is doing.

    The array stands still while ifmaps load and ofmaps dump (JSSC 2017). The filters of
    the next pass come into their buffer while a pass runs: its rows are read faster
    than the link brings new ones, so even a buffer that cannot hold two passes takes
    them as it empties, and its two banks are too fast for the link to notice their
    ports. A pass waits for its filters. The layer before is taken to end with a pass
    like this one's last, as in a batch that runs image after image.

    Parameters
    ----------
    array : int
        Passes, one after the other.
    filter_wait : int
        Passes that wait for their filters.
    ifmap_load, ofmap_dump : int
    """

    array: int
    filter_wait: int
    ifmap_load: int
    ofmap_dump: int

    @property
    def processing(self) -> int:
        """Processing latency, without loads and dumps (JSSC 2017, Table V)."""
        return self.array + self.filter_wait

    @property
    def total(self) -> int:
        """Total latency."""
        return self.processing + self.ifmap_load + self.ofmap_dump


def phases_of(hardware: Hardware, pass_cycles: np.ndarray, filter_words: np.ndarray,
              ifmap_words: int | float, ofmap_words: int | float) -> Phases:
    """Cycles of a layer by what the chip is doing.

    Parameters
    ----------
    hardware : Hardware
        For the clock and width of its link, and the width of filters.
    pass_cycles, filter_words : int64 ndarray, shape (passes,)
        Values of each pass, in the order in which they run.
    ifmap_words, ofmap_words : int or float
        16-bit words that cross the link, coded as they are.

    Returns
    -------
    Phases
    """
    per_word = hardware.cycles_per_dram_word
    fetch = link_cycles(
        filter_words, hardware.cycles_per_dram_value("filter")).astype(np.int64)
    waits = np.maximum(0, fetch - np.roll(pass_cycles, 1))
    return Phases(int(pass_cycles.sum()), int(waits.sum()),
                  int(link_cycles(ifmap_words, per_word)),
                  int(link_cycles(ofmap_words, per_word)))
