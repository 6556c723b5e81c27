"""Outputs of a network for many images, computed once and kept."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cascade.routers import pooled
from cascade.taps import find_taps, program, tapped
from eyeriss_sim.atomic import replacing
from eyeriss_sim.version import VERSION

CHUNK = 250


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits and pooled features of images.

    Parameters
    ----------
    logits : float32 tensor, shape (N, classes)
    summaries : dict of str to float32 tensor, shape (N, 2 C)
        Pooled features, see :func:`cascade.routers.pooled`, by the tap's name.
    labels : int64 tensor, shape (N,)
    """

    logits: torch.Tensor
    summaries: dict
    labels: torch.Tensor

    @property
    def right(self) -> torch.Tensor:
        """Images that the network gets right, bool, shape (N,)."""
        return self.logits.argmax(1) == self.labels

    @property
    def accuracy(self) -> float:
        """Share of the images."""
        return float(self.right.double().mean())


@torch.no_grad()
def outputs_of(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor,
               cache: str | Path | None = None,
               progress: Callable[[int, int], None] | None = None) -> Outputs:
    """Run a network over images, or read what an earlier run kept.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    images : float tensor, shape (N, C, H, W)
        Images as the network takes them.
    labels : int64 tensor, shape (N,)
    cache : str or Path, optional
        A folder. Files in it are named after what the network computes, its weights
        and the images.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    Outputs

    Raises
    ------
    ValueError
        Logits that are no finite numbers.
    """
    taps = find_taps(network, images.shape[1:])
    path = None
    if cache is not None:
        key = run_hash(network, images)
        path = Path(cache) / f"outputs_{key[:24]}.safetensors"
        found = _read(path, taps, len(images))
        if found is not None:
            logits, summaries = found
            return Outputs(logits, summaries, labels)
    showing = tapped(network, taps)
    answers: list[torch.Tensor] = []
    seen: dict[str, list[torch.Tensor]] = {tap.name: [] for tap in taps}
    for done in range(0, len(images), CHUNK):
        *features, answer = showing(images[done:done + CHUNK].contiguous(
            memory_format=torch.channels_last))
        for tap, features_there in zip(taps, features, strict=True):
            seen[tap.name].append(pooled(features_there))
        answers.append(answer.float())
        if progress is not None:
            progress(min(done + CHUNK, len(images)), len(images))
    logits = torch.cat(answers)
    wrong = (~torch.isfinite(logits)).any(1).nonzero()
    if len(wrong):
        raise ValueError(
            f"image {int(wrong[0]) + 1} of {len(images)}: the network's logits are no "
            f"finite numbers, as of {len(wrong)} in all; are its pixels and weights?")
    summaries = {name: torch.cat(some) for name, some in seen.items()}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            fresh.write_bytes(save({"logits": logits, **{
                f"tap:{name}": one for name, one in summaries.items()}}))
    return Outputs(logits, summaries, labels)


def _read(path, taps, count):
    """Logits and summaries of a file, or None where it is missing or damaged."""
    try:
        found = load_file(path)
        logits = found["logits"]
        summaries = {tap.name: found[f"tap:{tap.name}"] for tap in taps}
    except (SafetensorError, OSError, KeyError):
        return None
    return (logits, summaries) if len(logits) == count else None


def run_hash(network: torch.nn.Module, images: torch.Tensor) -> str:
    """SHA-256 of all on which a network's results for images depend."""
    # Weights alone do not tell a ReLU from a tanh, or a stride from another.
    text = f"{VERSION}\n{network}\n{program(network)}"
    return hashlib.sha256("\n".join((text, content_hash(
        [*network.parameters(), *network.buffers(), images]))).encode()).hexdigest()


def content_hash(tensors: Iterable[torch.Tensor]) -> str:
    """SHA-256 of the bytes of tensors, as a hexadecimal number."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(
            torch.uint8).numpy().data)
    return digest.hexdigest()


def check_disjoint(parts: dict[str, torch.Tensor]) -> None:
    """Refuse parts of the data that share an image.

    Parameters
    ----------
    parts : dict of str to tensor, shape (N, C, H, W)
        Images by the name of their part.

    Raises
    ------
    ValueError
        Two parts have an image in common, by its content.
    """
    seen: dict[str, set[bytes]] = {}
    for name, images in parts.items():
        # By value: of another type, or with a zero of the other sign, it is the same.
        rows = (images.detach().cpu().float() + 0.0).flatten(1).contiguous().numpy()
        own = {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}
        for other, theirs in seen.items():
            if own & theirs:
                raise ValueError(
                    f"{len(own & theirs)} images are in {other} as well as in {name}; "
                    "a selector or threshold chosen on images that a network was "
                    "fitted to promises too much; take them out of one")
        seen[name] = own
