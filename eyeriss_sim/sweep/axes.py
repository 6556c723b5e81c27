"""Axes of a sweep: a field of the hardware, batch or objective, and its values."""

from dataclasses import dataclass
from math import floor, inf, isfinite
from typing import Any

import numpy as np

from eyeriss_sim.access_prices import PRICED
from eyeriss_sim.hardware import Hardware, check_value, known_key_and_value
from eyeriss_sim.hardware_fields import TABLES, UNIT_FAMILIES
from eyeriss_sim.near_names import hint
from eyeriss_sim.plain import ENDLESS, plain, shown
from eyeriss_sim.search import OBJECTIVES, UNSEARCHED

BATCH, OBJECTIVE = "batch", "objective"
NO_FIELDS = (BATCH, OBJECTIVE)      # what is varied and is no field of Hardware
# Names that people use for keys which are longer in the TOML file; units may vary.
SHORT_NAMES = {"glb_B": "glb.ifmap_psum_B", "rf_words": "rf.words"}
MOST_VALUES = 10**6


@dataclass(frozen=True)
class Axis:
    """One thing that a sweep varies.

    Parameters
    ----------
    name : str
        Name as it was asked for, its unit included.
    field : str
        A field of Hardware, ``batch`` or ``objective``.
    values : tuple
        In the unit of ``name``.
    settings : tuple
        Setting of the field for each value, in the field's own unit.
    """

    name: str
    field: str
    values: tuple
    settings: tuple

    @property
    def column(self) -> str:
        """Its column, where ``dram_MAC`` is energy and ``glb_MB`` are accesses."""
        if self.name in TABLES["energy_per_word_MAC"].values():
            return f"price of {self.name}"
        return f"size of {self.name}" if self.name == "glb_MB" else self.name

    @property
    def searched(self) -> bool:
        """Whether mappings depend on it."""
        return self.field not in UNSEARCHED


def make_axis(name: str, values: Any, hardware: Hardware) -> Axis:
    """An axis from its name and values as users write them.

    Parameters
    ----------
    name : str
        ``batch``; ``objective``, what mappings are searched for; a key of the
        hardware's TOML tables in any unit, its table before it where several have it
        (``rows``, ``glb.bank_B``, ``spad_words.filter``); a field of Hardware
        (``spad_filter_words``); or ``glb_KB``.
    values : str, number or list
        ``8:32:4`` for 8, 12 .. 32, ``8:64:x2`` for 8, 16, 32, 64, or values and ranges
        in a list or with commas between.
    hardware : Hardware
        Hardware that the sweep starts from.

    Returns
    -------
    Axis

    Raises
    ------
    ValueError
        An unknown field, no value, a value that the field can't have, or a field that
        nothing depends on.

    Examples
    --------
    >>> from eyeriss_sim.hardware import load_hardware
    >>> make_axis("glb_KB", "64,100", load_hardware("eyeriss_chip")).settings
    (65536, 102400)
    """
    values = parse_values(name, values)
    if name == BATCH:
        for value in values:
            if type(value) is not int or value < 1:
                raise ValueError(f"batch must be a whole number of at least 1, got "
                                 f"{value!r}")
        field, settings = BATCH, values
    elif name == OBJECTIVE:
        for value in values:
            if value not in OBJECTIVES:
                raise ValueError(f"unknown objective {shown(value)}; "
                                 f"{hint(value, OBJECTIVES)}known: "
                                 + ", ".join(OBJECTIVES))
        field, settings = OBJECTIVE, values
    else:
        table, key = table_and_key(name)
        settings = []
        for value in values:
            known, setting = known_key_and_value(name, table, key, value)
            field = TABLES[table][known]
            settings.append(check_value(name, field, setting))
        _check_matters(name, field, hardware)
    if len(set(settings)) < len(settings):
        twice = next(value for place, value in enumerate(values)
                     if settings[place] in settings[:place])
        raise ValueError(f"{name}: {twice} is given twice; drop one")
    return Axis(name, field, values, tuple(settings))


def parse_values(name: str, given: Any) -> tuple:
    """The values that a text, a number or a list of both stands for.

    Examples
    --------
    >>> parse_values("rows", "8:16:4,32"), parse_values("rows", [2, "4:16:x2"])
    ((8, 12, 16, 32), (2, 4, 8, 16))
    """
    if isinstance(given, np.ndarray):
        given = given.ravel()
    pieces = given if isinstance(given, (list, tuple, range, np.ndarray)) else [given]
    values = []
    for piece in pieces:
        if not isinstance(piece, str):
            if not isinstance(plain(piece), (int, float)):      # truth values are
                raise ValueError(f"{name}: {piece!r:.60} is no value; give numbers, "
                                 f"as in {name}=8,16")
            values.append(plain(piece))
            continue
        for part in piece.split(","):
            part = part.strip()
            if ":" in part:
                values += _range(name, part, MOST_VALUES - len(values))
            elif part:
                values.append(_number(part))
    if not values:
        raise ValueError(f"{name} has no values; give some, as in {name}=8,16 or "
                         f"{name}=8:32:4")
    texts = sum(isinstance(value, str) for value in values)
    if 0 < texts < len(values):
        word = next(value for value in values if isinstance(value, str))
        raise ValueError(f"{name}: {word!r} is no number, as the other values are")
    return tuple(values)


def _number(text):
    """A number, true or false if it reads as one, else the text.

    A number beyond all range is infinite.
    """
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if abs(number) < ENDLESS else inf
    return text


def _range(name, text, most):
    """first:last, first:last:step or first:last:xfactor; last is included."""
    first, last, *step = parts = text.split(":")
    factor = bool(step) and step[0].strip().lower().startswith("x")
    numbers = [_number(part.strip().lstrip("xX") if place == 2 else part.strip())
               for place, part in enumerate(parts)]
    if len(parts) > 3 or any(isinstance(n, str) or not isfinite(n) for n in numbers):
        raise ValueError(f"{name}={text} is no range; write first:last:step, as in "
                         f"{name}=8:32:4 or, doubling, {name}=8:64:x2")
    first, last = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    if first > last:
        raise ValueError(f"{name}={text} is empty: {first} is above {last}")
    if factor:
        if step <= 1 or first <= 0:
            raise ValueError(f"{name}={text}: start above 0, by a factor above 1")
        values: list[float] = []
        while first <= last * (1 + 1e-12):
            if len(values) == most:
                raise ValueError(f"{name}={text} has more than {MOST_VALUES:,} values; "
                                 f"take a larger factor")
            values.append(first)
            first *= step
        return values
    if step <= 0:
        raise ValueError(f"{name}={text}: the step must be positive")
    count = floor(min((last - first) / step * (1 + 1e-12), 1e18)) + 1
    if count > most:
        raise ValueError(f"{name}={text} has {count:,} values, more than the "
                         f"{MOST_VALUES:,} of one field; take a larger step")
    return [first + place * step for place in range(count)]


def field_names() -> list[str]:
    """Names of all that can be varied, under each of their names."""
    fields = [name for table, keys in TABLES.items() for key, field in keys.items()
              for name in (key, field, f"{table}.{key}")]
    return [*NO_FIELDS, "glb_KB", *SHORT_NAMES, *dict.fromkeys(fields)]


def table_and_key(name: str) -> tuple[str, str]:
    """Table and key of a TOML file under which the field of a name stands.

    Examples
    --------
    >>> table_and_key("rows"), table_and_key("glb_MB"), table_and_key("dram_MAC")
    (('array', 'rows'), ('glb', 'ifmap_psum_MB'), ('energy_per_word_MAC', 'dram'))
    """
    long_name = _spelt_out(name)
    table, _, key = long_name.rpartition(".")
    if table and table not in TABLES:
        raise ValueError(f"{name}: unknown table {table!r}; {hint(table, TABLES)}"
                         "known: " + ", ".join(TABLES))
    tables = [table] if table else TABLES
    found = [where for where in tables if _has(where, key)]
    if len(found) > 1:
        raise ValueError(f"{name} stands in several tables; say "
                         + " or ".join(f"{where}.{key}" for where in found))
    if found:
        return found[0], key
    for where, keys in TABLES.items():
        for known, field in keys.items():
            if field == name:
                return where, known
    if table:
        raise ValueError(f"{name}: [{table}] has no {key!r}; "
                         f"{hint(key, TABLES[table])}it has "
                         + ", ".join(TABLES[table]))
    raise ValueError(f"unknown field {name!r}; {hint(name, field_names())}all of them: "
                     "eyeriss-sim hardware --fields")


def _spelt_out(name):
    """The key that a short name is short for, in the same unit."""
    stem, _, unit = name.rpartition("_")
    for short, key in SHORT_NAMES.items():
        short_stem, _, short_unit = short.rpartition("_")
        family = next((f for f in UNIT_FAMILIES if short_unit in f), {short_unit: 1})
        if stem == short_stem and unit in family:
            return key.replace(short_unit, unit) if unit != short_unit else key
    return name


def _has(table, key):
    """Whether a table has the key, in whatever unit."""
    if key in TABLES[table]:
        return True
    stem, _, unit = key.rpartition("_")
    for known in TABLES[table]:
        known_stem, _, known_unit = known.rpartition("_")
        if stem == known_stem and any(
                known_unit in family and unit in family for family in UNIT_FAMILIES):
            return True
    return False


def _check_matters(name, field, hardware):
    """Refuse a field on which no figure of the sweep would depend."""
    if field in hardware.dataflow.ignores:
        raise ValueError(f"{name}: {hardware.name} has none of it; its accounting is "
                         f"{hardware.accounting}")


def changes_to(settings: dict[str, Any]) -> dict[str, Any]:
    """All that a variant changes, as a TOML file with these settings would.

    A measured energy of the hardware would silently win over a ratio that a sweep
    varies, and the price of one memory over its level's, so they go.
    """
    changed = dict(settings)
    for field in settings:
        name, _, unit = field.rpartition("_")
        if unit in ("MAC", "pJ") and name in PRICED:
            for other in PRICED:
                if other == name or other.startswith(f"{name}_"):
                    changed.setdefault(f"{other}_pJ", None)
                    if other != name:
                        changed.setdefault(f"{other}_MAC", None)
    return changed
