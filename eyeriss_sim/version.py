"""The release, which results and caches are kept apart by.

Raise it with whatever changes counts, cycles, energies or what is trained.
"""

VERSION = "0.4.0"
