"""Many machines x networks: what to run, rows as they come, fronts and figures."""
