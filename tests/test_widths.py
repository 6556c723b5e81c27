"""Widths of operands: what narrow values save where words are packed, and where not."""

from dataclasses import replace
from itertools import product

import naive
import numpy as np
import pandas as pd
import pytest
from draws import CHIP, layers, machines
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eyeriss_sim import Densities, Mapping, simulate
from eyeriss_sim.cli import main
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.dataflows.rs_geometry import glb_use
from eyeriss_sim.energy import level_energy, width_factors
from eyeriss_sim.hardware import load_hardware, preset_names
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.levels import NOC, PSUM
from eyeriss_sim.machine.functional import run_on_random_words
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.mapping import check_mapping
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.search import OBJECTIVES, search
from eyeriss_sim.simulate import simulate_layer
from eyeriss_sim.sweep.evaluate import evaluate_base, evaluate_chunk
from eyeriss_sim.sweep.spec import make_spec
from eyeriss_sim.widths import BITS_16, Bits, as_bits, at_widths
from eyeriss_sim.zeros import NO_SAVINGS

PACKED = replace(CHIP, name="packed", pack=True)
CONV = ConvLayer(name="conv", N=2, M=24, C=10, H=15, W=15, R=3, S=3)
ONE = Network("one", (CONV,))
widths = st.builds(Bits, *[st.sampled_from([1, 3, 4, 5, 8, 11, 16])] * 3)


DENSE = Densities()


def one(hardware, bits, mapping, densities=DENSE):
    return simulate_layer(CONV, hardware, mapping, "given", densities, False,
                          as_bits(bits))


# ------------------------------------------------------------------ how they are said


@pytest.mark.parametrize("given, expected", [
    (None, BITS_16), (8, Bits(8, 8, 8)), ("8", Bits(8, 8, 8)),
    ("ifmap=8, filter=4,ofmap=2", Bits(8, 4, 2)), ("filter=4", Bits(16, 4, 16)),
    (np.int64(8), Bits(8, 8, 8)), ({"ofmap": 8}, Bits(16, 16, 8)),
    (Bits(1, 2, 3), Bits(1, 2, 3)),
    ({"CONV1": 4, "CONV2": "ifmap=2"},
     {"CONV1": Bits(4, 4, 4), "CONV2": Bits(2, 16, 16)})])
def test_widths_may_be_said_as_a_number_as_text_by_operand_or_by_layer(given, expected):
    assert as_bits(given) == expected


@pytest.mark.parametrize("given", [
    0, 65, -1, 10**400, 2.5, True, "0", "65", "", "many", "ifmap", "ifmap=", "weight=8",
    "8.5", "ifmap=8,ifmap=4", "9" * 400, {"ifmap": 0}, Bits(16, 0, 16)])
def test_what_is_no_width_is_refused_in_one_line(given):
    with pytest.raises(ValueError, match="bits") as caught:
        as_bits(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hardware", [*preset_names(), PACKED])
def test_sixteen_bits_are_to_the_bit_what_is_simulated_without(hardware):
    densities = {"conv1": Densities(0.3, 0.6, 0.2)}
    plain, said, by_layer = (
        simulate("resnet20_cifar", hardware, 2, bits=bits, densities=densities).table
        for bits in (None, 16, {"conv1": "16"}))
    pd.testing.assert_frame_equal(plain, said, check_exact=True)
    pd.testing.assert_frame_equal(plain, by_layer, check_exact=True)


# -------------------------------------------------------------------- words not packed


@pytest.mark.parametrize("preset", ["eyeriss_chip", "eyeriss_rtl", "isca16_256"])
def test_a_narrow_value_in_a_whole_word_makes_only_macs_cheaper(preset):
    densities = {"CONV2": Densities(0.6, 1.0, 0.2)}
    wide, narrow = (simulate("alexnet", preset, 2, bits=bits, zeros="skip_either",
                             densities=densities).table
                    for bits in (16, "ifmap=8,filter=4,ofmap=2"))
    changed = [column for column in wide if not wide[column].equals(narrow[column])]
    assert (narrow.alu_MAC * 8 == wide.alu_MAC).all()
    for column in (*"mnepqrt", "cycles", "glb_MB", "dram_MB", "rf_MAC", "dram_uJ"):
        assert column not in changed
    np.testing.assert_allclose(wide.energy_MAC - wide.alu_MAC,
                               narrow.energy_MAC - narrow.alu_MAC, rtol=1e-12)


def test_wider_values_than_a_word_take_several():
    wide = at_widths(CHIP, Bits(16, 20, 16), "conv")
    assert wide.stored_bits("filter") == 32
    assert wide.values.filter_spad == 224 // 2 and wide.values.filter_net == 2
    mapping = Mapping(24, 1, 13, 4, 2, 2, 1)
    narrow, double = (one(CHIP, bits, mapping) for bits in (16, "filter=32"))
    assert (double.energy_MAC[:, 1] == 2 * narrow.energy_MAC[:, 1]).all()
    assert double.alu_MAC == 2 * narrow.alu_MAC
    with pytest.raises(ValueError, match=(
            r"p.q.S = 132 exceeds the filter spad words of 112 by 20")):
        check_mapping(CONV, wide, Mapping(24, 1, 13, 11, 4, 1, 1))


@pytest.mark.parametrize("hardware, bits, words", [
    (CHIP, 17, "conv: [network_words_per_cycle] ifmap of eyeriss_chip has no room for "
               "a value of 32 bits"),
    (PACKED, "ifmap=17", "[network_words_per_cycle] ifmap of packed has no room for a "
                         "value of 17 bits"),
    (replace(PACKED, filter_net_words=1), "filter=24", "filter of packed has no room"),
    (replace(PACKED, spad_filter_words=1), "filter=24", "[spad_words] filter of pack"),
    (replace(PACKED, ifmap_net_words=4, ifmap_fifo_words=1), "ifmap=24",
     "[machine] ifmap_fifo_words of packed has no room"),
])
def test_a_width_that_no_part_can_move_is_refused_with_layer_and_part(
        hardware, bits, words):
    with pytest.raises(ValueError) as caught:
        simulate(ONE, hardware, bits=bits)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_width_of_psums_is_the_hardwares():
    with pytest.raises(ValueError, match=r"psum=8.*set \[word\] psum_bits in its file"):
        as_bits("ifmap=8,psum=8")


def test_psums_wider_than_what_carries_them_are_refused_when_hardware_is_read(
        tmp_path):
    path = tmp_path / "wide.toml"
    for text, words in (
            ("[word]\npsum_bits = 65", "[word] psum_bits must be at most 64"),
            ("[word]\npack = 1", "[word] pack must be true or false, got 1"),
            ("[word]\npsum_bits = 32\n[network_words_per_cycle]\npsum_in = 1",
             "psum_in of wide has no room for a value of 32 bits, as its psums have"),
            ("[word]\npsum_bits = 32\n[spad_words]\npsum = 1", "[spad_words] psum of"),
            ("[word]\npsum_bits = 32\n[glb]\nbank_B = 2", "[glb] bank_B of wide has")):
        path.write_text(f'extends = "eyeriss_chip"\n{text}\n')
        with pytest.raises(ValueError) as caught:
            load_hardware(str(path))
        assert words in str(caught.value)


# ------------------------------------------------------------------------ packed words


def test_packed_values_of_half_a_word_double_every_capacity_and_network():
    sized = at_widths(replace(PACKED, psum_bits=8), Bits(8, 8, 8), "conv")
    double = CHIP.values._asdict()
    assert sized.values._asdict() == {key: 2 * value for key, value in double.items()}
    mixed = at_widths(PACKED, Bits(8, 5, 4), "conv").values
    assert (mixed.ifmap_spad, mixed.filter_spad, mixed.psum_spad) == (
        24, 224 * 16 // 5, 24)
    assert (mixed.ifmap_net, mixed.filter_net, mixed.psum_in_net) == (2, 64 // 5, 4)
    assert (mixed.bank_ifmaps, mixed.bank_psums) == (4096, 2048)
    assert mixed.filter_buffer == 8192 * 8 // 5


def doubled(hardware):
    """A machine of 16-bit words that does what a packed one does with 8-bit values."""
    sizes = {key: 2 * getattr(hardware, key) for key in (
        "spad_ifmap_words", "spad_filter_words", "spad_psum_words", "glb_filter_B",
        "glb_bank_B", "glb_ifmap_psum_B", "ifmap_net_words", "filter_net_words",
        "psum_in_net_words", "psum_out_net_words", "ifmap_fifo_words",
        "filter_fifo_words", "psum_in_fifo_words", "psum_out_fifo_words",
        "dram_link_bits")}
    # As long a way up as before, behind twice the psums.
    return replace(hardware, pack=False, psum_bits=16, glb_ports=0, **sizes,
                   hop_cycles=hardware.hop_cycles + hardware.psum_out_net_words)


@settings(max_examples=60, deadline=None)
@given(layer=layers(), hardware=machines(), objective=st.sampled_from(list(OBJECTIVES)))
def test_eight_bits_packed_are_mapped_as_words_on_a_machine_twice_as_wide(
        layer, hardware, objective):
    packed = replace(hardware, pack=True, psum_bits=8, glb_ports=0)
    sized = at_widths(packed, Bits(8, 8, 8), "drawn")
    try:
        found = search(layer, doubled(hardware), objective)
    except ValueError:
        with pytest.raises(ValueError):
            search(layer, sized, objective)
        return
    mapping = found.mappings[0]
    wide = doubled(hardware)
    counts = count(layer, wide, mapping)
    assert (count(layer, sized, mapping).accesses == counts.accesses).all()
    assert count_cycles(layer, sized, mapping, counts, NO_SAVINGS) == count_cycles(
        layer, wide, mapping, counts, NO_SAVINGS)
    check_mapping(layer, sized, mapping)
    if objective == "cycles":
        assert search(layer, sized, objective) == found


def keeps_bits(layer, hardware, bits, mapping):
    """Whether storage holds a mapping of a whole filter, counted bit by bit."""
    m, n, e, p, q, r, t, pieces, strips = mapping
    R = len(naive.cut_evenly(list(range(layer.R)), hardware.rows, pieces)[0])
    columns = len(naive.cut_evenly(list(range(layer.F)), layer.F, strips)[0])
    rows = len(naive.ifmap_rows(layer, range(e), range(layer.R)))
    channels = min(q * r, layer.C)
    span = (layer.S - 1) * layer.dilation[1] + 1
    bank = hardware.glb_bank_B * 8
    # A value lies in one bank.
    banks = sum(-(-values // (bank // width)) for values, width in (
        (n * channels * rows * naive.widest_load(layer, strips), bits.ifmap),
        (n * m * e * columns, hardware.psum_bits)))
    return (q * span * bits.ifmap <= hardware.spad_ifmap_words * 16
            and p * q * layer.S * bits.filter <= hardware.spad_filter_words * 16
            and p * hardware.psum_bits <= hardware.spad_psum_words * 16
            and (min(p * t, m) * channels * R * layer.S * bits.filter
                 <= hardware.glb_filter_B * 8)
            and banks <= hardware.glb_ifmap_psum_B * 8 // bank)


@settings(max_examples=40, deadline=None)
@given(layer=layers(most_channels=4, most_filters=4, most_images=2, most_windows=4),
       hardware=machines(), bits=widths, psum_bits=st.sampled_from([8, 12, 16, 24]))
def test_search_and_limits_are_those_of_trying_everything_in_bits(
        layer, hardware, bits, psum_bits):
    hardware = replace(
        hardware, pack=True, psum_bits=psum_bits, spad_ifmap_words=13, glb_bank_B=128,
        spad_psum_words=4, psum_in_net_words=2, psum_out_net_words=2,
        psum_in_fifo_words=8, psum_out_fifo_words=8)
    roomy = replace(hardware, pack=False, psum_bits=16, spad_ifmap_words=10**4,
                    spad_filter_words=10**4, glb_filter_B=10**6, spad_psum_words=8,
                    glb_ifmap_psum_B=10**6 // 128 * 128)
    sized = at_widths(hardware, bits, "drawn")
    every = [mapping for mapping in naive.legal_mappings(layer, roomy)
             if keeps_bits(layer, hardware, bits, mapping)]
    assume(0 < len(every) < 1500)
    of_access = width_factors(sized)
    for mapping in (every[0], every[len(every) // 2], every[-1]):
        check_mapping(layer, sized, Mapping(*mapping))
    for name in ("energy", "cycles"):
        scores = []
        for mapping in every:
            mapping = Mapping(*mapping)
            counts = count(layer, sized, mapping)
            by_level, alu = level_energy(counts.accesses, counts.macs, sized.cost_MAC,
                                         of_access)
            scores.append(by_level.sum() + alu if name == "energy" else count_cycles(
                layer, sized, mapping, counts, NO_SAVINGS).total)
        found = search(layer, sized, name)
        assert keeps_bits(layer, hardware, bits, (
            *found.mappings[0].letters, found.mappings[0].row_segments,
            found.mappings[0].column_strips))
        slack = 1e-9 if name == "energy" else 8 / min(scores)
        assert found.scores[0] <= min(scores) * (1 + slack)


@pytest.mark.parametrize("psum_bits", [8, 16, 20])
@settings(max_examples=25, deadline=None)
@given(layer=layers(most_channels=3, most_filters=3, most_images=2, most_windows=4),
       bits=widths)
def test_isca16_storage_counts_bits_as_well(psum_bits, layer, bits):
    layer = replace(layer, dilation=(1, 1), H=layer.E + layer.R - 1,
                    W=layer.F + layer.S - 1, U=1, V=1)
    hardware = replace(load_hardware("eap_tool"), rows=4, cols=4, rf_words=9,
                       glb_ifmap_psum_B=120, psum_bits=psum_bits)
    sized = at_widths(hardware, bits, "drawn")
    legal = {}
    for m, n, f, p, q, r, t in product(
            range(1, layer.M_group + 1), range(1, layer.N + 1), range(1, layer.F + 1),
            range(1, layer.M_group + 1), range(1, layer.C + 1), range(1, layer.C + 1),
            range(1, layer.M_group + 1)):
        glb = n * (m * layer.E * f * psum_bits
                   + q * r * layer.H * (f - 1 + layer.S) * bits.ifmap)
        rf = p * q * layer.R * bits.filter + q * layer.R * bits.ifmap + p * psum_bits
        fits = (glb <= 120 * 8 and rf <= 9 * 16 and layer.S * f * r * t <= 16
                and p * t <= m and q * r <= layer.C)
        mapping = Mapping(m, n, f, p, q, r, t)
        if not fits:
            with pytest.raises(ValueError):
                check_mapping(layer, sized, mapping)
            continue
        check_mapping(layer, sized, mapping)
        counts = count(layer, sized, mapping)
        by_level, alu = level_energy(counts.accesses, counts.macs, sized.cost_MAC,
                                     width_factors(sized))
        hops = counts.accesses[NOC, PSUM].sum() * 2 * psum_bits / 16    # weighed twice
        legal[mapping] = by_level.sum() + alu + hops
    if not legal:
        with pytest.raises(ValueError, match="enlarge"):
            search(layer, sized)
        return
    found = search(layer, sized)
    assert found.scores[0] == pytest.approx(min(legal.values()), rel=1e-9)
    assert legal[found.mappings[0]] == pytest.approx(found.scores[0], rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(bits=widths, less=widths, psum_bits=st.sampled_from([8, 16, 20]),
       preset=st.sampled_from(["packed", "eap_tool"]),
       objective=st.sampled_from(["energy", "joules"]))
def test_narrower_packed_operands_never_cost_more_at_their_best_mappings(
        bits, less, psum_bits, preset, objective):
    base = PACKED if preset == "packed" else load_hardware(preset)
    if preset == "packed" and objective == "joules":
        base = replace(base, clock_pJ_per_PE_cycle=0)
    base = replace(base, psum_bits=psum_bits)
    narrow = Bits(*map(min, vars(bits).values(), vars(less).values()))
    scores = [search(CONV, at_widths(base, one, "conv"), objective).scores[0]
              for one in (bits, narrow)]
    assert scores[1] <= scores[0] * (1 + 1e-12)


def test_accesses_scale_with_the_bits_of_their_kind_and_psums_with_their_own():
    mapping = Mapping(24, 1, 13, 4, 2, 2, 1)
    wide, narrow = (one(replace(PACKED, psum_bits=psum_bits), bits, mapping)
                    for bits, psum_bits in ((16, 16), ("ifmap=8,filter=4,ofmap=2", 12)))
    assert (narrow.counts.accesses == wide.counts.accesses).all()
    ratios = narrow.energy_MAC / wide.energy_MAC
    assert ratios == pytest.approx(np.array([
        [1 / 2, 1 / 4, 12 / 16], [1 / 2, 1 / 4, 12 / 16], [1 / 2, 1 / 4, 12 / 16],
        [1 / 2, 1 / 4, 2 / 16]]), rel=1e-12)
    assert narrow.alu_MAC == wide.alu_MAC / 8
    layer = Network("one", (CONV,))
    dram = [simulate(layer, replace(PACKED, psum_bits=psum_bits), bits=bits,
                     mapping={"conv": mapping}).table.dram_MB[0]
            for bits, psum_bits in ((16, 16), ("ifmap=8,filter=8,ofmap=8", 12))]
    assert dram[1] == dram[0] / 2


def test_a_filter_takes_its_bits_of_time_on_the_dram_link():
    layer = ConvLayer(name="fc", M=16, C=8, H=3, W=3, R=3, S=3)
    # Five core cycles a bit: the one pass waits for its filters and nothing else.
    slow = replace(PACKED, dram_link_bits=16, dram_link_MHz=200 / (5 * 16))
    mapping = Mapping(16, 1, 1, 16, 4, 2, 1)
    words = 16 * 8 * 3 * 3
    for bits in (16, 8, 5):
        sized = at_widths(slow, Bits(16, bits, 16), "fc")
        model = count_cycles(layer, sized, mapping, count(layer, sized, mapping),
                             NO_SAVINGS)
        assert model.processing == 5 * bits * words
        assert time_layer(layer, sized, mapping).phases.processing == model.processing
        # Fmaps keep their own widths.
        assert model.dram_fmap == 5 * 16 * (8 * 9 + 16)
    whole = at_widths(replace(slow, pack=False), Bits(16, 5, 16), "fc")
    assert count_cycles(layer, whole, mapping, count(layer, whole, mapping),
                        NO_SAVINGS).processing == 5 * 16 * words


# ------------------------------------------------------------------- machine and model


@st.composite
def packed_runs(draw):
    """A layer, a packed machine at drawn widths, and a mapping legal on it."""
    layer, bits = draw(layers(most_windows=5)), draw(widths)
    # A spad of two words holds any psum, as the networks carry it.
    hardware = replace(
        draw(machines()), pack=True, glb_bank_B=128, psum_in_net_words=2,
        psum_out_net_words=draw(st.sampled_from([2, 4])),
        spad_psum_words=draw(st.integers(2, 6)))
    hardware = replace(hardware, psum_bits=draw(st.sampled_from([8, 12, 16, 24, 32])))
    objective = draw(st.sampled_from(["energy", "cycles"]))
    sized = at_widths(hardware, bits, "drawn")
    found = None
    try:
        found = search(layer, sized, objective, keep=4, skip="dominated")
    except ValueError:
        assume(False)
    return layer, sized, draw(st.sampled_from(found.mappings))


@settings(max_examples=80, deadline=None)
@given(run=packed_runs())
def test_machine_and_model_move_the_same_packed_values_on_drawn_layers(run):
    layer, sized, mapping = run
    sized = replace(sized, zeros="gate_ifmap")
    ran, model = run_on_random_words(layer, sized, mapping, first_layer=False)
    assert (ran.accesses == model.accesses).all()
    assert ran.ifmap_dram_words == model.ifmap_dram_words
    assert ran.ofmap_dram_words == model.ofmap_dram_words
    cycles = model.cycles
    assert ran.phases.ifmap_load + ran.phases.ofmap_dump == cycles.dram_fmap


@settings(max_examples=80, deadline=None)
@given(run=packed_runs())
def test_machine_and_model_take_the_same_cycles_with_packed_values(run):
    layer, sized, mapping = run
    # Where banks or FIFOs are short the band is that of 16-bit words (test_machine).
    sized = replace(sized, glb_ports=0, ifmap_fifo_words=32, filter_fifo_words=32,
                    psum_in_fifo_words=64, psum_out_fifo_words=64)
    timing = time_layer(layer, sized, mapping)
    counts = count(layer, sized, mapping)
    assert (timing.accesses == counts.accesses).all()
    model = count_cycles(layer, sized, mapping, counts, NO_SAVINGS)
    assert model.processing == pytest.approx(timing.processing_cycles, rel=0.02)


def test_an_alexnet_layer_takes_the_same_cycles_on_machine_and_model_packed():
    layer = ConvLayer(name="CONV4", N=4, M=48, C=24, H=15, W=15, R=3, S=3)
    for bits in (8, "ifmap=8,filter=4,ofmap=8", "ifmap=4,filter=16,ofmap=16"):
        sized = at_widths(PACKED, as_bits(bits), "CONV4")
        mapping = search(layer, sized).mappings[0]
        timing = time_layer(layer, sized, mapping)
        counts = count(layer, sized, mapping)
        assert (timing.accesses == counts.accesses).all()
        model = count_cycles(layer, sized, mapping, counts, NO_SAVINGS)
        assert model.processing == timing.processing_cycles
        assert glb_use(layer, sized, mapping)["ifmap_banks"] > 0


@pytest.mark.parametrize("layer, change, bits, mapping", [
    # Psums of 8 bits, eight to a row of the one bank that has them.
    (ConvLayer(name="rows of psums", M=16, C=1, H=12, W=40, R=1, S=1),
     dict(psum_bits=8, glb_bank_B=32768, glb_ifmap_psum_B=65536, psum_in_net_words=8,
          psum_out_net_words=8), Bits(), Mapping(16, 1, 12, 16, 1, 1, 1)),
    # Ifmaps of 4 bits fill one bank and leave two for psums.
    (ConvLayer(name="banks", M=8, C=6, H=12, W=30, R=1, S=1),
     dict(glb_bank_B=4096, glb_ifmap_psum_B=3 * 4096), Bits(ifmap=4),
     Mapping(8, 1, 12, 8, 1, 6, 1)),
    # Sixteen of them a cycle come out of one row of one bank.
    (ConvLayer(name="rows of ifmaps", M=1, C=72, H=8, W=64, R=1, S=1),
     dict(glb_bank_B=131072, glb_ifmap_psum_B=262144, ifmap_net_words=4,
          ifmap_fifo_words=64), Bits(ifmap=4), Mapping(1, 1, 8, 1, 6, 12, 1))],
    ids=lambda value: getattr(value, "name", ""))
def test_banks_and_their_rows_hold_as_many_packed_values_as_fit(
        layer, change, bits, mapping):
    sized = at_widths(replace(PACKED, dram_link_MHz=6000, **change), bits, layer.name)
    model = count_cycles(
        layer, sized, mapping, count(layer, sized, mapping), NO_SAVINGS)
    machine = time_layer(layer, sized, mapping).processing_cycles
    # Reads and writes of one bank that meet cost the model a cycle now and then.
    assert model.processing == pytest.approx(machine, rel=0.02)


# ------------------------------------------------------------------ oracle and commands


@pytest.mark.parametrize("hardware", ["eap_tool", PACKED, CHIP])
def test_marginal_energy_is_the_slope_of_the_energy_at_narrow_widths(hardware):
    oracle = EnergyOracle(hardware, "skip_either", bits="ifmap=8,filter=4,ofmap=8",
                          mapping={"conv": Mapping(24, 1, 13, 4, 2, 2, 1)}
                          if hardware != "eap_tool" else "search")
    more, less = (oracle.energy(ONE, {"conv": Densities(
        0.5, weights / CONV.filter_words)}) for weights in (1000, 999))
    slope = more.total_uJ - less.total_uJ
    assert oracle.marginal(oracle.works(more)["conv"]) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("command", [
    ("simulate", "resnet20_cifar"), ("explain", "resnet20_cifar", "conv1"),
    ("machine", "resnet20_cifar", "conv1")])
def test_commands_take_widths_and_refuse_what_is_none(command, capsys, tmp_path):
    path = tmp_path / "packed.toml"
    path.write_text('extends = "eyeriss_chip"\n[word]\npack = true\n')
    for hardware in ("eyeriss_chip", str(path)):
        main([*command, "--hardware", hardware, "--bits", "ifmap=8,filter=4,ofmap=8"])
        narrow = capsys.readouterr().out
        said = ("share words" if hardware != "eyeriss_chip" else
                "take whole words of 16 bits")
        assert (said in narrow) == (command[0] == "simulate")
        assert ("widths ifmap 8, filter 4, ofmap 8, psum 16 bits" in narrow) == (
            command[0] == "explain")
        main([*command, "--hardware", hardware])
        assert capsys.readouterr().out != narrow or command[0] == "machine"
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--bits", "ifmap=0"])
    error = capsys.readouterr().err
    assert "ifmap bits must be a whole number in 1..64, got 0" in error
    assert error.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--bits", "32"])
    assert "has no room for a value of 32 bits" in capsys.readouterr().err


def test_a_sweep_has_widths_too_and_may_vary_whether_words_are_packed():
    spec = make_spec(["resnet20_cifar"], {"pack": "false,true", "psum_bits": [8, 16]},
                     bits="ifmap=8,filter=4", layers=True)
    rows = evaluate_chunk(spec, 0).to_pandas()
    assert len(rows) == 4 * 21 and rows.reason.isna().all()
    for (pack, psum_bits), of_point in rows[rows.layer.isna()].groupby(
            ["pack", "psum_bits"]):
        result = simulate("resnet20_cifar", replace(
            CHIP, pack=bool(pack), psum_bits=psum_bits), bits="ifmap=8,filter=4")
        assert of_point.total_uJ.item() == pytest.approx(result.total_uJ, rel=1e-12)
        assert of_point.cycles.item() == result.table.cycles.sum()
    base = evaluate_base(spec).to_pandas()
    assert not base.pack.iloc[0] and base.psum_bits.iloc[0] == 16
    by_file = make_spec(["resnet20_cifar"], {"word": {"pack": [True]}}, bits=8)
    assert evaluate_chunk(by_file, 0).to_pandas()["word.pack"].tolist() == [True]
    assert make_spec([ONE], bits=8).described() != make_spec([ONE]).described()
    with pytest.raises(ValueError, match="same bits in all layers"):
        make_spec([ONE], bits={"conv": 8})
    with pytest.raises(ValueError, match="must be true or false, got 'maybe'"):
        make_spec([ONE], {"pack": "maybe"})
    wide = evaluate_chunk(make_spec([ONE], bits=32), 0).to_pandas()
    assert "has no room for a value of 32 bits" in wide.reason[0]
