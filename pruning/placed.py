"""Channels that are put among channels of zeros: what is left of a padded shortcut."""

import torch
from torch import fx, nn


class PlacedChannels(nn.Module):
    """Puts channels where they are to be among channels of zeros.

    Parameters
    ----------
    places : sequence of int
        For each channel of the result the channel that goes there, or -1 for zeros.
    channels : int
        That come in.

    Examples
    --------
    >>> PlacedChannels([-1, 1], 2)(torch.tensor([[[5.0], [7.0]]])).flatten().tolist()
    [0.0, 7.0]
    """

    def __init__(self, places, channels):
        super().__init__()
        places = torch.tensor(places, dtype=torch.int64)
        self.register_buffer("places", torch.where(places < 0, channels, places))
        self.channels = channels

    def forward(self, x):
        blank = x.new_zeros(x.shape[0], 1, *x.shape[2:])
        return torch.cat([x, blank], 1).index_select(1, self.places)


class Tracer(fx.Tracer):
    """Takes a placing as one operator, so that a smaller network shrinks again."""

    def is_leaf_module(self, module, name):
        return isinstance(module, PlacedChannels) or super().is_leaf_module(
            module, name)


def trace(model):
    """The graph of a model, with the model's own modules."""
    return fx.GraphModule(model, Tracer().trace(model))
