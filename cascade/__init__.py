"""Chains of pruned networks: an image goes on to the next one only if it must.

What a user needs is here by name; torch is imported when the first of it is asked for.
"""

from importlib import import_module

_ROOMS = {"Chain": "stages", "Choice": "study", "Level": "levels", "ROUTERS": "routers",
          "Router": "routers", "Stage": "stages", "Study": "study", "build": "building",
          "load_cascade": "folder"}

__all__ = sorted(_ROOMS)


def __getattr__(name: str):
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
