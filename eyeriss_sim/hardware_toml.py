"""A Hardware as a complete TOML file, and the fields that such a file may have."""

import json
from dataclasses import MISSING

from eyeriss_sim.access_prices import PARTS, sizes_of
from eyeriss_sim.dataflows import DATAFLOWS
from eyeriss_sim.hardware import CHOICES, Hardware, load_hardware, preset_names
from eyeriss_sim.hardware_fields import FIELDS, TABLES, TOP_FIELDS, Field
from eyeriss_sim.levels import COST_LEVELS

COMMENT_COLUMN = 32


def toml_text(hardware: Hardware) -> str:
    """The TOML file of a hardware: every field that it looks at, with its meaning.

    Read back, it is the same Hardware.

    Parameters
    ----------
    hardware : Hardware
        Of 16-bit operands.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        Its prices hold at sizes that neither it nor a preset has.

    Examples
    --------
    >>> print(toml_text(load_hardware("eyeriss_chip"))[:62])
    name = "eyeriss_chip"           # shown in every report; the f
    """
    top = {"name": hardware.name, "accounting": hardware.accounting}
    if hardware.priced_sizes != sizes_of(hardware):
        top["extends"] = _preset_priced_like(hardware)
    lines = [_line(field, top[field.key]) for field in TOP_FIELDS if field.key in top]
    for table in TABLES:
        said = [_line(field, getattr(hardware, field.name)) for field in FIELDS
                if field.table == table
                and field.name not in hardware.dataflow.ignores
                and getattr(hardware, field.name) is not None]
        if said:
            lines += ["", f"[{table}]", *said]
    return "\n".join(lines) + "\n"


def _preset_priced_like(hardware):
    """A preset whose memories have the sizes at which the hardware's prices hold."""
    for name in preset_names():
        preset = load_hardware(name)
        if (preset.priced_sizes, preset.accounting) == (
                hardware.priced_sizes, hardware.accounting):
            return name
    raise ValueError(f"{hardware.name}: its prices hold at sizes that no preset has; "
                     "print the file that it was read from")


def _line(field, value):
    # A TOML string, number or truth value is written as JSON's.
    said = f"{field.key} = {json.dumps(value, ensure_ascii=False)}"
    unit = "" if field.unit in ("", "MAC") or field.key.endswith(field.unit) else (
        f"{field.unit}: ")
    return f"{said:<{COMMENT_COLUMN - 1}} # {unit}{field.meaning}"


def default_text(field: Field) -> str:
    """What holds where a file doesn't say a field, for readers.

    Examples
    --------
    >>> {field.name: default_text(field) for field in FIELDS[:5]}["rows"]
    'needed'
    """
    stem, _, unit = field.name.rpartition("_")
    if unit in ("MAC", "pJ") and stem in COST_LEVELS:
        return "MAC or pJ needed"
    if unit in ("MAC", "pJ") and stem in PARTS:
        return "its level's"
    if not field.table:
        return {"accounting": "needed"}.get(field.key, "none")
    default = Hardware.__dataclass_fields__[field.name].default
    if default is MISSING:
        return "needed"
    if default is None:
        needed = any(field.name in DATAFLOWS[one].needs for one in DATAFLOWS)
        return "needed" if needed else "none"
    return json.dumps(default).strip('"')


def read_by(field: Field) -> str:
    """The accountings that look at a field; empty where all of them do."""
    readers = [name for name in DATAFLOWS if field.name not in DATAFLOWS[name].ignores]
    return "" if len(readers) == len(DATAFLOWS) else ", ".join(readers)


def meaning_text(field: Field) -> str:
    """The meaning of a field, with the words that it may be."""
    choices = CHOICES.get(field.name)
    return field.meaning + (f": {', '.join(choices)}" if choices else "")
