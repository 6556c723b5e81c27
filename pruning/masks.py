"""Masks: which weights stay, by the dotted name of their parameter."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from eyeriss_sim.atomic import replacing


class Masks(Mapping):
    """Bool tensors by parameter name; True is a weight that stays.

    A model is masked by zeroing its weights in place, again after every optimizer step
    (``project``). Names, state dict, deepcopy, pickling and export stay those of
    the plain model, and no hidden weight drifts under a mask.

    Parameters
    ----------
    tensors : mapping of str to bool Tensor
        Each of its parameter's shape.

    Raises
    ------
    ValueError
        A tensor that is not bool.

    Examples
    --------
    >>> half = Masks({"weight": torch.tensor([True, False])})
    >>> other = Masks({"weight": torch.tensor([True, True])})
    >>> (half & other) == half, half.nested_in(other), (half | other).density
    (True, True, 1.0)
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        self._tensors = dict(tensors)
        for name, mask in self._tensors.items():
            if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
                raise ValueError(f"{name}: a mask must be a bool tensor, got "
                                 f"{getattr(mask, 'dtype', type(mask).__name__)}")
        # Copies on the devices of the models that are masked.
        self._placed: dict[tuple[str, torch.device], torch.Tensor] = {}

    def __getitem__(self, name):
        return self._tensors[name]

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __eq__(self, other):
        return isinstance(other, Masks) and self.keys() == other.keys() and all(
            torch.equal(mask, other[name]) for name, mask in self.items())

    def __repr__(self):
        return f"Masks({len(self)} parameters, density {self.density:.4f})"

    @classmethod
    def dense(cls, model: torch.nn.Module, names: Iterable[str]) -> "Masks":
        """Masks that keep everything."""
        return cls({name: torch.ones(model.get_parameter(name).shape, dtype=torch.bool)
                    for name in names})

    @classmethod
    def of(cls, model: torch.nn.Module, names: Iterable[str]) -> "Masks":
        """Masks of the weights that are not zero now, whoever zeroed them.

        Masks of ``torch.nn.utils.prune`` count too, under the parameter's plain name.
        """
        masks = {}
        for name in names:
            owner, _, attribute = name.rpartition(".")
            module = model.get_submodule(owner)
            weight = getattr(module, f"{attribute}_mask", None)
            if weight is None:
                weight = getattr(module, attribute)
            masks[name] = (weight.detach() != 0).cpu()
        return cls(masks)

    @property
    def density(self) -> float:
        """Share of the weights that stay."""
        return self.kept / max(1, sum(mask.numel() for mask in self.values()))

    @property
    def kept(self) -> int:
        """Weights that stay."""
        return sum(int(mask.sum()) for mask in self.values())

    @property
    def densities(self) -> dict[str, float]:
        """Share that stays, by parameter name."""
        return {name: int(mask.sum()) / mask.numel() for name, mask in self.items()}

    def __and__(self, other):
        """Weights that both keep; what only one names is masked by that one."""
        return self._combined(other, torch.logical_and)

    def __or__(self, other):
        """Weights that either keeps, of the parameters that both name."""
        joined = self._combined(other, torch.logical_or)
        return Masks({name: joined[name] for name in self if name in other})

    def _combined(self, other, join):
        both = {**self, **other}
        for name in self.keys() & other.keys():
            if self[name].shape != other[name].shape:
                raise ValueError(f"{name}: masks of shapes {tuple(self[name].shape)} "
                                 f"and {tuple(other[name].shape)} do not combine")
            both[name] = join(self[name], other[name])
        return Masks(both)

    def nested_in(self, other: "Masks") -> bool:
        """True if every weight that stays here stays in ``other``, too."""
        return all(name in self and not (self[name] & ~mask).any()
                   for name, mask in other.items())

    def check(self, model: torch.nn.Module) -> None:
        """Refuse masks that are not this model's.

        Raises
        ------
        ValueError
            A parameter that the model has not, or of another shape.
        """
        shapes = {name: tuple(weight.shape) for name, weight
                  in model.named_parameters(remove_duplicate=False)}
        for name, mask in self.items():
            if name not in shapes:
                raise ValueError(f"mask of {name!r}, which {type(model).__name__} has "
                                 f"not; is it of another network?")
            if tuple(mask.shape) != shapes[name]:
                raise ValueError(f"{name}: mask of shape {tuple(mask.shape)}, but the "
                                 f"parameter has {shapes[name]}")

    def apply(self, model: torch.nn.Module) -> None:
        """Zero the masked weights of a model in place."""
        self.check(model)
        self.project(model)

    @torch.no_grad()
    def project(self, model: torch.nn.Module,
                optimizer: torch.optim.Optimizer | None = None) -> None:
        """Zero the masked weights, and all that the optimizer holds under the mask.

        To be called after each ``optimizer.step()``: momentum that had gathered
        before a weight was masked would move it again.
        """
        for name in self:
            weight = model.get_parameter(name)
            gone = self._gone(name, weight.device)
            weight.masked_fill_(gone, 0)
            if optimizer is not None and weight in optimizer.state:
                for held in optimizer.state[weight].values():
                    if torch.is_tensor(held) and held.shape == weight.shape:
                        held.masked_fill_(gone, 0)

    def keep(self, model: torch.nn.Module,
             optimizer: torch.optim.Optimizer) -> torch.utils.hooks.RemovableHandle:
        """Project after every step of an optimizer from now on.

        Returns
        -------
        torch.utils.hooks.RemovableHandle
        """
        self.apply(model)
        return optimizer.register_step_post_hook(
            lambda stepped, args, kwargs: self.project(model, stepped))

    def _gone(self, name, device):
        if (name, device) not in self._placed:
            self._placed[name, device] = ~self[name].to(device)
        return self._placed[name, device]

    def save(self, path: str | Path) -> None:
        """Write the masks to a safetensors file, as bytes of 0 and 1.

        Parameters
        ----------
        path : str or Path
        """
        tensors = {name: mask.to("cpu", torch.uint8).contiguous()
                   for name, mask in self.items()}
        with replacing(path) as fresh:
            # Not save_file: what it writes only the owner may read.
            fresh.write_bytes(save(tensors, {"kind": "masks"}))

    @classmethod
    def load(cls, path: str | Path) -> "Masks":
        """Masks from a file that ``save`` wrote.

        Raises
        ------
        ValueError
            No such file, not safetensors, or not of masks.
        """
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file")
        try:
            with safe_open(path, framework="pt") as held:
                if (held.metadata() or {}).get("kind") != "masks":
                    raise ValueError(f"{path}: holds no masks; weights, perhaps?")
                return cls({name: held.get_tensor(name).bool() for name in held.keys()})
        except SafetensorError as problem:
            raise ValueError(f"{path}: not a safetensors file, or cut short: "
                             f"{problem}") from None
