"""A cascade as programs that run without this package: torch.export, batch 1."""

import copy
from pathlib import Path

import torch
from torch import nn

from eyeriss_sim.atomic import only_writer, replacing

WHOLE = "cascade"       # the program that decides for itself


def export_whole(cascade, image):
    """One program in which the choice of the network is a ``torch.cond``.

    The mild network, and what is left of the aggressive one, are branches: a runtime
    runs the one that the image needs. torch calls ``torch.cond`` a prototype; where a
    runtime lacks it, take :func:`export_parts`.

    Parameters
    ----------
    cascade : CascadeNet
    image : float tensor, shape (1, C, H, W)
        An example: its shape, type and device become the program's.

    Returns
    -------
    torch.export.ExportedProgram
        Of an image, to logits, shape (1, classes); whether the mild network answered,
        bool, (1,); and the router's score, (1,).

    Raises
    ------
    ValueError
        An image of another shape, or a network that can't be exported.
    """
    return _export(_Whole(cascade), image, WHOLE)


def export_parts(cascade, image):
    """The same as two programs, or three, between which the caller chooses.

    Parameters
    ----------
    cascade : CascadeNet
    image : float tensor, shape (1, C, H, W)
        An example: its shape, type and device become the programs'.

    Returns
    -------
    dict of str to torch.export.ExportedProgram
        ``first``: of an image, to an answer; whether the mild network is needed, bool,
        shape (1,); and the score, (1,).
        ``mild``: of an image, to logits.
        ``back``, only where the router doesn't need the aggressive network's logits: of
        the answer, which then is the feature map at the tap, to logits. Without it the
        answer is the logits. :func:`run_parts` puts them together.

    Raises
    ------
    ValueError
        An image of another shape, or a network that can't be exported.
    """
    first = _First(cascade)
    parts = {"first": _export(first, image, "first"),
             "mild": _export(cascade.mild, image, "mild")}
    if not cascade.router.needs_logits:
        with torch.no_grad():
            features = first(image)[0]
        parts["back"] = _export(cascade.back, features, "back")
    return parts


def run_parts(parts, image):
    """What :func:`export_parts` promises, as one would write it around any runtime.

    Parameters
    ----------
    parts : dict of str to callable
        The programs by name: ``program.module()`` of each.
    image : float tensor, shape (1, C, H, W)

    Returns
    -------
    logits, goes, score
        As the one program gives them.
    """
    answer, goes, score = parts["first"](image)
    if goes:
        return parts["mild"](image), goes, score
    return (parts["back"](answer) if "back" in parts else answer), goes, score


def save_programs(cascade, image, folder):
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
    cascade : CascadeNet
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
        self.front, self.router, self.back = cascade.front, cascade.router, None
        if cascade.router.needs_logits:
            self.back = cascade.back
        # Wider than any score: it is compared as it is, not rounded.
        self.register_buffer(
            "threshold", torch.tensor(cascade.threshold, dtype=torch.float64))

    def forward(self, image):
        features = self.front(image)
        answer = features if self.back is None else self.back(features)
        score = self.router(features, None if self.back is None else answer)
        return answer, score.double() > self.threshold, score


class _Whole(nn.Module):
    """The first part, and a branch for either answer."""

    def __init__(self, cascade):
        super().__init__()
        self.first, self.mild = _First(cascade), cascade.mild
        self.rest = cascade.back if self.first.back is None else None

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
    """A module that takes images in whatever order of memory, as CascadeNet does."""

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
