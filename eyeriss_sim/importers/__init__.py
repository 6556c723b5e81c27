"""Anything that describes a network → :class:`~eyeriss_sim.layer.Network`.

torch and onnx are imported only when a network needs them.
"""

from pathlib import Path

from eyeriss_sim.near_names import hint
from eyeriss_sim.networks import load_zoo, zoo_names
from eyeriss_sim.plain import is_whole, plain, shown


def load_network(text, batch=None, input_shape=None, proposals=None):
    """The network that a text names, as on the command line.

    Parameters
    ----------
    text : str or Path
        A network of the zoo (``alexnet``), a table (``net.csv``), an ONNX file
        (``net.onnx``), or a torch module (``net.py:factory``).
    batch : int, optional
        Images; by default what the source says, and 1 where it says nothing.
    input_shape : tuple of int, list or dict, optional
        Of a torch module or an ONNX file's open inputs, batch first: ``(1, 3, 224,
        224)``; several as
        :func:`~eyeriss_sim.importers.torch_module.network_from_module` takes them.
    proposals : int, optional
        Rows that go on wherever values decide in a torch module.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        The text fits none of these, or the importer refuses it.

    Examples
    --------
    >>> load_network("resnet18", batch=2).batch
    2
    """
    text = str(text)
    file, _, factory = text.rpartition(":")
    ending = Path(text).suffix.lower()
    batch = plain(batch)
    if batch is not None and not is_whole(batch, 1):
        raise ValueError(f"{text}: batch must be a whole number of at least 1, "
                         f"got {shown(batch)}")
    if ending == ".py" or (file.endswith(".py") and not factory):
        file = text.removesuffix(":")
        raise ValueError(f"{file}: say what in the file makes the module, as in "
                         f"{file}:factory")
    if file.endswith(".py"):
        from eyeriss_sim.importers.torch_module import network_from_file
        network = network_from_file(text, input_shape, proposals)
        return network if batch is None else network.with_batch(batch)
    if proposals is not None:
        raise ValueError(f"{text}: proposals are of a torch module (net.py:factory); "
                         "leave them out")
    if input_shape is not None and ending != ".onnx":
        raise ValueError(f"{text}: has its own input shape; give one for a torch "
                         "module (net.py:factory) or an ONNX file only")
    if text.lower() in zoo_names():
        return load_zoo(text, 1 if batch is None else batch)
    if ending == ".csv":
        from eyeriss_sim.importers.csv_table import network_from_csv
        return network_from_csv(text, batch)
    if ending == ".onnx":
        from eyeriss_sim.importers.onnx_file import network_from_onnx
        return network_from_onnx(text, batch, input_shape)
    raise ValueError(
        f"no network {text!r}; {hint(text, zoo_names())}give one of "
        + ", ".join(zoo_names())
        + ", or a file: net.csv, net.onnx, net.py:factory"
        + ("; simulate and explain also take the pruning tool's .txt"
           if ending == ".txt" else ""))


def tells_of_weights(text):
    """Whether a text names a file that may say which of its weights are zero."""
    return Path(str(text)).suffix.lower() in (".onnx", ".csv")


def load_with_weights(text, batch=None, input_shape=None, told=()):
    """The network of a text, and how many of its weights are not zero.

    Parameters
    ----------
    text, batch, input_shape
        As ``load_network`` takes them.
    told : collection of str
        Layers whose weights need no look: something else says their density.

    Returns
    -------
    network : Network
    densities : dict of str to Densities
        By layer; of fmaps nothing is known, so they count as dense. Empty where the
        file says nothing.

    Raises
    ------
    ValueError
        As ``load_network``; or weights that can't be read.
    """
    if Path(str(text)).suffix.lower() == ".onnx":
        from eyeriss_sim.importers.onnx_file import network_with_weights
        return network_with_weights(text, batch, input_shape, told)
    network = load_network(text, batch, input_shape)
    if not tells_of_weights(text):
        return network, {}
    from eyeriss_sim.importers.csv_table import sparsity_of_csv
    return network, sparsity_of_csv(text)
