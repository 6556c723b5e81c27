"""Things that users call by name, each registered by the file that defines it."""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from eyeriss_sim.near_names import hint


class Registry(Mapping):
    """Things of one kind by name: the package's own, then those of other packages.

    An installed package adds to it through an entry point of the registry's group,
    which names a module that registers its things when it is imported. They are looked
    for when a name is unknown, or when all names are listed.

    Parameters
    ----------
    what : str
        What one of them is called in messages.
    group : str
        The group of entry points, ``eyeriss_sim.dataflows``, say.
    package : str, optional
        A package whose modules register the things that are known without any other;
        they are imported when the first name is looked up.

    Examples
    --------
    >>> shapes = Registry("shape", "example.shapes")
    >>> shapes.add("circle", 1)
    >>> shapes.find("circel")
    Traceback (most recent call last):
    ...
    ValueError: unknown shape 'circel'; did you mean circle? known: circle
    """

    def __init__(self, what: str, group: str, package: str = ""):
        self.what, self.group, self.package = what, group, package
        self._things: dict[str, Any] = {}
        self._own_are_in, self._installed_are_in = not package, False

    def add(self, name: str, thing: Any) -> None:
        """Register a thing.

        Raises
        ------
        ValueError
            A name that another thing has.
        """
        self._add_own()
        if name in self._things:
            raise ValueError(f"{self.what} {name!r} is there already; take another "
                             "name")
        self._things[name] = thing

    def find(self, name: str) -> Any:
        """The thing of a name.

        Raises
        ------
        ValueError
            An unknown name, with those that there are.
        """
        if name not in self:
            raise ValueError(f"unknown {self.what} {name!r}; {hint(name, self)}known: "
                             + ", ".join(self))
        return self._things[name]

    def __getitem__(self, name: str) -> Any:
        self._add_own()
        if name not in self._things:
            self._add_installed()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._add_installed()
        return iter(self._things)

    def __len__(self) -> int:
        self._add_installed()
        return len(self._things)

    def _add_own(self):
        if not self._own_are_in:
            self._own_are_in = True         # before, since a module may look here
            folder = importlib.import_module(self.package).__path__
            for module in sorted(one.name for one in pkgutil.iter_modules(folder)):
                importlib.import_module(f"{self.package}.{module}")

    def _add_installed(self):
        self._add_own()
        if not self._installed_are_in:
            self._installed_are_in = True       # before, since a module may look here
            for point in entry_points(group=self.group):
                point.load()


def module_of_file(name: str, path: Path) -> tuple[ModuleType, Loader]:
    """An empty module for a Python file, and the loader that runs the file in it."""
    loader = SourceFileLoader(name, str(path))
    # A loader of files has a spec wherever its file is.
    spec = cast(ModuleSpec, importlib.util.spec_from_loader(name, loader))
    return importlib.util.module_from_spec(spec), loader


def import_plugin(path: str | Path) -> None:
    """Run a Python file of a user, which registers what it defines.

    Parameters
    ----------
    path : str or Path
        A ``.py`` file; the same file is run once however often it is named.

    Raises
    ------
    ValueError
        No Python file, or one that fails, with the line where it does.
    OSError
        A file that can't be read.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"{path}: a plugin is a Python file, NAME.py")
    path = path.resolve()
    # The path makes the name, so that two files of one name are two modules.
    name = f"plugin {path}"
    if name in sys.modules:
        return
    path.read_bytes()       # what can't be read is told as such
    module, loader = module_of_file(name, path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        line, trace = "", problem.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == str(path):
                line = f", line {trace.tb_lineno}"
            trace = trace.tb_next
        told = str(problem).splitlines() or [""]
        raise ValueError(f"{path}{line}: the plugin fails with "
                         f"{type(problem).__name__}: {told[0]}") from problem
