"""Set-up of all tests."""

import os

from hypothesis import settings

# The same examples every time, so that a red run is about the change that it tests;
# HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# The files that take longest, the longest first: begun early, none of them is left to
# run alone at the end. While the first compiles the kernels, the second needs none.
LONGEST = (
    "test_prune", "test_export", "test_ladder", "test_cascade", "test_settling",
    "test_selector", "test_taps", "test_channels", "test_resources", "test_cli",
    "test_dense_training", "test_machine", "test_routed", "test_search")


def pytest_collection_modifyitems(items):
    """Put the longest files first; workers take files in the order of the items."""
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
