"""Hardware: one accelerator, read from a TOML file and checked."""

import tomllib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from eyeriss_sim.access_prices import PRICED, price_MAC, sizes_of, supply_factor
from eyeriss_sim.codes import FILTER_CODES, FMAP_CODES, WORD_B, WORD_BITS
from eyeriss_sim.dataflows import DATAFLOWS
from eyeriss_sim.dataflows.base import OBJECTIVES, Dataflow
from eyeriss_sim.hardware_fields import TABLES, TOP_KEYS, UNIT_FAMILIES
from eyeriss_sim.levels import COST_LEVELS, KINDS
from eyeriss_sim.near_names import hint
from eyeriss_sim.plain import plain, shown
from eyeriss_sim.widths import MOST_BITS, Values, stored_bits, values_of
from eyeriss_sim.zero_handling import ZERO_HANDLINGS, ZeroHandling

CHOICES = {"accounting": DATAFLOWS, "zeros": ZERO_HANDLINGS,
           "fmap_code": FMAP_CODES, "filter_code": FILTER_CODES,
           "search_objective": OBJECTIVES}
PRICE_TABLES = ("energy_per_word_MAC", "energy_per_word_pJ")
MAY_BE_ZERO = (
    "hop_cycles", "accumulate_bubbles", "stride_bubbles", "image_gap_cycles",
    "filters_first", "window_first", "glb_ports", "pass_overlap", "first_row_on_top",
    *(f"{name}_{unit}" for name in PRICED for unit in ("MAC", "pJ")),
    "clock_pJ_per_PE_cycle", "static_mW")
WIDTHS = ("ifmap_bits", "filter_bits", "psum_bits", "ofmap_bits")
# A field that the accounting does not need may be left out; one that it needs is there.
ABSENT: Any = None
# No part of an accelerator is near these; what is overflows, or is searched for hours.
SMALLEST, LARGEST = 1e-9, 1e9


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """An accelerator: sizes, widths, clocks, cost table, and what it does with zeros.

    Parameters
    ----------
    name : str
        Shown in every report.
    accounting : str
        One of ``dataflows.DATAFLOWS``: whose closed forms count the accesses. ``chip``:
        the chip's (strips of rows, and of columns where rows are wide, three spads);
        ``isca16``: those of the ISCA 2016 analysis (strips of columns, one RF pool).
    rows, cols : int
        PE array.
    clock_MHz : float
        Core clock.
    glb_ifmap_psum_B : int
        Bytes of the global buffer for ifmaps and psums.
    spad_ifmap_words, spad_filter_words, spad_psum_words : int
        Spads of a PE ("chip").
    rf_words : int
        The one RF pool of a PE ("isca16").
    glb_bank_B, glb_filter_B : int
        One bank of the ifmap and psum part; the filter preload buffer ("chip").
    ifmap_net_words, filter_net_words, psum_in_net_words, psum_out_net_words : int
        Words a cycle that each network moves ("chip"). The words that a filter or psum
        network moves in one cycle belong to one PE.
    hop_cycles : int
        Latency of a psum from a PE to the one above it, paid once a pass ("chip").
    ifmap_fifo_words, filter_fifo_words, psum_in_fifo_words, psum_out_fifo_words : int
        FIFOs of a PE ("chip"). The psum and filter networks never move if one is too
        small for the words that they carry in a cycle.
    accumulate_bubbles, stride_bubbles, image_gap_cycles : int
    filters_first, window_first : int
        Choices of the micro-architecture (the machine): whether MACs idle while a
        window's psums go by; while the window shifts; cycles between images; whether a
        pass waits for all its filters; whether a window waits for its last pixel.
    glb_ports : int
        Ports of a bank of the global buffer; 0 for networks that are always fed at
        their width.
    pass_overlap : int
        Whether the networks feed on from a pass into the next with other filters for
        the same ifmaps, before its last psum is out.
    first_row_on_top : int
        Whether a PE set's first filter row, whose words the networks send first, lies
        at the top, where psums leave, and the first set of channels above the others;
        else both lie at the bottom, where psums begin to climb.
    dram_link_bits : int
    dram_link_MHz : float
        Off-chip link, either direction ("chip").
    alu_MAC, rf_MAC, noc_MAC, glb_MAC, dram_MAC : float, optional
        Energy of one MAC and of one 16-bit access, over that of one 16-bit MAC.
    alu_pJ, rf_pJ, noc_pJ, glb_pJ, dram_pJ : float, optional
        Measured energies: the ratio is then this over ``mac_pJ``, whatever the one
        above. Each level needs one of both.
    rf_ifmap_MAC, rf_filter_MAC, rf_psum_MAC, glb_filter_MAC : float, optional
    rf_ifmap_pJ, rf_filter_pJ, rf_psum_pJ, glb_filter_pJ : float, optional
        The same of one spad, and of the filter buffer, where it differs from its
        level's ("chip").
    price_by_size : bool
        Whether a ratio holds at the size that the preset's memory has and grows with
        size to the power ln 6 / ln 200: 0.5 KB cost 1 a word and 100 KB 6 (ISCA 2016).
        What is given in pJ stays.
    priced_sizes : tuple, optional
        Those sizes, as ``prices.sizes_of`` gives them; the hardware's own unless given.
    mac_pJ : float
        Energy of one 16-bit MAC at 1.0 V, the unit of the ratios.
    clock_pJ_per_PE_cycle : float
        Energy of each PE in every cycle at 1.0 V, working or not.
    static_mW : float
        Leakage of the whole chip.
    pack : bool
        Whether values narrower than a word of 16 bits share it: capacities then count
        bits, and networks and the DRAM link move more values a cycle. Else each takes
        whole words, and a narrow one makes only MACs cheaper.
    psum_bits : int
        Width of psums in spads, networks and the GLB; in DRAM they have the ofmap's.
    voltage_V : float
        Supply of the core. Energies of the chip and its clock grow with its square;
        DRAM, leakage and the clock's frequency don't change with it.
    zeros : str
        One of ``zero_handling.ZERO_HANDLINGS``. ``gate_ifmap``: a zero ifmap value
        saves the MAC and its spad accesses, and fmaps are coded in DRAM.
        ``skip_either``: so does a zero weight, and filters are coded too. Neither saves
        a cycle.
    ifmap_bits, filter_bits, ofmap_bits : int
        Widths of the values that the machine holds, set by ``widths.at_widths``.
    fmap_code, filter_code : str
        How what is coded is coded: ``none``, ``rlc``, ``significance_map``; filters
        also ``csr``, ``csc``, ``periodic``.
    search_objective : str, optional
        What a search minimises unless it is told, see ``objective``; machines that
        differ in it alone are equal.

    Raises
    ------
    ValueError
        A size that is not positive or out of all range, a width that holds no whole
        word, an unknown accounting or zero handling, or a field that the accounting
        needs and lacks.
    """

    name: str
    accounting: str
    rows: int
    cols: int
    clock_MHz: float
    glb_ifmap_psum_B: int
    spad_ifmap_words: int = ABSENT
    spad_filter_words: int = ABSENT
    spad_psum_words: int = ABSENT
    rf_words: int = ABSENT
    glb_bank_B: int = ABSENT
    glb_filter_B: int = ABSENT
    ifmap_net_words: int = ABSENT
    filter_net_words: int = ABSENT
    psum_in_net_words: int = ABSENT
    psum_out_net_words: int = ABSENT
    hop_cycles: int = 0
    ifmap_fifo_words: int = 16
    filter_fifo_words: int = 16
    psum_in_fifo_words: int = 32
    psum_out_fifo_words: int = 32
    accumulate_bubbles: int = 0
    stride_bubbles: int = 0
    image_gap_cycles: int = 0
    filters_first: int = 1
    window_first: int = 1
    glb_ports: int = 1
    pass_overlap: int = 0
    first_row_on_top: int = 0
    dram_link_bits: int = ABSENT
    dram_link_MHz: float = ABSENT
    alu_MAC: float = ABSENT
    rf_MAC: float = ABSENT
    noc_MAC: float = ABSENT
    glb_MAC: float = ABSENT
    dram_MAC: float = ABSENT
    rf_ifmap_MAC: float = ABSENT
    rf_filter_MAC: float = ABSENT
    rf_psum_MAC: float = ABSENT
    glb_filter_MAC: float = ABSENT
    mac_pJ: float
    alu_pJ: float = ABSENT
    rf_pJ: float = ABSENT
    noc_pJ: float = ABSENT
    glb_pJ: float = ABSENT
    dram_pJ: float = ABSENT
    rf_ifmap_pJ: float = ABSENT
    rf_filter_pJ: float = ABSENT
    rf_psum_pJ: float = ABSENT
    glb_filter_pJ: float = ABSENT
    clock_pJ_per_PE_cycle: float = 0.0
    static_mW: float = 0.0
    price_by_size: bool = False
    priced_sizes: tuple = ABSENT
    voltage_V: float = 1.0
    zeros: str = "dense"
    fmap_code: str = "none"
    filter_code: str = "none"
    pack: bool = False
    psum_bits: int = 16
    ifmap_bits: int = 16
    filter_bits: int = 16
    ofmap_bits: int = 16
    search_objective: str | None = field(default=None, compare=False)

    def __post_init__(self):
        for key in CHOICES:
            if key != "search_objective" or self.search_objective is not None:
                check_value(self.name, key, getattr(self, key))
        needed = self.dataflow.needs
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None:
                if one.name in needed:
                    raise ValueError(
                        f"{self.name}: {toml_key(one.name)} is missing; "
                        f"accounting = \"{self.accounting}\" needs it")
                continue
            if one.type in (int, float, bool):
                object.__setattr__(self, one.name,
                                   check_value(self.name, one.name, value))
        own = sizes_of(self)
        object.__setattr__(self, "priced_sizes", tuple(
            size if priced is None else priced
            for size, priced in zip(own, self.priced_sizes or own, strict=True)))
        for level in COST_LEVELS:
            if getattr(self, f"{level}_MAC") is getattr(self, f"{level}_pJ") is None:
                raise ValueError(f"{self.name}: the price of {level} is missing; give "
                                 f"[energy_per_word_MAC] {level}, or start from a "
                                 f"preset with extends = \"eyeriss_chip\"")
        self.dataflow.check(self)

    @property
    def pes(self) -> int:
        """Processing elements of the array."""
        return self.rows * self.cols

    @cached_property
    def _prices(self):
        return {(level, kind): float(price_MAC(self, level, kind))
                for level in COST_LEVELS for kind in KINDS}

    def cost_MAC(self, level: str, kind: str = "ifmap") -> float:
        """Energy of one access of "rf", "noc", "glb" or "dram", or of an "alu" MAC.

        ``kind``, "ifmap", "filter" or "psum", tells memories of a level apart. The unit
        is one 16-bit MAC at 1.0 V.
        """
        return self._prices[level, kind]

    def cost_pJ(self, level: str, kind: str = "ifmap") -> float:
        """The same in pJ."""
        return self.cost_MAC(level, kind) * self.mac_pJ

    @property
    def clock_pJ(self) -> float:
        """Energy of each PE in every cycle at the supply voltage, working or not."""
        return self.clock_pJ_per_PE_cycle * supply_factor(self)

    @property
    def objective(self) -> str:
        """What a search minimises unless it is told otherwise.

        The file's ``[search] objective``; else joules where cycles cost energy, and
        normalised energy where they do not.
        """
        costly = self.clock_pJ_per_PE_cycle > 0 or self.static_mW > 0
        return self.search_objective or ("joules" if costly else "energy")

    def stored_bits(self, kind: str) -> int:
        """Bits that an "ifmap", "filter", "psum" or "ofmap" value takes, see pack."""
        return self._stored_bits[kind]

    @cached_property
    def _stored_bits(self):
        return {name.removesuffix("_bits"): stored_bits(getattr(self, name), self.pack)
                for name in WIDTHS}

    @cached_property
    def width_factors(self) -> tuple[np.ndarray, float]:
        """See ``energy.width_factors``."""
        access = np.empty((len(COST_LEVELS) - 1, len(KINDS)))
        access[:] = [self.stored_bits(kind) / WORD_BITS for kind in KINDS]
        access[-1, -1] = self.stored_bits("ofmap") / WORD_BITS      # psums in DRAM
        access.flags.writeable = False
        return access, (self.ifmap_bits / WORD_BITS) * (self.filter_bits / WORD_BITS)

    @cached_property
    def prices_at_widths(self) -> tuple[list[list[float]], float]:
        """Prices of values, [level][kind] from RF to DRAM, and of a MAC, at their bits.

        Lists, which are read faster than arrays; the unit is one 16-bit MAC at 1.0 V.
        """
        access, mac = self.width_factors
        return ([[self.cost_MAC(level, kind) * width
                  for kind, width in zip(KINDS, row, strict=True)]
                 for level, row in zip(COST_LEVELS[1:], access.tolist(), strict=True)],
                self.cost_MAC("alu") * mac)

    @cached_property
    def values(self) -> Values:
        """Numbers of values that the storage holds and the networks move ("chip")."""
        return values_of(self)

    @property
    def glb_words(self) -> int:
        """Words of the global buffer for ifmaps and psums."""
        return self.glb_ifmap_psum_B // WORD_B

    @property
    def glb_banks(self) -> int:
        """Whole banks for ifmaps and psums ("chip")."""
        return self.glb_ifmap_psum_B // self.glb_bank_B

    @property
    def glb_bank_words(self) -> int:
        """Words of one bank ("chip")."""
        return self.glb_bank_B // WORD_B

    @property
    def glb_filter_words(self) -> int:
        """Words of the filter preload buffer ("chip")."""
        return self.glb_filter_B // WORD_B

    @property
    def cycles_per_dram_word(self) -> float:
        """Core cycles in which the off-chip link moves one 16-bit word ("chip")."""
        words_per_link_cycle = self.dram_link_bits / (8 * WORD_B)
        return self.clock_MHz / (self.dram_link_MHz * words_per_link_cycle)

    def cycles_per_dram_value(self, kind: str) -> float:
        """The same for one "ifmap", "filter" or "ofmap" value, uncoded."""
        return self.cycles_per_dram_word * (self.stored_bits(kind) / WORD_BITS)

    @property
    def dataflow(self) -> Dataflow:
        """The dataflow by which layers run, an object of ``dataflows``."""
        return DATAFLOWS[self.accounting]

    @property
    def zero_handling(self) -> ZeroHandling:
        """The handling of zeros, an object of ``zero_handling.py``."""
        return ZERO_HANDLINGS[self.zeros]

    def coded(self, stream: str) -> bool:
        """True if an "ifmap", "filter" or "ofmap" stream crosses the link coded."""
        code = self.filter_code if stream == "filter" else self.fmap_code
        return code != "none" and stream in self.zero_handling.coded

    def with_zeros(self, zeros: str) -> "Hardware":
        """The same hardware with another zero handling."""
        return replace(self, zeros=zeros)


# What an instance works out once; a changed copy must forget it.
REMEMBERED = tuple(name for name, value in vars(Hardware).items()
                   if isinstance(value, cached_property))


def check_value(owner: str, field_name: str, value: Any) -> Any:
    """A value that a field of Hardware can have, whatever the other fields are.

    Parameters
    ----------
    owner : str
        Whose value it is; begins the message.
    field_name : str
    value : int, float, bool or str

    Returns
    -------
    int, float, bool or str
        Whole numbers as int.

    Raises
    ------
    ValueError
        Not a number, not whole, negative, out of all range, neither true nor false, or
        an unknown choice.

    Examples
    --------
    >>> check_value("mine", "rows", 12.0)
    12
    """
    value = plain(value)
    if field_name in CHOICES:
        if not isinstance(value, str) or value not in CHOICES[field_name]:
            name = field_name.removeprefix("search_")
            raise ValueError(
                f"{owner}: unknown {name} {value!r}; "
                f"{hint(value, CHOICES[field_name])}known: "
                + ", ".join(CHOICES[field_name]))
        return value
    kind = Hardware.__dataclass_fields__[field_name].type
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{owner}: {toml_key(field_name)} must be true or false, "
                             f"got {value!r}")
        return value
    whole = kind is int
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    problem = ""
    if not number or (isinstance(value, float) and not isfinite(value)) or (
            whole and value != int(value)):
        problem = f"a {'whole ' if whole else ''}number, got {shown(value)}"
    elif value < 0 or (value == 0 and field_name not in MAY_BE_ZERO):
        least = "at least 0" if field_name in MAY_BE_ZERO else "positive"
        problem = f"{least}, got {shown(value)}"
    elif field_name in WIDTHS and value > MOST_BITS:
        problem = f"at most {MOST_BITS}, got {shown(value)}"
    elif value and not SMALLEST <= value <= LARGEST:
        problem = (f"in {SMALLEST:g}..{LARGEST:g}, got {shown(value)}; is the unit "
                   "right?")
    if problem:
        raise ValueError(f"{owner}: {toml_key(field_name)} must be {problem}")
    return int(value) if whole else value


def toml_key(field_name: str) -> str:
    """Place of a field of Hardware in a TOML file: ``[table] key``."""
    for table, keys in TABLES.items():
        for key, name in keys.items():
            if name == field_name:
                return f"[{table}] {key}"
    return field_name


def preset_names() -> list[str]:
    """Names of the hardware presets that come with the project, sorted."""
    folder = resources.files("eyeriss_sim") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir()
                  if entry.name.endswith(".toml"))


def load_hardware(hardware: Hardware | str | Path) -> Hardware:
    """A preset by name, a user's TOML file by path, or a Hardware as it is.

    A file with ``extends = "eyeriss_chip"`` (a preset, or a file beside it) says only
    what differs. A price that it says, as a ratio or in pJ, takes the place of what the
    files that it extends say of that level.

    Raises
    ------
    ValueError
        An unknown preset, table, key, unit or value; each message lists the known ones.
    OSError
        A file that can't be read.

    Examples
    --------
    >>> load_hardware("eyeriss_chip").pes
    168
    """
    if isinstance(hardware, Hardware):
        return hardware
    return _hardware_from(_read_tables(str(hardware), Path(), ()), str(hardware))


def _read_tables(text, folder, above):
    """The merged TOML tables of a preset or file and of all that it extends."""
    path = None
    if text.endswith(".toml"):
        path = folder / text
        text = str(path)            # in the folder of the file that extends it
        if path.resolve() in [Path(file).resolve() for file in above]:
            raise ValueError(f"{text}: extends itself through {' -> '.join(above)}")
        content = path.read_bytes()
    elif text in preset_names():
        presets = resources.files("eyeriss_sim") / "presets"
        content = (presets / f"{text}.toml").read_bytes()
    else:
        where = f"{above[-1]}: " if above else ""
        raise ValueError(
            f"{where}unknown hardware {text!r}; {hint(text, preset_names())}presets "
            f"are {', '.join(preset_names())}, or give a .toml file")
    try:
        own = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:     # no TOML, or no UTF-8
        raise ValueError(f"{text}: not a TOML file: {problem}") from None
    own = _checked_tables(own, text)
    parent = own.pop("extends", None)
    if path is None:
        own["priced_like"] = text       # a preset is priced at its own sizes
    if parent is None:
        _check_used(own, own.get("accounting"), text)
        own.setdefault("name", Path(text).stem)
        return own
    merged = _read_tables(parent, path.parent if path else Path(), (*above, text))
    _check_used(own, own.get("accounting", merged.get("accounting")), text)
    merged["name"] = own.pop("name", Path(text).stem)
    _drop_prices(merged, own)
    for key, value in own.items():
        is_table = isinstance(value, dict)
        merged[key] = {**merged.get(key, {}), **value} if is_table else value
    return merged


def _drop_prices(merged, own):
    """Take out of a parent's prices those that a nearer file says, in either table."""
    for table in PRICE_TABLES:
        for name in own.get(table, {}):
            for parents in PRICE_TABLES:
                merged[parents] = {
                    key: price for key, price in merged.get(parents, {}).items()
                    if key != name and not key.startswith(f"{name}_")}


def _check_used(own, accounting, text):
    """Refuse what a file says and its accounting would not look at."""
    for table, keys in TABLES.items():
        for key in own.get(table, {}):
            if accounting in DATAFLOWS and keys[key] in DATAFLOWS[accounting].ignores:
                raise ValueError(f"{text}: [{table}] {key} has no effect, because "
                                 f"accounting = \"{accounting}\" does not look at it; "
                                 "leave it out, or extend a preset of the other kind")


def _checked_tables(tables, text):
    """Known tables and keys only, with every unit brought to the model's own."""
    checked: dict[str, Any] = {}
    for table, content in tables.items():
        if table in TOP_KEYS:
            if not isinstance(content, str):
                raise ValueError(f"{text}: {table} must be text, got {content!r}")
            checked[table] = content
            continue
        if table not in TABLES:
            raise ValueError(
                f"{text}: unknown table or key {table!r}; "
                f"{_where(table, (*TOP_KEYS, *TABLES))}known: "
                + ", ".join((*TOP_KEYS, *(f"[{known}]" for known in TABLES))))
        if not isinstance(content, dict):
            raise ValueError(f"{text}: [{table}] must be a table, got {content!r}")
        values = checked[table] = {}
        for key, value in content.items():
            known_key, scaled = known_key_and_value(text, table, key, value)
            if known_key in values:
                raise ValueError(f"{text}: [{table}] {key} says again, in another "
                                 f"unit, what {known_key} is; drop one")
            values[known_key] = scaled
    ratios, measured = (checked.get(table, {}) for table in PRICE_TABLES)
    for name in measured:
        if name in ratios:
            raise ValueError(f"{text}: [energy_per_word_pJ] {name} says again, in "
                             f"another unit, what [energy_per_word_MAC] {name} is; "
                             "drop one")
    return checked


def known_key_and_value(text: str, table: str, key: str, value: Any) -> tuple[str, Any]:
    """The key of a table as TABLES spells it, and the value in that key's unit.

    Examples
    --------
    >>> known_key_and_value("mine", "glb", "ifmap_psum_KB", 100)
    ('ifmap_psum_B', 102400)
    """
    known = TABLES[table]
    if key in known:
        return key, value
    stem, _, unit = key.rpartition("_")
    for known_key in known:
        known_stem, _, known_unit = known_key.rpartition("_")
        family = next((f for f in UNIT_FAMILIES if known_unit in f), None)
        if family is None or stem != known_stem:
            continue
        if unit not in family:
            raise ValueError(
                f"{text}: [{table}] {key}: unknown unit {unit!r}; known: "
                + ", ".join(f"{stem}_{name}" for name in family))
        value = plain(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f"{text}: [{table}] {key} must be a number, got {value!r}")
        if isinstance(value, int) and abs(value) > LARGEST**2:
            return known_key, value     # out of range in any unit, as the check says
        scaled = value * family[unit] / family[known_unit]
        whole = isfinite(scaled) and scaled == int(scaled)
        return known_key, int(scaled) if whole else scaled
    raise ValueError(f"{text}: unknown key {key!r} in [{table}]; "
                     f"{_where(key, known)}known: " + ", ".join(known))


def _where(key, known):
    """The table that a misplaced key belongs to, or the nearest of the known names."""
    tables = [f"[{table}]" for table in TABLES if key in TABLES[table]]
    return f"it stands in {' and '.join(tables)}; " if tables else hint(key, known)


def _hardware_from(tables, text):
    values = {key: tables[key] for key in ("name", "accounting") if key in tables}
    for table, keys in TABLES.items():
        for key, value in tables.get(table, {}).items():
            values[keys[key]] = value
    preset = tables.get("priced_like")
    if preset and preset != text:
        values["priced_sizes"] = load_hardware(preset).priced_sizes
    for one in fields(Hardware):
        required = one.name in (
            "accounting", "rows", "cols", "clock_MHz", "glb_ifmap_psum_B", "mac_pJ")
        if required and one.name not in values:
            raise ValueError(
                f"{text}: {toml_key(one.name)} is missing; give it, or start from a "
                f"preset with extends = \"eyeriss_chip\"")
    try:
        return Hardware(**values)
    except ValueError as problem:
        # The name that a file gives its machine need not tell where the file is.
        said = str(problem).removeprefix(f"{values['name']}: ")
        raise ValueError(f"{text}: {said}") from None
