"""Widths of a layer's values, and how many of them a machine holds and moves."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.plain import is_whole, plain, shown

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware

MOST_BITS = 64
# Of a row of a GLB bank (JSSC 2017).
GLB_ROW_BITS = 64
OPERANDS = ("ifmap", "filter", "ofmap")


@dataclass(frozen=True)
class Bits:
    """Widths of a layer's operands in bits; those of an ofmap are its width in DRAM.

    Psums have the width of the hardware, ``[word] psum_bits``.
    """

    ifmap: int = WORD_BITS
    filter: int = WORD_BITS
    ofmap: int = WORD_BITS

    def __post_init__(self):
        for key in OPERANDS:
            object.__setattr__(self, key, plain(getattr(self, key)))

    def check(self, layer_name: str) -> None:
        """Refuse a width that is no number of bits."""
        for key in OPERANDS:
            value = getattr(self, key)
            if not is_whole(value, 1) or value > MOST_BITS:
                raise ValueError(f"{layer_name}: {key} bits must be a whole number in "
                                 f"1..{MOST_BITS}, got {shown(value)}")


BITS_16 = Bits()


class Values(NamedTuple):
    """Numbers of values that a chip's storage holds and its networks move in a cycle.

    Words of 16 bits where values have 16; each kind counts its own values.
    """

    ifmap_spad: int
    filter_spad: int
    psum_spad: int
    bank_ifmaps: int
    bank_psums: int
    row_ifmaps: int
    row_psums: int
    filter_buffer: int
    ifmap_net: int
    filter_net: int
    psum_in_net: int
    psum_out_net: int
    ifmap_fifo: int
    filter_fifo: int
    psum_in_fifo: int
    psum_out_fifo: int


def stored_bits(bits: int, pack: bool) -> int:
    """Bits that a value takes where it is stored or moved: its own, or whole words.

    Examples
    --------
    >>> stored_bits(5, pack=True), stored_bits(5, pack=False), stored_bits(20, False)
    (5, 16, 32)
    """
    return bits if pack else -(-bits // WORD_BITS) * WORD_BITS


def stored_operands(bits: Bits, pack: bool) -> Bits:
    """The Bits that the operands take where they are stored or moved."""
    return Bits(*(stored_bits(getattr(bits, kind), pack) for kind in OPERANDS))


def values_of(hardware: "Hardware") -> Values:
    """The Values of chip hardware at its widths.

    Raises
    ------
    ValueError
        A spad, network, FIFO or bank without room for one value; named with the cure.
    """
    bits = {kind: hardware.stored_bits(kind) for kind in ("ifmap", "filter", "psum")}

    def values(kind, words):
        return words * WORD_BITS // bits[kind]

    bank_words = hardware.glb_bank_B * 8 // WORD_BITS
    row_bits = min(GLB_ROW_BITS, bank_words * WORD_BITS)
    made = Values(
        values("ifmap", hardware.spad_ifmap_words),
        values("filter", hardware.spad_filter_words),
        values("psum", hardware.spad_psum_words),
        values("ifmap", bank_words), values("psum", bank_words),
        max(1, row_bits // bits["ifmap"]), max(1, row_bits // bits["psum"]),
        values("filter", hardware.glb_filter_B * 8 // WORD_BITS),
        values("ifmap", hardware.ifmap_net_words),
        values("filter", hardware.filter_net_words),
        values("psum", hardware.psum_in_net_words),
        values("psum", hardware.psum_out_net_words),
        values("ifmap", hardware.ifmap_fifo_words),
        values("filter", hardware.filter_fifo_words),
        values("psum", hardware.psum_in_fifo_words),
        values("psum", hardware.psum_out_fifo_words))
    for part, kind, where in (
            ("ifmap_spad", "ifmap", "[spad_words] ifmap"),
            ("filter_spad", "filter", "[spad_words] filter"),
            ("psum_spad", "psum", "[spad_words] psum"),
            ("filter_buffer", "filter", "[glb] filter_B"),
            ("ifmap_net", "ifmap", "[network_words_per_cycle] ifmap"),
            ("filter_net", "filter", "[network_words_per_cycle] filter"),
            ("psum_in_net", "psum", "[network_words_per_cycle] psum_in"),
            ("psum_out_net", "psum", "[network_words_per_cycle] psum_out"),
            ("ifmap_fifo", "ifmap", "[machine] ifmap_fifo_words"),
            ("filter_fifo", "filter", "[machine] filter_fifo_words"),
            ("psum_in_fifo", "psum", "[machine] psum_in_fifo_words"),
            ("psum_out_fifo", "psum", "[machine] psum_out_fifo_words"),
            ("bank_ifmaps", "ifmap", "[glb] bank_B"),
            ("bank_psums", "psum", "[glb] bank_B")):
        if getattr(made, part) == 0:
            raise ValueError(
                f"{where} of {hardware.name} has no room for a value of {bits[kind]} "
                f"bits, as its {kind}s have; enlarge it, or give narrower {kind}s")
    return made


@lru_cache(maxsize=1024)
def _at_widths(hardware, bits):
    return replace(hardware, **{f"{kind}_bits": getattr(bits, kind)
                                for kind in OPERANDS})


def at_widths(hardware: "Hardware", bits: Bits, layer_name: str) -> "Hardware":
    """The hardware as it holds and moves the values of a layer.

    Parameters
    ----------
    hardware : Hardware
    bits : Bits
    layer_name : str
        Begins the message if it can't.

    Returns
    -------
    Hardware
        The same one for 16 bits.

    Raises
    ------
    ValueError
    """
    if bits == BITS_16:
        return hardware
    bits.check(layer_name)
    try:
        return _at_widths(hardware, bits)
    except ValueError as problem:
        raise ValueError(f"{layer_name}: {problem}") from None


def as_bits(given: Any) -> Any:
    """Bits, or Bits by layer name, from all the ways to say widths.

    Parameters
    ----------
    given : Bits, int, str, dict or None
        A number for all operands; ``8`` or ``ifmap=8,filter=4,ofmap=8`` as text, those
        left out 16; a dict of widths by operand, or of any of these by layer name. None
        stands for 16 bits.

    Returns
    -------
    Bits or dict of str to Bits

    Raises
    ------
    ValueError
        An unknown operand, or no width.

    Examples
    --------
    >>> as_bits("ifmap=8,filter=4")
    Bits(ifmap=8, filter=4, ofmap=16)
    >>> as_bits({"CONV1": 8})
    {'CONV1': Bits(ifmap=8, filter=8, ofmap=8)}
    """
    if given is None:
        return BITS_16
    if isinstance(given, dict) and not (given and set(given) <= set(OPERANDS)):
        return {name: as_bits(own) for name, own in given.items()}
    bits = given
    if isinstance(given, str):
        bits = _from_text(given)
    elif isinstance(given, dict):
        bits = Bits(**given)
    elif not isinstance(given, Bits):
        bits = Bits(given, given, given)
    bits.check("bits")
    return bits


def _from_text(text):
    """Bits from ``8`` or ``ifmap=8,filter=4``."""
    if text.strip().isdecimal() and len(text) < 10:
        return Bits(*[int(text)] * 3)
    widths = {}
    for part in text.split(","):
        kind, _, width = (piece.strip() for piece in part.partition("="))
        if kind in ("psum", "psums"):
            raise ValueError(f"bits give {kind} a width, in {text!r}, but it is the "
                             "hardware's; set [word] psum_bits in its file")
        if kind not in OPERANDS or not (width.isdecimal() and len(width) < 10):
            raise ValueError(f"bits must be a number, as in 8, or one for operands, as "
                             f"in ifmap=8,filter=4,ofmap=8, got {text!r}")
        if kind in widths:
            raise ValueError(f"bits give {kind} twice, in {text!r}; drop one")
        widths[kind] = int(width)
    return Bits(**widths)
