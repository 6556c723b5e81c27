"""Anything that describes a network → :class:`~eyeriss_sim.layer.Network`."""


def load_network(text, batch=None, input_shape=None):
    from eyeriss_sim.networks import load_zoo
    return load_zoo(text, batch or 1)
