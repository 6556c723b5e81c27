"""A look-up table of latency and energy for many layer shapes."""
