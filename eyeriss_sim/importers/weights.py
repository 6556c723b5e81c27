"""The weights of a traced layer, as its module has them now."""

import torch
from torch.nn.modules.conv import _ConvTransposeNd


def effective_weight(model, name):
    """What a layer multiplies by: masks and parametrizations applied, nothing run.

    Parameters
    ----------
    model : torch.nn.Module
    name : str
        Of the layer, as the trace calls it.

    Returns
    -------
    ndarray
        In the order of the layer's filters, (M, C, R, S), though not in that shape.

    Raises
    ------
    ValueError
        No module or parameter of the model goes by that name.
    """
    path = name.split("#")[0]
    parent_path, _, leaf = path.rpartition(".")
    try:
        owner, attribute = model.get_submodule(path), "weight"
    except AttributeError:
        # Weights that a module holds beside its own, as attention does.
        owner, attribute = model.get_submodule(parent_path), f"{leaf}_weight"
    mask = getattr(owner, f"{attribute}_mask", None)
    original = getattr(owner, f"{attribute}_orig", None)
    if mask is not None and original is not None:
        # torch.nn.utils.prune applies its mask only when the module runs.
        weight = original.detach() * mask
    else:
        weight = getattr(owner, attribute, None)
    if not isinstance(weight, torch.Tensor):
        raise ValueError(f"{name}: the weights of this layer can't be found in "
                         f"{type(model).__name__}; give the oracle images again")
    weight = weight.detach()
    if weight.dtype in (torch.bfloat16, torch.float16):
        weight = weight.float()
    if isinstance(owner, _ConvTransposeNd):
        weight = filters_of_transposed(weight, owner.groups)
    return weight.cpu().numpy()


def filters_of_transposed(weight, groups):
    """Weights of a transposed convolution as the filters of what it computes."""
    channels, of_group, *taps = weight.shape
    split = weight.reshape(groups, channels // groups, of_group, *taps)
    filters = split.transpose(1, 2).reshape(
        groups * of_group, channels // groups, *taps)
    return filters.flip(*range(2, 2 + len(taps)))
