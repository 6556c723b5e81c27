"""The fields of a hardware file: the table that its reader reads by.

Each field stands here once, with its unit and its meaning. The reader's tables are made
from it, so that what ``eyeriss-sim hardware --fields`` prints is what can be given.
"""

from dataclasses import dataclass

from eyeriss_sim.access_prices import PRICED

UNIT_FAMILIES = (
    {"B": 1, "KB": 1024, "MB": 1024 * 1024},
    {"MHz": 1, "kHz": 0.001, "GHz": 1000},
    {"pJ": 1, "fJ": 0.001, "nJ": 1000},
    {"mW": 1, "uW": 0.001, "W": 1000},
    {"V": 1, "mV": 0.001},
)


@dataclass(frozen=True)
class Field:
    """One line of a hardware file.

    Parameters
    ----------
    table, key : str
        Where it stands: ``[table]``, ``key =``; ``table`` is empty above all tables.
    name : str
        The field of ``Hardware``.
    unit : str
        Empty where the value has none.
    meaning : str
    """

    table: str
    key: str
    name: str
    unit: str
    meaning: str

    @property
    def units(self) -> tuple[str, ...]:
        """All units that its key may end in, the field's own first."""
        ending = self.key.rpartition("_")[2]
        family = next((one for one in UNIT_FAMILIES if ending in one), ())
        return (self.unit, *(unit for unit in family if unit != self.unit))


def _field(table, key, unit, meaning, name=""):
    return Field(table, key, name or key, unit, meaning)


_PLACES = {
    "alu": "one MAC", "rf": "one access of a PE's RF or spads",
    "noc": "one transfer to or between PEs", "glb": "one access of the global buffer",
    "dram": "one access of DRAM", "rf_ifmap": "one access of the ifmap spad",
    "rf_filter": "one access of the filter spad",
    "rf_psum": "one access of the psum spad",
    "glb_filter": "one access of the filter buffer"}


def _prices(unit, meaning):
    return tuple(_field(f"energy_per_word_{unit}", name, unit,
                        f"{_PLACES[name]}, {meaning}", f"{name}_{unit}")
                 for name in PRICED)


TOP_FIELDS = (
    _field("", "name", "", "shown in every report; the file's name unless given"),
    _field("", "accounting", "", "dataflow whose closed forms count the accesses"),
    _field("", "extends", "", "a preset, or a file beside this one, that holds for all "
           "that is not said here"),
)
_EITHER_OR = "0 or 1"
FIELDS = (
    _field("array", "rows", "PEs", "height of the PE array"),
    _field("array", "cols", "PEs", "width of the PE array"),
    _field("array", "clock_MHz", "MHz", "core clock"),
    _field("spad_words", "ifmap", "words", "ifmap spad of a PE", "spad_ifmap_words"),
    _field("spad_words", "filter", "words", "filter spad of a PE", "spad_filter_words"),
    _field("spad_words", "psum", "words", "psum spad of a PE", "spad_psum_words"),
    _field("rf", "words", "words", "the one RF pool of a PE", "rf_words"),
    _field("glb", "ifmap_psum_B", "B", "global buffer for ifmaps and psums",
           "glb_ifmap_psum_B"),
    _field("glb", "bank_B", "B", "one bank of it, which holds ifmaps or psums",
           "glb_bank_B"),
    _field("glb", "filter_B", "B", "buffer that preloads filters", "glb_filter_B"),
    _field("network_words_per_cycle", "ifmap", "words/cycle",
           "width of the network that brings ifmaps", "ifmap_net_words"),
    _field("network_words_per_cycle", "filter", "words/cycle",
           "width of the network that brings filters, to one PE in a cycle",
           "filter_net_words"),
    _field("network_words_per_cycle", "psum_in", "words/cycle",
           "width of the network that brings psums, to one PE in a cycle",
           "psum_in_net_words"),
    _field("network_words_per_cycle", "psum_out", "words/cycle",
           "width of the network that takes psums, from one PE in a cycle",
           "psum_out_net_words"),
    _field("timing", "hop_cycles", "cycles",
           "time of a psum from a PE to the one above it, paid once a pass"),
    _field("machine", "ifmap_fifo_words", "words", "ifmap FIFO of a PE"),
    _field("machine", "filter_fifo_words", "words", "filter FIFO of a PE"),
    _field("machine", "psum_in_fifo_words", "words", "FIFO of psums into a PE"),
    _field("machine", "psum_out_fifo_words", "words", "FIFO of psums out of a PE"),
    _field("machine", "accumulate_bubbles", _EITHER_OR,
           "MACs idle while a window's psums go by"),
    _field("machine", "stride_bubbles", _EITHER_OR, "MACs idle while a window shifts"),
    _field("machine", "image_gap_cycles", "cycles", "gap between two images"),
    _field("machine", "filters_first", _EITHER_OR, "a pass waits for all its filters"),
    _field("machine", "window_first", _EITHER_OR, "a window waits for its last pixel"),
    _field("machine", "glb_ports", "ports",
           "ports of a bank; 0 for networks that are always fed at their width"),
    _field("machine", "pass_overlap", _EITHER_OR,
           "networks feed on into the next pass on the same ifmaps"),
    _field("machine", "first_row_on_top", _EITHER_OR,
           "a PE set's first filter row lies at the top, where psums leave"),
    _field("dram", "link_bits", "bits", "width of the off-chip link", "dram_link_bits"),
    _field("dram", "link_MHz", "MHz", "clock of the off-chip link", "dram_link_MHz"),
    *_prices("MAC", "over a 16-bit MAC"),
    _field("energy", "mac_pJ", "pJ", "one 16-bit MAC at 1.0 V, the unit of the ratios"),
    _field("energy", "clock_pJ_per_PE_cycle", "pJ",
           "each PE in every cycle at 1.0 V, working or not"),
    _field("energy", "static_mW", "mW", "leakage of the whole chip"),
    _field("energy", "price_by_size", "",
           "a word of a larger memory than the preset's costs more"),
    *_prices("pJ", "measured; takes the place of the ratio"),
    _field("chip", "voltage_V", "V",
           "supply of the core; energies of the chip grow with its square"),
    _field("word", "pack", "", "values narrower than 16 bits share a word"),
    _field("word", "psum_bits", "bits", "width of psums on the chip"),
    _field("zeros", "handling", "", "what a zero saves", "zeros"),
    _field("zeros", "fmap_code", "", "how fmaps are coded in DRAM"),
    _field("zeros", "filter_code", "", "how filters are coded in DRAM"),
    _field("search", "objective", "", "what a search for mappings minimises; unless "
           "given, joules where cycles cost energy, else energy", "search_objective"),
)

TOP_KEYS = tuple(field.key for field in TOP_FIELDS)
# TOML table -> key -> field of Hardware. A unit in a key stands for its whole family.
TABLES: dict[str, dict[str, str]] = {}
for _one in FIELDS:
    TABLES.setdefault(_one.table, {})[_one.key] = _one.name
