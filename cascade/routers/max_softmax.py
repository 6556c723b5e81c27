"""Max-softmax: what a network leaves to all but its first class."""

import torch

from cascade.routers.base import ROUTERS, Router


class MaxSoftmax(Router):
    """One minus the highest probability: free, but the whole network must run."""

    def of_inputs(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, classes), to scores, (N,)."""
        return 1 - logits.float().softmax(1).amax(1)


ROUTERS.add("max_softmax", MaxSoftmax)
