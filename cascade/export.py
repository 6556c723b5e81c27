"""A cascade as programs that run without this package: torch.export, batch 1."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from cascade.stages import Chain
from eyeriss_sim.atomic import only_writer, replacing

WHOLE = "cascade"       # the program that decides for itself


def export_whole(cascade: Chain, image: torch.Tensor) -> torch.export.ExportedProgram:
    """One program in which the choice of the network is a ``torch.cond``.

    The second network, and what is left of the first, are branches: a runtime
    runs the one that the image needs. torch calls ``torch.cond`` a prototype; where a
    runtime lacks it, take :func:`export_parts`.

    Parameters
    ----------
    cascade : Chain
        A chain of two stages.
    image : float tensor, shape (1, C, H, W)
        An example: its shape, type and device become the program's.

    Returns
    -------
    torch.export.ExportedProgram
        An image to logits, shape (1, classes); whether the second network answered,
        bool, (1,); and the router's score, (1,).

    Raises
    ------
    ValueError
        An image of another shape, a network that can't be exported, or a chain of
        other than two stages.
    """
    return _export(_Whole(cascade), image, WHOLE)


def export_parts(cascade: Chain, image: torch.Tensor
                 ) -> dict[str, torch.export.ExportedProgram]:
    """The same as two programs, or three, between which the caller chooses.

    Parameters
    ----------
    cascade : Chain
        A chain of two stages.
    image : float tensor, shape (1, C, H, W)
        An example: its shape, type and device become the programs'.

    Returns
    -------
    dict of str to torch.export.ExportedProgram
        ``first``: an image to an answer; whether the second network is needed, bool,
        shape (1,); and the score, (1,).
        ``mild``: an image to the second network's logits.
        ``back``, only where the router doesn't need the first network's logits: the
        answer, which then is the feature map at the tap, to logits. Without it the
        answer is the logits. :func:`run_parts` puts them together.

    Raises
    ------
    ValueError
        An image of another shape, a network that can't be exported, or a chain of
        other than two stages.
    """
    first = _First(cascade)
    parts = {"first": _export(first, image, "first"),
             "mild": _export(cascade.stages[1], image, "mild")}
    if not cascade.asks_all[0]:
        with torch.no_grad():
            features = first(image)[0]
        parts["back"] = _export(cascade.stages[0].back, features, "back")
    return parts


def run_parts(parts: dict[str, Callable], image: torch.Tensor) -> tuple:
    """Run the programs of :func:`export_parts`, as one would around any runtime.

    Parameters
    ----------
    parts : dict of str to callable
        The programs by name: ``program.module()`` of each.
    image : float tensor, shape (1, C, H, W)

    Returns
    -------
    logits, goes, score
        What the one program gives.
    """
    answer, goes, score = parts["first"](image)
    if goes:
        return parts["mild"](image), goes, score
    return (parts["back"](answer) if "back" in parts else answer), goes, score


def save_programs(cascade: Chain, image: torch.Tensor,
                  folder: str | Path) -> list[Path]:
    """Write a cascade as ``cascade.pt2`` and, for the same images, in parts.

    Whoever uses them needs torch alone, and one image at a time::

        program = torch.export.load("cascade.pt2").module()
        logits, goes, score = program(image)

    or, with ``first.pt2``, ``mild.pt2`` and perhaps ``back.pt2``::

        answer, goes, score = first(image)
        logits = mild(image) if goes else back(answer)  # no back.pt2: else answer

    so that the mild network need not even be in memory until an image asks for it. An
    image is normalised as the networks were trained.

    Parameters
    ----------
    cascade : Chain
        A chain of two stages.
    image : float tensor, shape (1, C, H, W)
    folder : str or Path
        Made where it is missing; a file is there whole or not at all.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        A folder that holds a cascade, or into which another run is writing.
    """
    folder = Path(folder)
    if (folder / "cascade.json").exists():
        raise ValueError(f"{folder} holds a cascade, which takes no other files; name "
                         "another folder for the programs")
    with only_writer(folder):
        programs = {WHOLE: export_whole(cascade, image), **export_parts(cascade, image)}
        paths = []
        for name, program in programs.items():
            paths.append(folder / f"{name}.pt2")
            with replacing(paths[-1]) as fresh, fresh.open("wb") as file:
                torch.export.save(program, file)
        # Parts of an earlier cascade there would be taken for this one's.
        if "back" not in programs:
            (folder / "back.pt2").unlink(missing_ok=True)
    return paths


class _First(nn.Module):
    """All that runs for every image, and what the router says."""

    def __init__(self, cascade):
        super().__init__()
        if len(cascade.stages) != 2:
            raise ValueError(f"a chain of {len(cascade.stages)} stages can't be "
                             "exported; programs are written for two")
        stage = cascade.stages[0]
        self.front, self.router = stage.front, cascade.routers[0]
        self.back = stage.back if cascade.asks_all[0] else None
        # Wider than any score: it is compared as it is, not rounded.
        self.register_buffer(
            "threshold", torch.tensor(cascade.thresholds[0], dtype=torch.float64))

    def forward(self, image):
        features = self.front(image)
        answer = features if self.back is None else self.back(features)
        score = self.router(features, None if self.back is None else answer)
        return answer, score.double() > self.threshold, score


class _Whole(nn.Module):
    """The first part, and a branch for either answer."""

    def __init__(self, cascade):
        super().__init__()
        self.first, self.mild = _First(cascade), cascade.stages[1]
        self.rest = cascade.stages[0].back if self.first.back is None else None

    def forward(self, image):
        answer, goes, score = self.first(image)
        # Branches take the same operands, and give tensors of their own.
        logits = torch.cond(goes, self._go, self._stay, (image, answer))
        return logits, goes, score

    def _go(self, image, answer):
        return self.mild(image)

    def _stay(self, image, answer):
        return answer.clone() if self.rest is None else self.rest(answer)


class _Ordered(nn.Module):
    """A module that takes images in whatever order of memory, as a Chain does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image):
        # Not a mere contiguous(): the example has that order, so it would be left out.
        return self.module(image.clone(memory_format=torch.contiguous_format))


def _export(module, image, name):
    if image.ndim != 4 or len(image) != 1:
        raise ValueError("an example of one image, shape (1, C, H, W), is needed; got "
                         f"{tuple(image.shape)}")
    # A copy without gradients: with them, running a branch first traces both.
    module = _Ordered(copy.deepcopy(module)).eval().requires_grad_(False)
    try:
        with torch.no_grad():
            return torch.export.export(module, (image,))
    except (RuntimeError, TypeError, ValueError) as problem:
        raise ValueError(f"{name}.pt2 can't be exported: "
                         f"{str(problem).splitlines()[0]}") from None
