"""Named methods: each file here registers its own; nothing else knows them.

A method is a function of a :class:`pruning.problem.Problem` and keyword options that
returns masks. It may change the weights of ``problem.model``, a copy.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass

METHODS = {}


@dataclass(frozen=True)
class Method:
    """A method as others see it.

    Parameters
    ----------
    name : str
    choose : callable
        ``choose(problem, **options)`` gives Masks.
    at_init : bool
        Its masks are for a fresh network, which is then trained; others prune a
        trained one.
    own_levels : bool
        It knows levels of its own instead of targets.
    shrinks : bool
        Whole channels go, and the smaller network is built.
    filter_code : str, optional
        In which its weights are stored, where the hardware's own would waste bits.
    """

    name: str
    choose: object
    at_init: bool = False
    own_levels: bool = False
    shrinks: bool = False
    filter_code: str | None = None

    @property
    def options(self):
        """Names of the method's options and what they are unless given."""
        return {key: one.default for key, one in inspect.signature(
            self.choose).parameters.items() if one.kind is one.KEYWORD_ONLY}

    def check_options(self, options):
        """Refuse options that the method has not."""
        for key in options:
            if key not in self.options:
                raise ValueError(f"{self.name} has no option {key!r}; it has "
                                 + (", ".join(self.options) or "none"))


def register(name, **traits):
    """Make a function a method of that name."""
    def add(choose):
        METHODS[name] = Method(name, choose, **traits)
        return choose
    return add


def find_method(name):
    """The method of a name, or a ValueError that lists the known ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


for _module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
