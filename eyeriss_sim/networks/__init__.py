"""The zoo: one network, one TOML file, only data."""

import tomllib
from importlib import resources

from eyeriss_sim.layer import ConvLayer, Network, UncountedOp
from eyeriss_sim.near_names import hint


def zoo_names() -> list[str]:
    """Names of the networks that :func:`load_zoo` knows, sorted.

    Examples
    --------
    >>> "alexnet" in zoo_names()
    True
    """
    return sorted(entry.name.removesuffix(".toml")
                  for entry in resources.files(__name__).iterdir()
                  if entry.name.endswith(".toml"))


def load_zoo(name: str, batch: int = 1) -> Network:
    """A published network.

    Parameters
    ----------
    name : str
        One of :func:`zoo_names`, upper or lower case.
    batch : int
        Images.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        An unknown name, or a batch below 1.

    Examples
    --------
    >>> load_zoo("alexnet", batch=4).layer("CONV1").macs
    421660800
    """
    known = zoo_names()
    if name.lower() not in known:
        raise ValueError(f"no network is called {name!r}; {hint(name, known)}the zoo "
                         "has " + ", ".join(known))
    path = resources.files(__name__) / f"{name.lower()}.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    network = Network(
        table["name"],
        [ConvLayer(**dict(zip(table["columns"], row, strict=True)))
         for row in table["layers"]],
        [UncountedOp(*row) for row in table["not_counted"]],
        source=table["source"])
    return network.with_batch(batch)
