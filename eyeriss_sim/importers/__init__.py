"""Anything that describes a network → :class:`~eyeriss_sim.layer.Network`."""
