"""A Python file → the torch module that it makes."""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.export import ExportedProgram

from eyeriss_sim.importers.constants import ShapesBesideConstants
from eyeriss_sim.registry import module_of_file


def load_module(text, meta=True):
    """The module that a Python file makes.

    Parameters and large tensors that the file makes are on torch's "meta" device, so
    that a large network costs no memory, small constants have values; if that fails it
    runs again with real tensors. Weights need memory: a
    module that is to be run takes ``meta=False``.

    Parameters
    ----------
    text : str
        ``"path/to/file.py:factory"``; the factory is a module, or makes one when
        called without arguments.
    meta : bool
        False: always real tensors, on torch's default device.

    Returns
    -------
    torch.nn.Module or torch.export.ExportedProgram

    Raises
    ------
    ValueError
        No such file or factory, no module, or the file's code raises.
    """
    file, _, attribute = text.rpartition(":")
    path = Path(file)
    if not file.endswith(".py") or not attribute:
        raise ValueError(f"{text!r} names no module; write path/to/file.py:factory")
    if not path.is_file():
        raise ValueError(f"{file}: no such file")
    made = None
    if meta:
        try:
            made = _run_file(path, attribute, ShapesBesideConstants())
        except _MissingAttribute:
            raise
        except (Exception, SystemExit):
            meta = False
    if not meta:
        try:
            made = _run_file(path, attribute, nullcontext())
        except _MissingAttribute:
            raise
        except (Exception, SystemExit) as problem:
            raise ValueError(f"{file}:{attribute} raised {type(problem).__name__}: "
                             f"{first_line(problem)}{_line_in(path, problem)}; "
                             "it must run without arguments") from problem
    if not isinstance(made, (torch.nn.Module, ExportedProgram)):
        raise ValueError(f"{file}:{attribute} gives a {type(made).__name__}, "
                         "not a torch.nn.Module")
    return made


class _MissingAttribute(ValueError):
    """The file ran, but has no such factory."""


def _run_file(path, attribute, device):
    source, loader = module_of_file(f"_eyeriss_sim_{path.stem}", path)
    sys.modules[source.__name__] = source       # dataclasses in the file look it up
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        with torch.random.fork_rng(devices=[]), device:
            torch.manual_seed(0)                # two runs get the same weights
            loader.exec_module(source)
            if not hasattr(source, attribute):
                raise _MissingAttribute(
                    f"{path} has no {attribute!r}; it has "
                    + (", ".join(_factories(source)) or "nothing that makes a module"))
            made = getattr(source, attribute)
            if isinstance(made, (torch.nn.Module, ExportedProgram)) or (
                    not callable(made)):
                return made
            return made()
    finally:
        sys.path.remove(str(path.parent.resolve()))


def _factories(source):
    """Names in a file that may be, or make, a module."""
    def fits(value):
        if isinstance(value, type):
            return (issubclass(value, torch.nn.Module)
                    and value.__module__ == source.__name__)
        return isinstance(value, torch.nn.Module) or (
            callable(value) and getattr(value, "__module__", "") == source.__name__)
    return sorted(key for key, value in vars(source).items()
                  if not key.startswith("_") and fits(value))


def _line_in(path, problem):
    """Line of the file that an exception came from, as " (line 7)"."""
    line, step = "", problem.__traceback__
    while step:
        if Path(step.tb_frame.f_code.co_filename) == path:
            line = f" (line {step.tb_lineno})"
        step = step.tb_next
    return line


def first_line(problem):
    """First sentence of an exception."""
    lines = str(problem).strip().splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else "no reason given"
