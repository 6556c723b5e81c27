"""The weights of a traced layer, as its module has them now."""

import torch
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from eyeriss_sim.importers.eval_mode import RUNNING, in_eval_mode
from eyeriss_sim.importers.torch_module import unwrapped
from eyeriss_sim.near_names import hint


def effective_weight(model: torch.nn.Module, name: str) -> torch.Tensor:
    """Weights that a layer multiplies by, masks and parametrizations applied, unrun.

    Parameters
    ----------
    model : torch.nn.Module
    name : str
        Name of the layer in the trace.

    Returns
    -------
    ndarray
        In the order of the layer's filters, (M, C, R, S), though not in that shape.

    Raises
    ------
    ValueError
        No parameter or buffer of the model, masked or parametrized or as it is, goes
        by that name.
    """
    owner, attribute = _owner(model, name)
    mask = getattr(owner, f"{attribute}_mask", None)
    original = getattr(owner, f"{attribute}_orig", None)
    if mask is not None and original is not None:
        # torch.nn.utils.prune applies its mask only when the module runs.
        weight = original.detach() * mask
    elif owner is not None and is_parametrized(owner, attribute):
        # Some, as spectral norm, change themselves when they are asked in training.
        with RUNNING, in_eval_mode(owner), torch.no_grad():
            weight = getattr(owner, attribute)
    else:
        weight = owner and owner._parameters.get(
            attribute, owner._buffers.get(attribute))    # fixed weights
    if weight is None:
        raise ValueError(f"{name}: the weights of this layer can't be found in "
                         f"{type(model).__name__}; give the oracle images again")
    weight = weight.detach()
    if weight.is_floating_point() and weight.element_size() < 4:
        weight = weight.float()         # numpy or Numba has no such type
    if isinstance(owner, _ConvTransposeNd):
        weight = filters_of_transposed(weight, owner.groups)
    return weight.cpu().numpy()


def is_masked_or_parametrized(model: torch.nn.Module, name: str) -> bool:
    """True if torch itself makes a layer's weight, as ``effective_weight`` does."""
    owner, attribute = _owner(model, name)
    return owner is not None and (
        hasattr(owner, f"{attribute}_mask") or is_parametrized(owner, attribute))


def layers_touched(model, layers, changed):
    """Layers whose filters a change of the weights that are named may change.

    Parameters
    ----------
    model : torch.nn.Module
    layers : iterable of str
        Names of layers, as the trace calls them.
    changed : iterable of str
        Names of layers, modules, parameters or buffers.

    Returns
    -------
    set of str
        Of two layers with one weight, both.

    Raises
    ------
    ValueError
        A name of nothing in the model.
    """
    if isinstance(changed, str):
        raise ValueError(f"changed must be a list of names, got {changed!r}")
    model = unwrapped(model)
    held = {name: _held(_owner(model, name)[0]) for name in layers}
    touched = set()
    for said in changed:
        if said in held:
            touched |= held[said]
            continue
        try:
            touched |= _held(model.get_submodule(said))
        except AttributeError:
            owner, _, attribute = said.rpartition(".")
            try:
                one = getattr(model.get_submodule(owner), attribute)
            except AttributeError:
                one = None
            if not isinstance(one, torch.Tensor):
                raise ValueError(
                    f"changed: {type(model).__name__} has no {said!r}; "
                    f"{hint(said, held)}its layers are {', '.join(held)}") from None
            touched.add(id(one))
    return {name for name, own in held.items() if own & touched}


def _held(module):
    """Identities of the tensors in a module; none of a layer that has no module."""
    return set() if module is None else {
        id(one) for one in (*module.parameters(), *module.buffers())}


def _owner(model, name):
    """The module that holds a layer's weight, or None, and the weight's attribute."""
    model = unwrapped(model)
    path = name.split("#")[0]
    parent_path, _, leaf = path.rpartition(".")
    for owner_path, attribute in (
            (path, "weight"),
            # Weights that a module holds beside its own, as attention and LSTM do.
            (parent_path, f"{leaf}_weight"), (parent_path, leaf)):
        try:
            owner = model.get_submodule(owner_path)
        except AttributeError:
            continue
        if owner_path == path or isinstance(getattr(owner, attribute, None),
                                            torch.Tensor):
            return owner, attribute
    return None, "weight"


def filters_of_transposed(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Weights of a transposed convolution as the filters of what it computes."""
    channels, of_group, *taps = weight.shape
    split = weight.reshape(groups, channels // groups, of_group, *taps)
    filters = split.transpose(1, 2).reshape(
        groups * of_group, channels // groups, *taps)
    return filters.flip(*range(2, 2 + len(taps)))
