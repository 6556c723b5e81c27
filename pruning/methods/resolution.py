"""The same network on smaller images: squares of pixels are averaged first."""

from pruning.averaging import Averaging, averaged
from pruning.calibration import recalibrated
from pruning.methods import register
from pruning.problem import Problem
from pruning.selection import refuse


# So much is taken away at once that a network learns anew.
@register("resolution", shrinks=True, recipe={"epochs": 30, "lr": 0.1})
def resolution(problem: Problem) -> Averaging:
    """Average the images by the smallest factor that meets the target.

    A factor divides both sides of an image, and the network takes what is left; no
    weight and no channel goes. The averaging is charged as a layer: it reads the whole
    image from DRAM and writes the smaller one there.
    """
    shape = tuple(problem.images.shape[1:])
    sides = shape[-2:] if len(shape) == 3 else (1, 1)
    tried: dict[int, float] = {}
    refused = ""
    for factor in range(1, min(sides) + 1):
        if any(side % factor for side in sides):
            continue
        step = Averaging(factor)
        problem.tell(f"resolution: cost with images averaged by {factor}")
        try:
            network = averaged(problem.model, shape, step)
        except ValueError as why:
            refused = refused or f" ({why})"
            continue
        tried[factor] = problem.cost(
            recalibrated(network, problem.images) if problem.trains else network)
        if tried[factor] <= problem.target.share:
            problem.floor = tried[factor]
            return step
    least = min(tried, key=lambda factor: tried[factor])
    problem.floor = tried[least]
    images = "images as they are" if least == 1 else f"images averaged by {least}"
    refuse(str(problem.target), f"of the {problem.target.quantity}", tried[least],
           tried[least], least_left=images + refused)
