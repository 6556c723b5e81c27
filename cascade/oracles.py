"""The oracle of a cascade: one that can price every network and router of a study."""

from eyeriss_sim.hardware import preset_names
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.widths import BITS_16, OPERANDS, Bits


def as_oracle(oracle: EnergyOracle | str, batch: int | None = None) -> EnergyOracle:
    """An oracle, or the one that a preset's name or the path of a TOML file stands for.

    Parameters
    ----------
    oracle : EnergyOracle, Hardware or str
    batch : int, optional
        Images that run together; the oracle's own, or 1, unless given.

    Raises
    ------
    ValueError
        An unknown hardware, no number of images, or an oracle whose mapping or widths
        are those of layers by name.
    """
    if not isinstance(oracle, EnergyOracle):
        return EnergyOracle(oracle, batch=1 if batch is None else batch)
    if oracle.mappings or not isinstance(oracle.bits, Bits):
        what = "mapping" if oracle.mappings else "bits"
        raise ValueError(f"the oracle's {what} names layers of one network, and a "
                         "cascade has several, and routers; give one for all layers")
    return oracle if batch is None else oracle.with_batch(batch)


def name_of(oracle: EnergyOracle) -> str:
    """Name of an oracle in tables: its hardware, and settings that are not the usual.

    Examples
    --------
    >>> name_of(EnergyOracle("eap_tool"))
    'eap_tool'
    >>> name_of(EnergyOracle("eyeriss_chip", "skip_either", objective="energy", bits=8))
    'eyeriss_chip zeros=skip_either objective=energy bits=8'
    """
    hardware = oracle.hardware
    parts = [hardware.name]
    if hardware.name in preset_names():
        usual = EnergyOracle(hardware.name).hardware
        parts += [f"{key}={getattr(hardware, key)}" for key in ("zeros", "filter_code")
                  if getattr(hardware, key) != getattr(usual, key)]
    parts += [f"{key}={getattr(oracle, key)}"
              for key, usual in (("objective", hardware.objective), ("search", "dense"))
              if getattr(oracle, key) != usual]
    if oracle.bits != BITS_16:
        widths = [getattr(oracle.bits, key) for key in OPERANDS]
        parts.append(f"bits={widths[0]}" if len(set(widths)) == 1 else "bits="
                     + "/".join(map(str, widths)))
    return " ".join(parts)


def settings_text(oracle: EnergyOracle) -> str:
    """All on which an oracle's answers depend, but for the batch."""
    return repr((oracle.hardware, oracle.objective, oracle.search, oracle.bits,
                 oracle.mapping_name, sorted(oracle.mappings.items())))
