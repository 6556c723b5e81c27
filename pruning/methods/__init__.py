"""Named methods: each file here registers its own; nothing else knows them.

A method is a function of a :class:`pruning.problem.Problem` and keyword options that
returns masks, or another step to a smaller network. It may change the weights of
``problem.model``, a copy. A user's own stands in one file, which a command knows by
``--plugin FILE.py``, or, in an installed package, by an entry point
``pruning.methods``.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

from eyeriss_sim.registry import Registry
from pruning.smaller import Step

METHODS = Registry("method", "pruning.methods")
KINDS = {bool: (bool, "true or false"), int: (Integral, "a whole number"),
         float: (Real, "a number"), str: (str, "a name")}


@dataclass(frozen=True)
class Method:
    """A method as others see it.

    Parameters
    ----------
    name : str
    choose : callable
        ``choose(problem, **options)`` gives masks, or a step to a smaller network.
    at_init : bool
        Its masks are for a fresh network, which is then trained; others prune a
        trained one.
    own_levels : bool
        It knows levels of its own instead of targets.
    shrinks : bool
        Its result is a step to a smaller network, of fewer channels or on smaller
        images, which is built.
    filter_code : str, optional
        The code that its weights are stored in, where the hardware's would waste bits.
    recipe : dict
        Settings of the training after its step, where its networks need others than
        usual: fields of :class:`pruning.recipe.Recipe`.
    """

    name: str
    choose: Callable[..., Step]
    at_init: bool = False
    own_levels: bool = False
    shrinks: bool = False
    filter_code: str | None = None
    recipe: dict = field(default_factory=dict)

    @property
    def takes_steps(self) -> bool:
        """True if it may go to its target in steps."""
        return not (self.shrinks or self.own_levels)

    @property
    def options(self) -> dict:
        """Names of the method's options and what they are unless given."""
        return {key: one.default for key, one in inspect.signature(
            self.choose).parameters.items() if one.kind is one.KEYWORD_ONLY}


def register(name: str, **traits) -> Callable:
    """Make a function a method of that name."""
    def add(choose):
        METHODS.add(name, Method(name, choose, **traits))
        return choose
    return add


def find_method(name: str) -> Method:
    """The method of a name, or a ValueError that lists the known ones."""
    return METHODS.find(name)


def check_steps(names: Sequence[str], steps: int) -> None:
    """Refuse a number of steps that is none, or that no method of these names takes."""
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    if steps > 1 and not any(find_method(name).takes_steps for name in names):
        raise ValueError(f"{'+'.join(names)} goes in one step, got steps {steps}; give "
                         "it more epochs instead")


def options_by_method(names: Sequence[str], options: dict) -> list[dict]:
    """Options of each method of a composition.

    Parameters
    ----------
    names : sequence of str
        Names of methods.
    options : dict
        Options by ``option``, which goes to every method that has it, or by
        ``method.option``.

    Returns
    -------
    list of dict
        One a method.

    Raises
    ------
    ValueError
        An option that none has, with those that there are; one of another kind than
        what it is unless given.

    Examples
    --------
    >>> options_by_method(["channels", "energy_aware"], {
    ...     "channels.per_energy": False, "rows": 4096})
    [{'per_energy': False}, {'rows': 4096}]
    """
    methods = [find_method(name) for name in names]
    found: list[dict] = [{} for _ in methods]
    for key, value in options.items():
        owner, _, option = key.rpartition(".")
        takers = [mine for method, mine in zip(methods, found, strict=True)
                  if option in method.options and owner in ("", method.name)]
        if not takers:
            known = [option if len(methods) == 1 else f"{method.name}.{option}"
                     for method in methods for option in method.options]
            raise ValueError(f"{'+'.join(names)} has no option {key!r}; it has "
                             + (", ".join(known) or "none"))
        for method in methods:
            if option in method.options and owner in ("", method.name):
                _check_kind(f"{method.name}: {option}", value, method.options[option])
        for mine in takers:
            mine[option] = value
    return found


def _check_kind(name, value, default):
    if default is None and value is None:
        return
    # What has no number unless given counts something.
    kind, told = KINDS[int if default is None else type(default)]
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{name} must be {told}, got {value!r}")


for _module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
