"""Results beside each other: accuracy against energy, as a table and as a figure."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from eyeriss_sim.figure_style import GREY, INK, PALE, SERIES, STYLE
from eyeriss_sim.terminal import make_console
from pruning.records import OBJECTIVE, read_json, read_metrics

PANELS = {"energy_rel_eap_tool": "energy, every zero saves (eap_tool)",
          "energy_rel_eyeriss_chip": "energy, activation zeros save (eyeriss_chip)"}
# Colours of dense networks.
DENSE = (INK, GREY, PALE)
MARKS = "os^Dv<>PX*h"   # none divides the colours, so that later lines differ
# What makes a result one of an experiment, seeds apart.
SAME = ("data", "dense", "oracle", "batch", "recipe", "options")
KEYS = ["network", "method", "control", "experiment", "images"]      # of a line
# Beside accuracies on the images to choose by, which are no test.
MARK_OF = {"test": "", "choosing": "°"}
ENERGY = "energy_rel_"      # begins what a metric of an oracle is called
LEVEL = "support="      # option that tells the rungs of a method without targets
SHOWN_POINTS = 7    # of accuracy below the best: one that fell would squeeze the others


def collect(folders: Sequence[str | Path]) -> pd.DataFrame:
    """Metrics of result folders, or of all rungs in a folder of them.

    Parameters
    ----------
    folders : sequence of str or Path

    Returns
    -------
    pandas.DataFrame
        One row a result: network, method, control, rung, seed, accuracy (test images
        where they were looked at, else those to choose by), energies and sizes; first,
        the targets of all but a composition's last method; experiment, the same for
        results that differ by rung and seed alone: their folder without its ``_sSEED``,
        and the method's options.

    Raises
    ------
    ValueError
        A folder without a result; energies on one hardware whose mappings were searched
        for different objectives.
    """
    rows: list[dict] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        files = sorted(folder.rglob("metrics.json"))
        if not files:
            raise ValueError(f"{folder}: no result in it; eyeriss-prune run makes one")
        rows += map(_row, files)
    table = pd.DataFrame(rows)
    _check_objectives(table)
    # Seeds of one name, but not of one recipe, are called by their own folders.
    several = table.groupby("experiment").settings.transform("nunique") > 1
    table.loc[several, "experiment"] = table.groupby(["experiment", "settings"])[
        "ladder"].transform(_together)
    return table.drop(columns=["settings", "ladder"])


def _check_objectives(table):
    """Refuse shares of energy that no axis has in common."""
    for column in [one for one in table if one.startswith(OBJECTIVE)]:
        first = table[table[column].notna()].drop_duplicates(column)
        if len(first) > 1:
            one, other = first.iloc[0], first.iloc[1]
            raise ValueError(
                f"energies on {column.removeprefix(OBJECTIVE)}: the mappings of "
                f"{one.folder} were searched for {one[column]}, those of "
                f"{other.folder} for {other[column]}; compare them apart, or run one "
                "of both anew")


def _together(folders):
    first, *others = dict.fromkeys(folders)
    return " and ".join([first, *(Path(other).name for other in others)])


def _experiment(file, metrics, config):
    """Group that a result is of: first targets, experiment, settings, ladder."""
    ladder, rung = file.parent, metrics.get("rung") or ""
    if ladder.name == rung:
        ladder = ladder.parent
    target = metrics.get("target") or ""
    options = "_".join(
        part for part in rung.removeprefix(target.replace("+", "_")).split("_")
        if part and not part.startswith(LEVEL))
    stem = ladder.parent / re.sub(rf"_s{metrics.get('seed')}(?=_|$)", "", ladder.name)
    unseeded = {key: {name: one for name, one in config[key].items() if name != "seed"}
                if isinstance(config[key], dict) else config[key]
                for key in SAME if key in config}
    return {"first": target.rpartition("+")[0], "experiment": str(stem / options),
            "settings": json.dumps(unseeded, sort_keys=True),
            "ladder": str(ladder / options)}


def _row(file):
    metrics = read_metrics(file)
    config = read_json(file.with_name("config.json"))
    if not {"method", "choosing_accuracy"} & metrics.keys():
        raise ValueError(f"{file}: the metrics of no training and no pruning; name "
                         "folders that eyeriss-prune wrote")
    for key in ("network", "data"):
        if config.get(key) is not None and not isinstance(config[key], str):
            raise ValueError(
                f"{file.with_name('config.json')}: {key} must be text, got "
                f"{config[key]!r:.60}; it is damaged, or another program's")
    test, choosing = metrics.get("test_accuracy"), metrics.get(
        "accuracy", metrics.get("choosing_accuracy"))
    row = {"network": config.get("network"), "method": metrics.get("method") or "dense",
           "control": metrics.get("control"), "rung": metrics.get("rung") or "dense",
           "seed": metrics.get("seed"), "data": config.get("data"),
           "accuracy": choosing if test is None else test,
           "images": "choosing" if test is None else "test",
           "floor": metrics.get("floor_rel_eap_tool"),
           "floor_b16": metrics.get("floor_rel_eap_tool_b16")}
    dense = "method" not in metrics         # a training of the dense network
    for key in (*PANELS, "energy_rel_eap_tool_b16", "energy_rel_eyeriss_chip_b16",
                "weights_rel", "macs_rel", "params_rel"):
        row[key] = 1.0 if dense else metrics.get(key)
        if key.startswith(ENERGY):
            objective = key.replace(ENERGY, OBJECTIVE, 1)
            row[objective] = metrics.get(objective)
    row["energy_rel_periodic"] = metrics.get("energy_rel_eap_tool_periodic")
    row |= {key: value for key, value in metrics.items()
            if is_further(key) or key.startswith(OBJECTIVE)}
    row["folder"] = str(file.parent)
    return row | _experiment(file, metrics, config)


def is_further(key: str) -> bool:
    """True if a metric is the energy on a machine that was asked for besides."""
    return bool(re.match(r"energy_rel_(?!(eap_tool|eyeriss_chip|preset_dense)"
                         r"(_periodic)?(_b16)?$|periodic$)", key))


def panels_of(table: pd.DataFrame) -> dict[str, str]:
    """Columns that are drawn, each in a panel of its own, and what it is called."""
    return PANELS | {key: f"energy on {key.removeprefix('energy_rel_')}"
                     for key in table.columns if is_further(key)}


def print_table(table: pd.DataFrame) -> None:
    """The table on standard output, as wide as the terminal lets it be."""
    console = make_console()
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # A narrow terminal has no room for what every row would say again.
    shared = [key for key in ("network", "seed") if table[key].isna().all() or (
        len(table) > 1 and table[key].nunique(dropna=False) == 1)]
    for heading in ("network", "method", "rung", "seed"):
        if heading not in shared:
            shown.add_column(heading, overflow="fold", no_wrap=heading == "method")
    for heading in ("accuracy", "energy", "at 16", "chip", "weights", "MACs",
                    "floor"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        method = row["method"].replace("+", " +\n") + (
            f"\n({row['control']})" if isinstance(row["control"], str) else "")
        shares = (row["energy_rel_eap_tool"], row["energy_rel_eap_tool_b16"],
                  row["energy_rel_eyeriss_chip"], row["weights_rel"], row["macs_rel"],
                  row["floor"])
        names = {"network": str(row["network"]), "method": method,
                 # Lines may break at blanks.
                 "rung": row["rung"].replace("_", " "),
                 "seed": str(row["seed"])}
        shown.add_row(
            *(name for key, name in names.items() if key not in shared),
            "-" if pd.isna(row["accuracy"]) else
            f"{100 * row['accuracy']:.2f} %{MARK_OF[row['images']]}",
            *("-" if pd.isna(share) else f"{share:.3f}" for share in shares))
    told = [f"{'seed ' * (key == 'seed')}{table[key].iloc[0]}" for key in shared
            if table[key].notna().all()]
    if told:
        console.print(", ".join(told))
    console.print(shown)
    console.print("energy: of one image on eap_tool at batch 1, at 16, and on "
                  "eyeriss_chip, relative to the dense network's, each with its own "
                  "zeros; floor: of this network on eap_tool, every prunable weight "
                  "zero" + (
                      f"\n{MARK_OF['choosing']} on the images to choose by: the test "
                      "images were not looked at"
                      if "choosing" in set(table.images) else ""))
    print_periodic(table)


def print_periodic(table: pd.DataFrame) -> None:
    """Print the cost of kernels of one period where its supports are stored once."""
    rows = table[table.energy_rel_periodic.notna()]
    if len(rows):
        make_console().print(
            "on eap_tool with the supports of a period stored once: " + ", ".join(
                f"{one.method} {one.rung} {one.energy_rel_periodic:.3f}"
                for one in rows.itertuples()))


def _names(lines, rows):
    """Names of the experiments in the legend: no two of them the same."""
    names = [" ".join(filter(None, (
        network if rows.network.nunique() > 1 else "", method, control)))
        + MARK_OF[images] for (network, method, control, _, images), _ in lines]
    folders = [Path(experiment).parts for (*_, experiment, _), _ in lines]
    for name in {one for one in names if names.count(one) > 1}:
        alike = [place for place, one in enumerate(names) if one == name]
        parts = [folders[place] for place in alike]
        # Tuples of folders have a common start as texts of characters have.
        shared = os.path.commonprefix(parts)    # noqa: RUF071
        common = min(len(shared), min(map(len, parts)) - 1)
        for place, path in zip(alike, parts, strict=True):
            names[place] += f" ({'/'.join(path[common:])})"
    return names


def _draw_floor(panel, floor, name):
    if pd.notna(floor):
        panel.axvline(floor, color=PALE, linewidth=1, zorder=0)
        panel.annotate(name, (floor, 1), (-2, -4), xycoords=("data", "axes fraction"),
                       textcoords="offset points", color=GREY, fontsize=8,
                       rotation=90, ha="right", va="top")


@matplotlib.rc_context(STYLE)
def draw(table: pd.DataFrame) -> Figure:
    """Accuracy against energy, a panel a hardware, a line a method and control.

    A line is the mean of an experiment's seeds. Where several experiments have the same
    method and control, each is called by its folder, too. Accuracies far below the best
    are out of the picture; the legend says how low a method goes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = panels_of(table)
    figure = Figure(figsize=(6.25 * len(columns), 4.6), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True)
    rows = table[table.accuracy.notna()].fillna({"network": "", "control": ""})
    lines = list(rows[rows.method != "dense"].groupby(KEYS, sort=False))
    stars = list(rows[rows.method == "dense"].groupby(KEYS, sort=False))
    bottom = 100 * rows.accuracy.max() - SHOWN_POINTS
    for panel, (key, label) in zip(panels, columns.items(), strict=True):
        for place, (name, (_, line)) in enumerate(
                zip(_names(lines, rows), lines, strict=True)):
            mean = line.groupby(["first", "rung"], sort=False)[[key, "accuracy"]].mean(
                ).sort_values(key)
            least = 100 * mean.accuracy.min()
            if least < bottom:
                name += f" (down to {least:.1f} %)"
            # Rungs of a composition that have the same channels are one ladder.
            for _, ladder in mean.groupby("first"):
                panel.plot(ladder[key], 100 * ladder.accuracy, label=name,
                           color=SERIES[place % len(SERIES)],
                           marker=MARKS[place % len(MARKS)], markersize=5,
                           linewidth=1.5)
                name = None         # once in the legend
        for place, (name, (_, dense)) in enumerate(
                zip(_names(stars, rows), stars, strict=True)):
            panel.plot(1, 100 * dense.accuracy.mean(), "*", label=name, markersize=11,
                       color=DENSE[place % len(DENSE)])
        if key == "energy_rel_eap_tool" and rows.network.nunique() == 1:
            # Each network has its own; those of fewer channels a lower one.
            fewer = rows.method.str.contains("channels")
            _draw_floor(panel, rows[~fewer].floor.median(), "floor, all channels")
            _draw_floor(panel, rows[fewer].floor.min(), "lowest floor, fewer channels")
        # One scale from zero: a hair's breadth must not look like a saving.
        panel.set_xlim(0, 1.05 * max(1, rows[list(columns)].max().max()))
        if 100 * rows.accuracy.min() < bottom:
            panel.set_ylim(bottom=bottom)
        panel.set_xlabel(f"{label}, dense = 1")
        panel.grid()
    data = ", ".join(sorted(set(rows.data.dropna())))
    panels[0].set_ylabel("accuracy on " + " or ".join(
        f"{images}{MARK_OF[images]}" for images in dict.fromkeys(rows.images))
        + " images, %")
    figure.suptitle(f"Accuracy against energy ({data})" if data
                    else "Accuracy against energy", x=0.01, ha="left")
    # Beside the panels: within one it would lie on lines, once there are many.
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper",
                  fontsize=8)
    return figure
