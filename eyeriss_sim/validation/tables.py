"""Published figures, and the rows that compare ours with them.

The figures live in ``published/``. They are compared with, but for the densities of
fmaps, which say what ran: those of ifmaps are the chip's, those of ofmaps inferred.
"""

from pathlib import Path

import pandas as pd

from eyeriss_sim.number_table import read_table
from eyeriss_sim.zeros import Densities

PUBLISHED = Path(__file__).parent / "published"


def published(name: str) -> pd.DataFrame:
    """A table of published figures."""
    table = read_table(PUBLISHED / f"{name}.csv")
    return table.set_index(table.columns[0])


def chip_densities(table: str = "jssc_table5",
                   ofmaps: str = "alexnet_ofmap_densities") -> dict[str, Densities]:
    """The densities that the chip ran with, by layer."""
    zeros, ofmap = published(table).ifmap_zeros, published(ofmaps).ofmap
    return {layer: Densities(ifmap=1 - zeros[layer], ofmap=ofmap[layer])
            for layer in zeros.index}


def row(source: str, layer: str, quantity: str, truth: float, model: float,
        band: float | None, absolute: bool = False) -> dict:
    """One comparison; the error is in percent unless ``absolute``."""
    error = model - truth if absolute else 100 * (model / truth - 1)
    # A band is about the figures as they are published, so it includes its own edge.
    met = band is None or abs(error) <= band + 1e-9
    return {"source": source, "layer": layer, "quantity": quantity,
            "published": float(truth), "model": float(model), "error": float(error),
            "error_unit": "" if absolute else "%", "band": band,
            "verdict": "reported" if band is None else "ok" if met else "MISSED"}
