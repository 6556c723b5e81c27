"""Make a network cheaper in joules: training, masks, methods, with the oracle inside."""
