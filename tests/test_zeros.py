"""Exact zeros of real tensors, against plain loops; codes both ways."""

from itertools import product

import numpy as np
import pytest
from draws import layers
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim.codes import (
    FILTER_CODES,
    expected_ratio,
    filter_ratio,
    fmap_strips_ratio,
    fmap_strips_words,
    pairs_per_value,
    period,
    rlc_decode,
    rlc_encode,
)
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.widths import Bits
from eyeriss_sim.zeros import (
    NO_SAVINGS,
    Densities,
    Savings,
    count_zeros,
    read_shares,
    savings_of,
)


def naive_pairs(stream):
    """(run, level) pairs, one value after the other."""
    pairs, run = [], 0
    for value in stream:
        if value == 0 and run < 31:
            run += 1
        else:
            pairs.append((run, int(value)))
            run = 0
    if run:
        pairs.append((run - 1, 0))
    return pairs


def naive_words(stream):
    """The pairs packed by string arithmetic, lowest bit last."""
    pairs = naive_pairs(stream)
    words = []
    for start in range(0, len(pairs), 3):
        bits = "".join(f"{level & 0xFFFF:016b}{run:05b}"
                       for run, level in reversed(pairs[start:start + 3]))
        flag = start + 3 >= len(pairs)
        words.append((flag << 63) | int(bits, 2))
    return words


streams = st.lists(st.one_of(st.just(0), st.just(0), st.integers(-2**15, 2**15 - 1)),
                   max_size=200).map(lambda values: np.array(values, np.int16))


@settings(max_examples=300, deadline=None)
@given(stream=streams)
def test_run_length_code_equals_plain_packing_and_decodes_to_the_stream(stream):
    words = rlc_encode(stream)
    assert [int(word) for word in words] == naive_words(stream)
    assert (rlc_decode(words, len(stream)) == stream).all()


@pytest.mark.parametrize("stream, pairs", [
    ([], []), ([0], [(0, 0)]), ([5], [(0, 5)]), ([-1], [(0, -1)]),
    ([0] * 31 + [5], [(31, 5)]), ([0] * 32 + [5], [(31, 0), (0, 5)]),
    ([0] * 33 + [5], [(31, 0), (1, 5)]), ([0] * 31, [(30, 0)]),
    ([0] * 32, [(31, 0)]), ([0] * 33, [(31, 0), (0, 0)]),
    ([1, 2, 3], [(0, 1), (0, 2), (0, 3)]),
])
def test_edge_cases_of_runs_by_hand(stream, pairs):
    stream = np.array(stream, np.int16)
    words = rlc_encode(stream)
    found = [(int(word) >> shift & 31, int(np.int16(np.uint16(int(word) >> shift + 5
                                                              & 0xFFFF))))
             for word in words for shift in (0, 21, 42)]
    assert found[:len(pairs)] == pairs
    assert len(words) == -(-len(pairs) // 3)
    assert (rlc_decode(words, len(stream)) == stream).all()


def test_a_code_of_another_length_or_type_is_refused():
    words = rlc_encode(np.arange(9, dtype=np.int16))
    for wrong in (words[:-1], np.append(words, words)):
        with pytest.raises(ValueError, match="does not hold a stream of 9 values"):
            rlc_decode(wrong, 9)
    with pytest.raises(ValueError, match="stream of 4 values"):
        rlc_decode(words, 4)
    with pytest.raises(ValueError, match="takes int16 values, got float64"):
        rlc_encode(np.zeros(3))


@st.composite
def layer_with_tensors(draw):
    layer = draw(layers(most_channels=3, most_filters=4, most_windows=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def sparse(*shape):
        density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
        return rng.integers(1, 9, shape) * (rng.random(shape) < density)

    return (layer, sparse(layer.N, layer.groups * layer.C, layer.H, layer.W),
            sparse(layer.M, layer.C, layer.R, layer.S),
            sparse(layer.N, layer.M, layer.E, layer.F))


@settings(max_examples=60, deadline=None)
@given(drawn=layer_with_tensors())
def test_gated_and_skipped_macs_equal_a_visit_to_every_mac(drawn):
    layer, ifmap, filt, ofmap = drawn
    gated = both = 0
    for n, m, e, f in product(range(layer.N), range(layer.M), range(layer.E),
                              range(layer.F)):
        first = m // layer.M_group * layer.C
        window = ifmap[n, first:first + layer.C,
                       e * layer.U:e * layer.U + layer.R_span:layer.dilation[0],
                       f * layer.V:f * layer.V + layer.S_span:layer.dilation[1]]
        gated += int((window != 0).sum())
        both += int(((window != 0) & (filt[m] != 0)).sum())
    zeros = count_zeros(layer, ifmap, filt, ofmap)
    assert zeros.nonzero_macs.ifmaps == gated
    assert zeros.nonzero_macs.pairs == both
    assert zeros.ifmap_nonzeros == np.count_nonzero(ifmap)
    assert zeros.filter_nonzeros == np.count_nonzero(filt)
    assert zeros.ofmap_nonzeros == np.count_nonzero(ofmap)


def test_dense_tensors_leave_every_mac():
    layer = ConvLayer(name="dense", N=2, M=6, C=3, H=9, W=8, R=3, S=2, U=2, groups=2)
    zeros = count_zeros(layer, np.ones((2, 6, 9, 8)), np.ones((6, 3, 3, 2)),
                        np.ones((2, 6, 4, 4)))
    assert set(zeros.nonzero_macs) == {layer.macs}
    assert zeros.densities == Densities(1.0, 1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(drawn=layer_with_tensors(), e=st.integers(1, 4), f=st.integers(1, 4))
def test_words_of_coded_strips_equal_a_code_of_each_strip(drawn, e, f):
    fmap = drawn[1].astype(np.int16)
    # Every other row, as under a dilated filter; columns with a halo.
    strips = [(np.arange(top, min(top + e, fmap.shape[2]), 2),
               slice(left, min(left + f + 1, fmap.shape[3])))
              for top in range(0, fmap.shape[2], e)
              for left in range(0, fmap.shape[3], f)]
    words = sum(len(rlc_encode(fmap[n, c][rows, columns]))
                for n, c, (rows, columns) in product(
                    range(fmap.shape[0]), range(fmap.shape[1]), strips))
    moved = sum(fmap[:, :, rows, columns].size for rows, columns in strips)
    assert fmap_strips_words(fmap, strips) == (words * 4, moved)
    assert fmap_strips_ratio(fmap, strips) == min(1.0, words * 4 / moved)


@settings(max_examples=60, deadline=None)
@given(drawn=layer_with_tensors(), letters=st.tuples(*[st.integers(1, 3)] * 5))
def test_words_of_coded_filters_equal_a_code_of_each_pass(drawn, letters):
    layer, filt = drawn[0], drawn[2].astype(np.int16)
    p, q, r, t, loads = letters
    m = -(-layer.M_group // loads)
    words = 0
    for group in range(layer.groups):
        own = filt[group * layer.M_group:(group + 1) * layer.M_group]
        for top, c in product(range(0, layer.M_group, m), range(0, layer.C, q * r)):
            kept = own[top:top + m]
            for first in range(0, len(kept), p * t):
                stream = [
                    kept[first + in_t * p + in_p, c + in_r * q + in_q, row, tap]
                    for tap, in_q, in_p, row, in_r, in_t in product(
                        range(layer.S), range(q), range(p), range(layer.R), range(r),
                        range(t))
                    if first + in_t * p + in_p < len(kept)
                    and c + in_r * q + in_q < layer.C]
                words += len(rlc_encode(np.array(stream, np.int16)))
    mapping = Mapping(m, 1, 1, p, q, r, t)
    assert filter_ratio("rlc", filt, layer, mapping) == min(1.0, words * 4 / filt.size)


@pytest.mark.parametrize("seed", range(6))
def test_channels_and_filters_of_a_pass_are_coded_in_the_order_of_the_array(seed):
    # Long enough for runs that each other order would cut differently.
    rng = np.random.default_rng(seed)
    filt = (rng.random((8, 12, 3, 2)) < 0.06).astype(np.int16)
    p, q, r, t = 2, 3, 2, 2
    words = 0
    for first, c in product(range(0, 8, p * t), range(0, 12, q * r)):
        stream = [filt[first + in_t * p + in_p, c + in_r * q + in_q, row, tap]
                  for tap, in_q, in_p, row, in_r, in_t in product(
                      range(2), range(q), range(p), range(3), range(r), range(t))]
        words += len(rlc_encode(np.array(stream, np.int16)))
    layer = ConvLayer(name="L", M=8, C=12, H=3, W=2, R=3, S=2)
    ratio = filter_ratio("rlc", filt, layer, Mapping(8, 1, 1, p, q, r, t))
    assert ratio == words * 4 / filt.size < 1


def test_sizes_of_filter_codes_by_hand():
    layer = ConvLayer(name="conv", M=2, C=2, H=3, W=3, R=3, S=3)
    filt = np.zeros((2, 2, 3, 3))
    filt[:, :, 0, :2] = 1
    mapping = Mapping(2, 1, 1, 1, 1, 1, 1)
    bits = {"none": 36 * 16, "significance_map": 36 + 8 * 16,
            "csr": 8 * (16 + 5) + 3 * 32, "csc": 8 * (16 + 1) + 19 * 32,
            "periodic": 8 * 16 + 9}
    for code, size in bits.items():
        assert filter_ratio(code, filt, layer, mapping) == size / (36 * 16)
    assert set(bits) | {"rlc"} == set(FILTER_CODES)


def test_period_of_supports_is_found_and_its_absence_told():
    rng = np.random.default_rng(0)
    supports = rng.random((5, 3, 3)) < 0.4
    place = np.add.outer(np.arange(7), np.arange(6)) % 5
    filt = supports[place] * rng.integers(1, 5, (7, 6, 3, 3))
    assert period(filt, "conv") == 5
    wild = (rng.random((90, 90, 3, 3)) < 0.5).astype(float)
    with pytest.raises(ValueError, match=r"^conv: its kernel supports do not repeat"):
        period(wild, "conv")


@pytest.mark.parametrize("change, words", [
    (dict(ifmap=np.ones((1, 2, 5, 4))), "ifmap of shape (1, 2, 5, 4), but the layer"),
    (dict(filt=np.ones((4, 2, 3, 2))), "filter of shape (4, 2, 3, 2), but the layer"),
    (dict(ofmap=np.ones((1, 4, 3, 2))), "ofmap of shape (1, 4, 3, 2), but the layer"),
    (dict(filt=np.full((4, 2, 3, 3), np.nan)), "the filter holds NaN or infinite"),
    (dict(ifmap=np.full((1, 2, 5, 5), np.inf)), "the ifmap holds NaN or infinite"),
])
def test_tensors_that_do_not_fit_are_refused_with_the_layer(change, words):
    layer = ConvLayer(name="conv", M=4, C=2, H=5, W=5, R=3, S=3)
    tensors = dict(ifmap=np.ones((1, 2, 5, 5)), filt=np.ones((4, 2, 3, 3)),
                   ofmap=np.ones((1, 4, 3, 3))) | change
    with pytest.raises(ValueError) as caught:
        count_zeros(layer, **tensors)
    assert str(caught.value).startswith("conv: ") and words in str(caught.value)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.4, 0.7])
def test_expected_run_length_code_is_that_of_a_long_random_stream(density):
    rng = np.random.default_rng(1)
    stream = (rng.random(600_000) < density).astype(np.int16)
    coded = len(naive_pairs(stream)) / 3 * 4 / stream.size
    # 600,000 draws leave half a percent of noise.
    assert expected_ratio("rlc", density) == pytest.approx(coded, rel=0.02)


def test_significance_map_of_dense_data_costs_a_bit_a_value():
    assert expected_ratio("significance_map", 1.0) == 17 / 16
    assert expected_ratio("significance_map", 0.25, bits=8) == 0.25 + 1 / 8
    eap = load_hardware("eap_tool")
    savings = savings_of(eap, Densities(0.5, 0.25, 1.0), True, Bits(16, 8, 16))
    assert savings.macs_left == 0.125
    assert (savings.ifmap_ratio, savings.filter_ratio, savings.ofmap_ratio) == (
        0.5625, 0.375, 1.0625)


def test_a_code_that_needs_positions_says_so_when_it_has_only_a_density():
    with pytest.raises(ValueError, match="'csr' needs the filters themselves"):
        expected_ratio("csr", 0.5)


@pytest.mark.parametrize("density", [0.5, 0.9, 1.0])
def test_run_length_code_never_lengthens_and_takes_wide_values_word_by_word(density):
    ratio = expected_ratio("rlc", density)
    assert ratio == pytest.approx(min(1.0, pairs_per_value(density) * 64 / 3 / 16))
    assert ratio <= 1
    # A 32-bit value is two words; an 8-bit one still takes a whole pair.
    assert expected_ratio("rlc", density, 32) == ratio
    assert expected_ratio("rlc", density / 8, 8) == min(
        1.0, 2 * expected_ratio("rlc", density / 8))


def test_real_streams_of_other_widths_are_weighed_as_expected_ones():
    rng = np.random.default_rng(0)
    fmap = (rng.random((1, 2, 16, 16)) < 0.2).astype(np.int16)
    strips = [(np.arange(16), slice(0, 16))]
    ratio = fmap_strips_ratio(fmap, strips)
    assert fmap_strips_ratio(fmap, strips, 32) == ratio < 1
    assert fmap_strips_ratio(fmap, strips, 8) == min(1.0, 2 * ratio)
    assert fmap_strips_ratio(fmap + 1, strips) == 1.0
    layer = ConvLayer(name="L", M=8, C=8, H=3, W=3, R=3, S=3)
    mapping = Mapping(8, 1, 1, 2, 2, 2, 2)
    filt = (rng.random((8, 8, 3, 3)) < 0.2).astype(np.int16)
    ratio = filter_ratio("rlc", filt, layer, mapping)
    assert filter_ratio("rlc", filt, layer, mapping, 32) == ratio < 1
    assert filter_ratio("rlc", filt, layer, mapping, 8) == min(1.0, 2 * ratio)
    assert filter_ratio("rlc", filt + 1, layer, mapping) == 1.0


def test_each_stream_of_a_layer_is_coded_at_its_own_density_and_width():
    chip, eap = load_hardware("eyeriss_chip"), load_hardware("eap_tool")
    shares = Densities(0.25, 0.5, 0.125)
    inner, first = (savings_of(chip, shares, place) for place in (False, True))
    assert inner == Savings(0.25, expected_ratio("rlc", 0.25), 1.0,
                            expected_ratio("rlc", 0.125))
    # The network's input is not run-length coded; filters of the chip never are.
    assert first == Savings(0.25, 1.0, 1.0, expected_ratio("rlc", 0.125))
    # Narrow values take whole words on the chip, and their own bits where packed.
    assert savings_of(chip, shares, False, Bits(8, 4, 8)) == inner
    assert savings_of(eap, shares, True, Bits(8, 4, 2)) == Savings(
        0.125, 0.25 + 1 / 8, 0.5 + 1 / 4, 0.125 + 1 / 2)
    assert savings_of(chip.with_zeros("dense"), shares, False) == NO_SAVINGS
    assert NO_SAVINGS == Savings(1.0, 1.0, 1.0, 1.0)


def test_shares_are_of_each_tensor_by_itself():
    layer = ConvLayer(name="L", N=2, M=3, C=2, H=5, W=4, R=2, S=3, U=2, V=1)
    ifmap, filt = np.zeros((2, 2, 5, 4)), np.ones((3, 2, 2, 3))
    ofmap = np.zeros((2, 3, 2, 2))
    # The last row is under no window.
    ifmap[:, :, 4], filt[0], ofmap[0, 0] = 1, 0, 1
    zeros = count_zeros(layer, ifmap, filt, ofmap)
    assert zeros.densities == Densities(1 / 5, 2 / 3, 1 / 6)
    assert zeros.nonzero_macs.ifmaps == 0


def test_shares_of_a_file_are_only_what_it_says(tmp_path):
    file = tmp_path / "densities.csv"
    file.write_text("layer,ofmap\nA,0.5\nB,1\n", encoding="utf-8-sig")
    assert read_shares(file) == {"A": {"ofmap": 0.5}, "B": {"ofmap": 1.0}}
    assert Densities() == Densities(1.0, 1.0, 1.0)


@pytest.mark.parametrize("kind", ["ifmap", "filter", "ofmap"])
@pytest.mark.parametrize("text, fits", [
    ("0", True), ("1.0", True), ("-0.25", False), ("1.25", False), ("nan", False),
    ("x", False)])
def test_a_density_is_a_share_from_none_to_all_of_the_values(
        tmp_path, kind, text, fits):
    file = tmp_path / "densities.csv"
    file.write_text(f"layer,{kind}\nA,{text}\n")
    if fits:
        assert read_shares(file) == {"A": {kind: float(text)}}
        Densities(**{kind: float(text)}).check("A")
        return
    with pytest.raises(ValueError, match=f"line 2, column {kind}: a density must be a "
                                         f"number in 0..1, got '{text}'"):
        read_shares(file)
    if text != "x":
        with pytest.raises(ValueError, match=f"A: {kind} density must be in 0..1"):
            Densities(**{kind: float(text)}).check("A")


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_odd_values_are_refused_in_either_operand(odd):
    layer = ConvLayer(name="L", M=1, C=1, H=2, W=2, R=2, S=2)
    whole, broken = np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), odd)
    out = np.ones((1, 1, 1, 1))
    for tensors, which in (((broken, whole), "ifmap"), ((whole, broken), "filter")):
        with pytest.raises(ValueError, match=f"L: the {which} holds NaN or infinite"):
            count_zeros(layer, *tensors, out)


def test_supports_of_the_longest_period_are_found_and_stored_once():
    # One kept weight a kernel, its place told by m: 64 supports, in turn.
    filt = np.zeros((128, 1, 8, 8))
    for m in range(128):
        filt[m, 0, m % 64 // 8, m % 8] = 1
    layer = ConvLayer(name="L", M=128, C=1, H=8, W=8, R=8, S=8)
    mapping = Mapping(1, 1, 1, 1, 1, 1, 1)
    assert period(filt, "L") == 64
    assert filter_ratio("periodic", filt, layer, mapping) == (
        16 * 128 + 64 * 64) / (16 * filt.size)


def test_an_index_into_a_single_column_takes_a_bit():
    layer = ConvLayer(name="L", M=1, C=1, H=2, W=2, R=2, S=2)
    filt = np.ones((1, 1, 2, 2))
    ratio = filter_ratio("csc", filt, layer, Mapping(1, 1, 1, 1, 1, 1, 1))
    assert ratio == (4 * (16 + 1) + 5 * 32) / (4 * 16)
