"""Routers that have learned, on disk: safetensors, never a pickle."""

import hashlib
import inspect
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from cascade.routers.base import Router, settings_of
from eyeriss_sim.atomic import replacing


def save_router(path: str | Path, router: Router) -> None:
    """Write a router's weights, with its settings in the file's header."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in
               router.state_dict().items()}
    with replacing(path) as fresh:
        fresh.write_bytes(save(tensors, {
            key: json.dumps(value) for key, value in settings_of(router).items()}))


def read_router(path: str | Path, kind: type[Router]) -> Router:
    """A router that :func:`save_router` wrote.

    Parameters
    ----------
    path : str or Path
    kind : type
        Its class, as it is registered.

    Raises
    ------
    ValueError
        A file that is missing or damaged, or holds another kind of router.
    """
    try:
        with safe_open(path, "pt") as file:
            settings = {key: json.loads(value)
                        for key, value in (file.metadata() or {}).items()}
        router = kind(**settings)
        router.load_state_dict(load_file(path))
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError,
            AttributeError) as problem:
        raise ValueError(f"{path}: no {kind.__name__}, or damaged: "
                         f"{str(problem).splitlines()[0]}; delete a cached one, "
                         "build a cascade's anew") from None
    return router.requires_grad_(False).eval()


def source_hash(kind: type[Router]) -> str | None:
    """SHA-256 of the file that defines a router; None for one that is in no file."""
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return None
