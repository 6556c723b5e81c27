"""Anything that describes a network → :class:`~eyeriss_sim.workload.Workload`.

torch and onnx are imported only when a network needs them.
"""

from os import PathLike
from pathlib import Path

from eyeriss_sim.layer import Network
from eyeriss_sim.near_names import hint
from eyeriss_sim.networks import load_zoo, zoo_names
from eyeriss_sim.plain import is_whole, plain, shown
from eyeriss_sim.workload import Workload


def load_network(text, batch=None, input_shape=None, proposals=None):
    """The Network of the workload that a text names; see ``load_workload``.

    Examples
    --------
    >>> load_network("resnet18", batch=2).batch
    2
    """
    return load_workload(text, batch, input_shape, proposals, weights=False).network


def load_workload(text, batch=None, input_shape=None, proposals=None, *, weights=True,
                  told=()):
    """The workload that a text names, as on the command line.

    Parameters
    ----------
    text : str or Path
        A network of the zoo (``alexnet``), a table (``net.csv``), an ONNX file
        (``net.onnx``), a torch module (``net.py:factory``), or the 25-number text of
        the energy-aware-pruning tool (``net.txt``).
    batch : int, optional
        Images; by default what the source says, and 1 where it says nothing.
    input_shape : tuple of int, list or dict, optional
        Shape of the input of a torch module, or of an ONNX file's open ones, batch
        first: ``(1, 3, 224, 224)``; several as
        :func:`~eyeriss_sim.importers.torch_module.network_from_module` takes them.
    proposals : int, optional
        Rows that go on wherever values decide in a torch module.
    weights : bool
        Whether a file's weights are looked at for zeros, which takes a while.
    told : collection of str
        Layers whose weights need no look: something else says their density.

    Returns
    -------
    Workload

    Raises
    ------
    ValueError
        The text fits none of these, or the importer refuses it.
    OSError
        A file that can't be read.

    Examples
    --------
    >>> load_workload("resnet18", batch=2).network.batch
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
        from eyeriss_sim.importers.torch_module import workload_from_file
        return workload_from_file(text, input_shape, proposals).with_batch(batch)
    if proposals is not None:
        raise ValueError(f"{text}: proposals are of a torch module (net.py:factory); "
                         "leave them out")
    if input_shape is not None and ending != ".onnx":
        raise ValueError(f"{text}: has its own input shape; give one for a torch "
                         "module (net.py:factory) or an ONNX file only")
    if text.lower() in zoo_names():
        return Workload(load_zoo(text, 1 if batch is None else batch))
    if ending == ".csv":
        from eyeriss_sim.importers.csv_table import workload_from_csv
        return workload_from_csv(text, batch, weights)
    if ending == ".onnx":
        from eyeriss_sim.importers.onnx_file import workload_from_onnx
        return workload_from_onnx(text, batch, input_shape, weights, told)
    if ending == ".txt":
        from eyeriss_sim.importers.eap_tool import workload_from_eap_tool
        return workload_from_eap_tool(text).with_batch(batch)
    raise ValueError(
        f"no network {text!r}; {hint(text, zoo_names())}give one of "
        + ", ".join(zoo_names())
        + ", or a file: net.csv, net.onnx, net.py:factory, or net.txt of the pruning "
          "tool")


def as_workload(given, batch=None, input_shape=None, proposals=None, *, weights=True,
                told=()):
    """The Workload of all that ``simulate`` takes as a network.

    Parameters
    ----------
    given : Workload, Network, str, Path or torch.nn.Module
    batch, input_shape, proposals, weights, told
        Arguments of ``load_workload``.

    Returns
    -------
    Workload

    Raises
    ------
    ValueError
        No network, an option that it has no use for, or a module without input shape.
    """
    if isinstance(given, (str, PathLike)):
        return load_workload(given, batch, input_shape, proposals, weights=weights,
                             told=told)
    if isinstance(given, (Network, Workload)):
        workload = given if isinstance(given, Workload) else Workload(given)
        name = workload.network.name
        if input_shape is not None:
            raise ValueError(f"{name}: the layers of a Network have their "
                             f"shapes; leave input_shape out")
        if proposals is not None:
            raise ValueError(f"{name}: proposals are of a torch module; leave "
                             "them out")
        return workload.with_batch(batch)
    exported = type(given).__name__ == "ExportedProgram"
    if not callable(getattr(given, "forward", None)) and not exported:
        raise ValueError(f"cannot simulate a {type(given).__name__}; give a "
                         f"Network, a name, a file or a torch module")
    # torch takes a second to import: only where a module is given.
    from eyeriss_sim.importers.torch_module import network_from_module
    if input_shape is None and not exported:
        raise ValueError("a module needs the shape of its input, batch first: "
                         "input_shape=(1, 3, 224, 224)")
    return Workload(network_from_module(
        given, input_shape, proposals=proposals)).with_batch(batch)
