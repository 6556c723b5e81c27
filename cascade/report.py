"""Verdicts as tables on a terminal."""

import pandas as pd
from rich.table import Table

from cascade.bench import SETTING
from eyeriss_sim.terminal import make_console


def print_verdicts(table: pd.DataFrame) -> None:
    """Systems at each loss beside the hull, in 80 columns if need be.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`cascade.bench.verdicts` found.
    """
    console = make_console()
    if table.empty:
        console.print("no cascade loses so little for less energy than the dense "
                      "network needs")
        return
    for key, rows in table.groupby(["network", "method", *SETTING], sort=False):
        shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        shown.add_column("system", no_wrap=True)
        for heading in ("allowed", "lost", "mild", "energy", "saved", "hull",
                        "below hull", "95 %", ""):
            shown.add_column(heading, justify="right")
        for row in rows.to_dict("records"):
            shown.add_row(
                row["system"], f"{row['loss']:.1f}", f"{row['lost']:.2f}",
                f"{100 * row['share_mild']:.0f} %",
                f"{row['energy_rel']:.3f}", f"{100 * row['saved']:.1f} %",
                f"{row['hull_rel']:.3f}", f"{row['below_hull']:+.3f}",
                f"{row['low']:+.3f} {row['high']:+.3f}", "wins" if row["wins"] else "")
        count = int(rows.seeds.iloc[0])
        # Networks of fewer channels have lower ones.
        floors = dict.fromkeys(
            f"{one:.3f}" for one in (rows.floor_rel.min(), rows.floor_rel.max()))
        console.print(f"{key[0]}, {key[1]}, {key[2]} searched for {key[3]}, "
                      f"batch {key[4]}, {count} seed"
                      f"{'s' * (count > 1)}; floor {' to '.join(floors)}")
        console.print(shown)
        if "worst_rel" in rows:
            console.print("an image through all networks, alone, and other hulls at "
                          "the accuracy reached")
            console.print(_worst_and_hulls(rows))
    console.print(
        "allowed: points below dense on the choosing images; lost: on the test images; "
        "mild: share of images that the mild network answers (0: it never runs); "
        "hull: energy of single levels, mixed at random, at the accuracy reached; "
        "own: of the cascade's own ladders; test: of the levels that are best on the "
        "test images, in hindsight")


def _worst_and_hulls(rows):
    """Energy and latency of an image that all networks see, and the other hulls."""
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("system", no_wrap=True)
    for heading in ("allowed", "energy", "ms", "own hull", "below own", "test hull",
                    "below test", "routes"):
        shown.add_column(heading, justify="right")
    for row in rows.to_dict("records"):
        shown.add_row(
            row["system"], f"{row['loss']:.1f}", f"{row['worst_rel']:.3f}",
            f"{row['worst_ms']:.4f}", f"{row['own_hull_rel']:.3f}",
            f"{row['below_own_hull']:+.3f}", f"{row['test_hull_rel']:.3f}",
            f"{row['below_test_hull']:+.3f}",
            "always" if row["share_mild"] == 1 else "" if row["share_mild"]
            else "never")
    return shown


def print_learned_against_free(table: pd.DataFrame) -> None:
    """The learned selectors beside a free router at equal energy.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`cascade.bench.learned_against_free` found.
    """
    if table.empty:
        return
    console = make_console()
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("energy", "learned", "points", "95 %", ""):
        shown.add_column(heading, justify="right")
    for row in table.to_dict("records"):
        sure = "wins" if row["low"] > 0 else "loses" if row["high"] < 0 else ""
        shown.add_row(f"{row['energy_free']:.3f}", f"{row['energy_learned']:.3f}",
                      f"{row['points']:+.2f}", f"{row['low']:+.2f} {row['high']:+.2f}",
                      sure)
    console.print(f"learned selector against {table.free.iloc[0]}, points of accuracy "
                  "at no more energy on the choosing images")
    console.print(shown)
