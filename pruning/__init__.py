"""Make a network cheaper in joules: training, masks and methods round an oracle."""
