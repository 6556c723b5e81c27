"""Recipe of a training: numbers only, so that a result can say them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from eyeriss_sim.plain import is_whole, plain, shown

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("bfloat16", "float32")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings by which :func:`pruning.training.fit` trains.

    Parameters
    ----------
    epochs : int
    optimizer : str
        ``"sgd"`` (Nesterov's momentum) or ``"adamw"``.
    lr : float
        Learning rate at the top of the one cycle.
    momentum : float
        SGD's momentum, AdamW's first coefficient.
    weight_decay : float
        Decay of weights of CONV and FC layers, never of biases and normalisation.
    batch : int
        Images of a step.
    label_smoothing : float
    distil : float
        Share of the loss that asks for what a teacher says of all classes (Hinton,
        Vinyals, Dean 2015); the rest asks for the labels. 0: no teacher.
    augment : bool
        Flip, crop and cut out.
    crop : int
        Pixels by which a crop moves an image at most.
    cutout : int
        Side of the square that augmenting blanks in each image, in pixels (DeVries and
        Taylor 2017). 0: none.
    ema : float
        Decay of the exponential moving average of the weights, a step; it is the
        average that is evaluated and kept. 0: none.
    warm_up : float
        Share of the steps in which the learning rate rises; then it falls to zero.
    precision : str
        ``"bfloat16"`` where that keeps accuracy (autocast), or ``"float32"``.
    seed : int

    Raises
    ------
    ValueError
        A number out of its range, with the range.
    """

    epochs: int = 30
    optimizer: str = "sgd"
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch: int = 128
    label_smoothing: float = 0.0
    distil: float = 0.0
    augment: bool = True
    crop: int = 2
    cutout: int = 0
    ema: float = 0.0
    warm_up: float = 0.2
    precision: str = "bfloat16"
    seed: int = 0

    def __post_init__(self):
        for key, value in vars(self).items():
            object.__setattr__(self, key, plain(value))
        for key, known in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is one of {', '.join(known)}; got "
                                 f"{getattr(self, key)!r}")
        for key, least in (("epochs", 1), ("batch", 1), ("crop", 0),
                           ("cutout", 0), ("seed", 0)):
            if not is_whole(getattr(self, key), least):
                raise ValueError(f"{key} must be a whole number of at least {least}, "
                                 f"got {shown(getattr(self, key))}")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError("lr must be above 0 and weight_decay at least 0, both "
                             f"finite, got {self.lr} and {self.weight_decay}")
        for key in ("momentum", "label_smoothing", "distil", "ema", "warm_up"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"{key} must be in 0 <= {key} < 1, got "
                                 f"{getattr(self, key)}")

    def as_dict(self) -> dict:
        """Names and numbers, as JSON takes them.

        What came later, and is not used, is left out: trainings of before know no
        such number.
        """
        return {key: value for key, value in asdict(self).items()
                if key not in ("distil", "cutout") or value}

    def learning_rate(self, done: float) -> float:
        """Learning rate when a share ``done`` (0..1) of all steps has been made.

        One cycle (Smith and Topin 2017): along a line from zero up to ``lr`` in the
        warm-up, then down along half a cosine to zero. A function of the step alone, so
        a resumed training needs no scheduler's state.

        Examples
        --------
        >>> recipe = Recipe(lr=0.4, warm_up=0.2)
        >>> [round(recipe.learning_rate(done), 3) for done in (0, 0.1, 0.2, 0.6, 1)]
        [0.0, 0.2, 0.4, 0.2, 0.0]
        """
        if done < self.warm_up:
            return self.lr * done / self.warm_up
        share = (done - self.warm_up) / (1 - self.warm_up)
        return self.lr * (1 + math.cos(math.pi * share)) / 2


# One for all methods of a composition, or one each by its name; None: no training.
Recipes = Recipe | Mapping[str, Recipe] | None


def recipe_of(recipes: Recipes, method: str) -> Recipe | None:
    """The recipe of one method of a composition.

    Raises
    ------
    ValueError
        Recipes by name that lack the method's.
    """
    if not isinstance(recipes, Mapping):
        return recipes
    if method not in recipes:
        raise ValueError(f"recipe: none for {method}, only for "
                         f"{', '.join(recipes) or 'no method'}; give each method one")
    return recipes[method]


def recipes_as_dict(recipes: Recipes) -> dict | None:
    """Names and numbers of one recipe, or of each by its method, as JSON takes them."""
    if isinstance(recipes, Mapping):
        return {name: one.as_dict() for name, one in recipes.items()}
    return None if recipes is None else recipes.as_dict()
