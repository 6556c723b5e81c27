"""Set-up of all tests."""

import os

from hypothesis import settings

# The same examples every time, so that a red run is about the change that it tests;
# HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
