"""Digests by which a folder knows whether the same pruning is asked for again."""

import hashlib
from dataclasses import fields

import torch

from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.widths import BITS_16


def images_hash(images: torch.Tensor) -> str:
    """Short digest of images' values."""
    values = images.contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(values.data).hexdigest()[:16]


def judge(oracle: EnergyOracle) -> dict:
    """Settings of an oracle that decide which weights go, as JSON takes them."""
    return {"oracle": oracle.hardware.name, "zeros": oracle.hardware.zeros,
            "filter_code": oracle.hardware.filter_code, "batch": oracle.batch,
            "objective": oracle.objective, "oracle_hash": oracle_hash(oracle)}


def oracle_hash(oracle: EnergyOracle) -> str:
    """Short digest of a machine's figures, which a file of the same name may change."""
    # Fields at their defaults, and those that change no figure, are left out, so that a
    # new one changes no digest.
    hardware, bits = oracle.hardware, oracle.bits
    idle = {"search_objective"}         # the oracle's own counts, and stands beside
    if not hardware.price_by_size:
        idle.add("priced_sizes")
    if bits == BITS_16 and hardware.psum_bits == WORD_BITS:
        idle.add("pack")
    machine = []
    for one in fields(hardware):
        value = getattr(hardware, one.name)
        if value != one.default and one.name not in idle:
            machine.append((one.name, float(value) if one.type is float else value))
    text = repr((machine, sorted(bits.items()) if isinstance(bits, dict) else bits,
                 oracle.search, sorted(oracle.mappings.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
