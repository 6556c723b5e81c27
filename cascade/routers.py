"""What says, of each image, whether it needs the mild network.

Each takes the aggressive network's features and logits and gives a score in 0..1; an
image whose score is above the threshold goes to the mild network.
"""

import torch
from torch import nn

SORTED_LOGITS = 10      # highest log-probabilities that a selector sees at most


class MaxSoftmax(nn.Module):
    """One minus the highest probability: free, but the whole network must run."""

    needs_logits = True

    def forward(self, features, logits):
        """(N, C, H, W) and (N, classes) to scores, (N,)."""
        return 1 - logits.float().softmax(1).amax(1)


class Margin(nn.Module):
    """One minus the distance of the two highest probabilities."""

    needs_logits = True

    def forward(self, features, logits):
        """(N, C, H, W) and (N, classes) to scores, (N,)."""
        first, second = logits.float().softmax(1).topk(2, 1).values.unbind(1)
        return 1 - (first - second)


class Selector(nn.Module):
    """A small head on the aggressive network's features (Maleki et al. 2021).

    Mean and maximum of each channel, one hidden layer, and the probability that this
    network is wrong where the mild one is right.

    Parameters
    ----------
    channels : int
        Of the feature map.
    hidden : int
        0: no hidden layer.
    classes : int
        Of the logits that it sees, sorted; 0: it sees none, so that the rest of the
        network need not have run.

    Examples
    --------
    >>> Selector(4, 8)(torch.zeros(5, 4, 2, 2)).shape
    torch.Size([5])
    """

    def __init__(self, channels, hidden=32, classes=0):
        super().__init__()
        self.channels, self.hidden, self.classes = channels, hidden, classes
        inputs = 2 * channels + min(classes, SORTED_LOGITS)
        if hidden:
            self.layers = nn.Sequential(
                nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        else:
            self.layers = nn.Sequential(nn.Linear(inputs, 1))

    @property
    def needs_logits(self):
        """Whether the aggressive network must have run to its end."""
        return self.classes > 0

    def forward(self, features, logits=None):
        """(N, C, H, W) and perhaps (N, classes) to probabilities, (N,)."""
        return self.of_inputs(self.inputs(pooled(features), logits))

    def inputs(self, summary, logits=None):
        """What the layers see, from pooled features and logits."""
        if not self.needs_logits:
            return summary
        return torch.cat([summary, sorted_logits(logits)], 1)

    def of_inputs(self, inputs):
        """Probabilities, (N,)."""
        inputs = inputs.to(self.layers[0].weight.dtype)
        return self.layers(inputs)[:, 0].float().sigmoid()


def pooled(features):
    """Mean and maximum of each channel: (N, C, H, W) to (N, 2 C)."""
    features = features.float()
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


def sorted_logits(logits):
    """The highest log-probabilities, falling: which class it is does not matter."""
    logits = logits.float().log_softmax(1)
    return logits.topk(min(logits.shape[1], SORTED_LOGITS), 1).values
