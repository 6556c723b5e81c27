"""JSON and CSV files of a result: whole or not at all, and read with a clear word."""

import csv
import json
import re
from pathlib import Path

from eyeriss_sim.atomic import replacing
from eyeriss_sim.number_table import read_text_table

# Columns of tables that are text even where they read as numbers.
NAMES = ("layer", "hardware", "zeros", "mapping_source", "step")
# Metrics that are text, and what those are called that are numbers.
TEXTS = ("rung", "method", "control", "target", "network", "data")
OBJECTIVE = "objective_"        # begins what mappings of a report were searched for
OLD_OBJECTIVE = "energy"        # of results that do not say it
NUMBERS = re.compile("accuracy|_rel(_|$)|^total_uJ|^(seed|epochs)$|minutes$")


def read_json(path: str | Path) -> dict:
    """Content of a JSON file of a result.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        No such file, one that was cut short, or one that says something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ValueError(f"{path}: no result file: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: damaged ({str(problem).splitlines()[0]}); delete "
                         "it") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a {type(content).__name__} where a result has names "
                         "and values; it is another program's")
    return content


def read_metrics(path: str | Path) -> dict:
    """The metrics of a result, those of earlier versions under the names of today.

    They called the energy of an image energy_uJ, and the preset ``dense``, which is not
    the dense network, by its own name. Their mappings were searched for normalised
    energy, which they do not say.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        See ``read_json``; a number where text should be, or text for a number.
    """
    metrics = {_name_today(key): value for key, value in read_json(path).items()}
    for key in [key for key in metrics if key.startswith("energy_rel_")]:
        metrics.setdefault(key.replace("energy_rel_", OBJECTIVE, 1), OLD_OBJECTIVE)
    for key, value in metrics.items():
        is_text = key in TEXTS or key.startswith(OBJECTIVE)
        kinds, what = ((str,), "text") if is_text else ((int, float), "a number")
        if (not is_text and not NUMBERS.search(key)) or value is None:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{path}: {key} must be {what}, got {value!r:.60}; it is "
                             "damaged, or another program's")
    return metrics


def _name_today(key):
    if key.startswith("energy_uJ_"):
        key = key.replace("energy_uJ_", "total_uJ_per_image_")
    return re.sub("^(total_uJ_per_image|energy_rel|floor_rel)_dense(?=$|_b)",
                  r"\1_preset_dense", key)


def write_json(path: str | Path, content: dict) -> None:
    """One JSON file, whole or not at all."""
    with replacing(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_rows(path: str | Path, rows: list[dict]) -> None:
    """Rows with the same keys as CSV."""
    with replacing(path) as fresh, fresh.open(
            "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def read_rows(path: str | Path) -> list[dict]:
    """Rows that ``write_rows`` wrote, numbers to the last bit; none without a file.

    Raises
    ------
    ValueError
        A file that is no table.
    """
    try:
        table = read_text_table(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path}: damaged ({str(problem).splitlines()[0]})") from None
    return [{key: text if key in NAMES else _number(text) for key, text in row.items()}
            for row in table.to_dict("records")]


def _number(text):
    """Value of a cell: a number where it reads as one, None where it is empty."""
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def difference(before: object, now: object) -> str:
    """The first thing in which two entries of a config differ.

    Examples
    --------
    >>> difference({"lr": 0.1, "epochs": 2}, {"lr": 0.2, "epochs": 2})
    'lr 0.1, not 0.2'
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{before}, not {now}"
    # What a recipe does not use it does not name, so either may lack a key.
    key = next(key for key in {**now, **before} if before.get(key) != now.get(key))
    return f"{key} {before.get(key)}, not {now.get(key)}"
