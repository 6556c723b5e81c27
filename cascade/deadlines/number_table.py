"""Tables of numbers, checked cell by cell."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def read_table(path: str | Path, needed: Sequence[str],
               optional: Sequence[str] = ()) -> pd.DataFrame:
    """A .csv file with columns of which all but ``name`` are numbers.

    Parameters
    ----------
    path : str or Path
    needed, optional : sequence of str
        Columns; others are left as they are.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        No such columns, rows longer than the header, or something that is no number.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Else the first column of longer rows would name them.
            table = pd.read_csv(path, dtype=str, keep_default_na=False,
                                skipinitialspace=True, index_col=False)
    except pd.errors.ParserWarning:
        raise ValueError(f"{path}: rows have more cells than the header; take the last "
                         "commas away, or name every column") from None
    except ValueError as problem:       # of pandas, or not UTF-8
        raise ValueError(f"{path}: not a .csv table: {problem}") from None
    try:
        return as_numbers(table, needed, optional)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def as_numbers(table: pd.DataFrame, needed: Sequence[str],
               optional: Sequence[str] = ()) -> pd.DataFrame:
    """The table with those columns as finite float64, all but ``name``.

    Raises
    ------
    ValueError
        A column that is missing; which cell is no number.
    """
    for column in needed:
        if column not in table:
            raise ValueError(f"column {column} is missing; there are "
                             + (", ".join(map(str, table.columns)) or "none"))
    table = table.copy()
    for column in (*needed, *optional):
        if column not in table or column == "name":
            continue
        numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            row = table.iloc[wrong[0]]
            who = f" ({row['name']})" if "name" in table else ""
            raise ValueError(f"row {wrong[0] + 1}{who}: {column} is "
                             f"{str(row[column])!r}, which is no number")
        table[column] = numbers
    return table
