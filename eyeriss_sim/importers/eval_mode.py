"""A module's mode while it is run or traced, and the lock for that."""

import threading
from contextlib import contextmanager

# A run wraps forwards, leaves train mode and switches torch's libraries, which every
# thread sees: one runs at a time.
RUNNING = threading.RLock()


@contextmanager
def in_eval_mode(module):
    """Eval mode without gradients, put back afterwards; hold ``RUNNING`` around it."""
    were = [(child, child.training) for child in module.modules()]
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    try:
        # A GraphModule of torch.export refuses, and has nothing to switch.
        for child, _ in were:
            child.training = False
        for weight in learning:         # torch.matmul looks at it, even without grad
            weight.requires_grad_(False)
        yield
    finally:
        for child, training in were:
            child.training = training
        for weight in learning:
            weight.requires_grad_(True)
