"""Dataflows by the name that hardware gives as its accounting; each file has its own.

Nothing else asks for a name. The files of this folder are imported when the first name
is looked up, so that hardware can be read before them.
"""

from typing import TYPE_CHECKING

from eyeriss_sim.registry import Registry

if TYPE_CHECKING:
    from eyeriss_sim.dataflows.base import Dataflow

DATAFLOWS = Registry("accounting", "eyeriss_sim.dataflows", package=__name__)


def register(dataflow: "type[Dataflow]") -> "type[Dataflow]":
    """Make a subclass of ``base.Dataflow`` known under its ``name``."""
    DATAFLOWS.add(dataflow.name, dataflow())
    return dataflow
