"""Verdicts as tables on a terminal."""

from rich.console import Console
from rich.table import Table


def print_verdicts(table):
    """Systems at each loss beside the hull, in at most 100 columns.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`cascade.bench.verdicts`.
    """
    console = Console(width=100, highlight=False)
    for key, rows in table.groupby(["network", "method", "hardware", "batch"],
                                   sort=False):
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        shown.add_column("system")
        for heading in ("allowed", "lost", "energy", "saved", "hull", "below hull",
                        "95 %", ""):
            shown.add_column(heading, justify="right")
        for row in rows.to_dict("records"):
            shown.add_row(
                row["system"], f"{row['loss']:.1f}", f"{row['lost']:.2f}",
                f"{row['energy_rel']:.3f}", f"{100 * row['saved']:.1f} %",
                f"{row['hull_rel']:.3f}", f"{row['below_hull']:+.3f}",
                f"{row['low']:+.3f} {row['high']:+.3f}", "wins" if row["wins"] else "")
        count = int(rows.seeds.iloc[0])
        console.print(f"{key[0]}, {key[1]}, {key[2]}, batch {key[3]}, {count} seed"
                      f"{'s' * (count > 1)}; floor {rows.floor_rel.iloc[0]:.3f}")
        console.print(shown)
    console.print(
        "allowed: points below dense on the choosing images; lost: on the test images; "
        "hull: energy of\nsingle levels, mixed at random, at the accuracy reached")
