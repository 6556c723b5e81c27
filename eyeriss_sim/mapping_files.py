"""Mappings from tables: the chip's own, a user's CSV file, or an earlier result."""

from importlib import resources
from io import StringIO
from os import PathLike
from pathlib import Path

from eyeriss_sim.dataflows import DATAFLOWS
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer_csv import RESULT, read_rows, whole
from eyeriss_sim.mapping import LEAST, Mapping


def tables() -> list[str]:
    """Names of the tables of mappings that come with the project."""
    return [name for one in DATAFLOWS.values() for name in one.mapping_tables]


def chosen_mappings(mapping: str | PathLike | dict, hardware: Hardware,
                    ) -> tuple[dict[str, Mapping], str]:
    """Mappings by layer name, and where they come from, for all ways to give them.

    Parameters
    ----------
    mapping : str, Path or dict
        ``search`` for none, else as in ``read_mappings``, or Mappings by layer name.
    hardware : Hardware
        Hardware that they are for: the tables are the chip's.

    Returns
    -------
    mappings : dict
    source : str
    """
    if not isinstance(mapping, (str, PathLike)):
        return mapping, "given"
    source = str(mapping)
    if source == "search":
        return {}, source
    if source in tables() and source not in hardware.dataflow.mapping_tables:
        raise ValueError(
            f"mapping {source!r} is the chip's, whose e counts ofmap rows; on "
            f"{hardware.name} e counts ofmap columns, so leave it out to search")
    return read_mappings(source, hardware.accounting), source


def read_mappings(text: str, accounting: str = "chip") -> dict[str, Mapping]:
    """Mappings by layer name, from a CSV file or one of the chip's tables.

    Parameters
    ----------
    text : str
        ``published`` and ``published-table3`` (AlexNet), ``inferred-table6`` (VGG-16),
        or the path of a CSV file with the columns layer, m, n, e, p, q, r, t and,
        optionally, row_segments, column_strips, map_H and map_W: a
        result table, too.
    accounting : str
        Accounting of the hardware that they are for, which a result table must share.

    Raises
    ------
    ValueError
        File, line and column of a bad cell; unknown names list the known ones.
    """
    if text in tables():
        named = resources.files("eyeriss_sim") / "mappings" / f"{text}.csv"
        return _parse_mappings(StringIO(named.read_text(encoding="utf-8-sig")), text,
                               accounting)
    if not text.endswith(".csv"):
        raise ValueError(f"unknown mapping {text!r}; known: search, "
                         f"{', '.join(tables())}, or a .csv file")
    with Path(text).open(encoding="utf-8-sig", newline="") as lines:
        return _parse_mappings(lines, text, accounting)


def _parse_mappings(lines, text, accounting):
    needed = ("layer", *"mnepqrt")
    mappings = {}
    for where, cell_of in read_rows(lines, text, ("layer", *LEAST), needed,
                                    of_result=True):
        layer = cell_of.pop("layer")
        own = cell_of.pop("accounting", accounting)
        if own != accounting:
            raise ValueError(
                f"{where}, column accounting: these mappings are of {own} hardware, "
                f"where e counts other strips than on {accounting}; search anew")
        values = {}
        for key in LEAST:
            if key not in cell_of:
                continue
            value, least = whole(cell_of[key]), LEAST[key]
            if value is None or value < least:
                raise ValueError(f"{where}, column {key}: must be a whole number of at "
                                 f"least {least}, got {cell_of[key][:100]!r}")
            values[key] = value
        if not DATAFLOWS[accounting].cuts_filters and RESULT in cell_of:
            values["row_segments"] = 0      # a result says 1 of whole filters
        mappings[layer] = Mapping(**values)
    return mappings
