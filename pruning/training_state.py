"""The state of a training between two epochs: one file, replaced as a whole."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from eyeriss_sim.atomic import replacing
from pruning.recipe import Recipe

STATE_FILE = "training.safetensors"


def write_state(folder: str | Path, model: torch.nn.Module,
                optimizer: torch.optim.Optimizer, average: torch.nn.Module | None,
                recipe: Recipe, steps: int, rows: list[dict]) -> None:
    """Keep everything that the next epoch needs.

    The tensors and, in the header's metadata, the rest as JSON: in one file, so that no
    kill can leave weights of one epoch beside the history of another.
    """
    tensors = {}
    for prefix, module in (("model", model), ("average", average)):
        if module is not None:
            for name, tensor in module.state_dict().items():
                tensors[f"{prefix}.{name}"] = tensor
    for place, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if torch.is_tensor(value):
                tensors[f"optimizer.{place}.{key}"] = value
    # Cloned, because safetensors refuses tied weights and strides other than C's.
    tensors = {name: tensor.detach().cpu().contiguous().clone()
               for name, tensor in tensors.items()}
    rest = {"recipe": recipe.as_dict(), "steps": steps, "rows": rows}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE_FILE) as fresh:
        # Not save_file: what it writes only the owner may read.
        fresh.write_bytes(save(tensors, {"training": json.dumps(rest)}))


def read_state(folder: str | Path, model: torch.nn.Module,
               optimizer: torch.optim.Optimizer, average: torch.nn.Module | None,
               recipe: Recipe, steps: int) -> list[dict]:
    """Put a training where it was after its last whole epoch.

    Returns
    -------
    list of dict
        The rows of its history; empty if the folder has no state.

    Raises
    ------
    ValueError
        A file that is none, or the state of another training, with what differs.
    """
    path = Path(folder) / STATE_FILE
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            rest = json.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, ValueError) as problem:
        raise ValueError(f"{path}: not the state of a training, or damaged "
                         f"({problem}); delete it to begin anew") from None
    now = recipe.as_dict() | {"steps": steps}
    then = rest["recipe"] | {"steps": rest["steps"]}
    for key in {**now, **then}:         # what a recipe does not use it does not name
        if now.get(key) != then.get(key):
            raise ValueError(
                f"{path}: a training with {key} {then.get(key)}, not {now.get(key)}; "
                "give another folder, or delete it to begin anew")
    for prefix, module in (("model.", model), ("average.", average)):
        if module is not None:
            restore(path, module, {name.removeprefix(prefix): tensor
                                   for name, tensor in tensors.items()
                                   if name.startswith(prefix)})
    restore_optimizer(optimizer, tensors)
    return rest["rows"]


def restore(path: str | Path, module: torch.nn.Module, tensors: dict) -> None:
    """Load values into a module of exactly these names and shapes."""
    wanted = module.state_dict()
    for name in wanted.keys() | tensors.keys():
        if name not in wanted or name not in tensors or (
                wanted[name].shape != tensors[name].shape):
            raise ValueError(f"{path}: the state of another network ({name} differs); "
                             "give another folder, or delete it to begin anew")
    module.load_state_dict(tensors)


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict) -> None:
    """Give an optimizer its buffers back, laid out in memory as the weights are.

    The layout decides which of torch's loops runs, and so the last bit.
    """
    parameters = [parameter for group in optimizer.param_groups
                  for parameter in group["params"]]
    state: dict[int, dict] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            place, key = name.removeprefix("optimizer.").split(".")
            like = parameters[int(place)]
            if tensor.shape == like.shape:
                tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            state.setdefault(int(place), {})[key] = tensor
    if state:
        optimizer.load_state_dict({
            "state": state, "param_groups": optimizer.state_dict()["param_groups"]})
