"""The margin: how near the second class comes to the first."""

import torch

from cascade.routers.base import ROUTERS, Router


class Margin(Router):
    """One minus the distance of the two highest probabilities."""

    def of_inputs(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, classes), to scores, (N,)."""
        first, second = logits.float().softmax(1).topk(2, 1).values.unbind(1)
        return 1 - (first - second)


ROUTERS.add("margin", Margin)
