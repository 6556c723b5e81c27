"""Limits of a mapping, at the limit and one above it; mapping files."""

from dataclasses import FrozenInstanceError, astuple, replace

import naive
import numpy as np
import pytest
from draws import CHIP, LIMITS, legal_case, legal_triples
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, glb_use
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import EXACT, ConvLayer
from eyeriss_sim.mapping import LEAST, Mapping, check_mapping
from eyeriss_sim.mapping_files import read_mappings
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.widths import Bits, at_widths

CONV = ConvLayer(name="CONV", N=4, M=96, C=24, H=15, W=15, R=3, S=3)
FITS = Mapping(m=64, n=4, e=13, p=16, q=3, r=2, t=2)


@pytest.mark.parametrize("change, message", [
    (dict(n=5), "n = 5 exceeds the batch of 4 by 1; lower n"),
    (dict(e=14), "e = 14 exceeds the ofmap height of 13 by 1"),
    (dict(m=97), "m = 97 exceeds the filters of one group of 96 by 1"),
    (dict(q=5), "q*S = 15 exceeds the ifmap spad words of 12 by 3; lower q"),
    (dict(p=25, q=2), "p = 25 exceeds the psum spad words of 24 by 1"),
    (dict(p=19, q=4), "p*q*S = 228 exceeds the filter spad words of 224 by 4"),
    (dict(r=5), "R*r = 15 exceeds the array rows of 12 by 3"),
    (dict(t=3), "e*t = 39 exceeds the array columns, folded, of 28 by 11"),
    (dict(m=67), "GLB banks, 3 of ifmaps and 23 of psums, = 26 exceeds the GLB banks "
                 "of 25 by 1; lower m, n or e"),
])
def test_mapping_that_breaks_a_limit_says_which_and_by_how_much(change, message):
    check_mapping(CONV, CHIP, FITS)
    with pytest.raises(ValueError) as caught:
        check_mapping(CONV, CHIP, Mapping(**(vars(FITS) | change)))
    assert str(caught.value).startswith("CONV: ")
    assert message in str(caught.value)


def test_psums_of_66_channels_still_fit_into_22_banks():
    check_mapping(CONV, CHIP, Mapping(**(vars(FITS) | dict(m=66))))


def test_filter_buffer_of_4096_words_takes_4096_and_not_more():
    layer = ConvLayer(name="FC", M=512, C=256, H=1, W=1, R=1, S=1)
    check_mapping(layer, CHIP, Mapping(512, 1, 1, 16, 8, 2, 16))
    with pytest.raises(ValueError, match=r"words of a pass = 4352 .* of 4096 by 256"):
        check_mapping(layer, CHIP, Mapping(512, 1, 1, 16, 8, 2, 17))


@pytest.mark.paper
def test_published_mapping_of_CONV4_fills_exactly_25_banks():
    layer = load_zoo("alexnet", 4).layer("CONV4")
    use = glb_use(layer, CHIP, read_mappings("published")["CONV4"])
    assert use["ifmap_banks"] + use["psum_banks"] == 25
    assert use["ifmap_words"] * 2 / 1024 == pytest.approx(10.5, abs=0.05)
    assert use["psum_words"] * 2 / 1024 == pytest.approx(84.5, abs=0.05)


@pytest.mark.paper
@pytest.mark.parametrize("table, network, batch", [
    ("published", "alexnet", 4), ("published-table3", "alexnet", 4),
    ("inferred-table6", "vgg16", 3)])
def test_the_mappings_of_the_chip_are_legal_on_it(table, network, batch):
    network = load_zoo(network, batch)
    for name, mapping in read_mappings(table).items():
        check_mapping(network.layer(name), CHIP, mapping)


def test_isca16_limits_are_its_own():
    hardware = load_hardware("isca16_256")
    layer = ConvLayer(name="CONV", N=16, M=96, C=48, H=31, W=31, R=5, S=5)
    check_mapping(layer, hardware, Mapping(65, 2, 16, 6, 7, 1, 3))
    with pytest.raises(ValueError, match=r"p.q.R . q.R . p = 287 exceeds the RF words"):
        check_mapping(layer, hardware, Mapping(65, 2, 16, 7, 7, 1, 3))
    with pytest.raises(ValueError, match=r"S.e.r.t = 320 exceeds the PEs of 256"):
        check_mapping(layer, hardware, Mapping(65, 2, 16, 6, 7, 1, 4))


@pytest.mark.parametrize("text, words", [
    ("layer,m,n,e,p,q,r\nA,1,1,1,1,1,1\n", "missing column 't'"),
    ("layer,m,n,e,p,q,r,t,z\n", "unknown column 'z'"),
    ("layer,m,n,e,p,q,r,t\nA,1,1,x,1,1,1,1\n", "line 2, column e: must be a whole"),
    ("layer,m,n,e,p,q,r,t\nA,1,1,1,1,1,1,0\n", "line 2, column t: must be a whole"),
    ("layer,m,n,e,p,q,r,t\nA,1,1\n", "line 2: 3 cells, but the header has 8"),
    ("layer,m,n,e,p,q,r,t\nA,1,1,1,1,1,1,1\nA,1,1,1,1,1,1,1\n", "'A' stands here"),
    ("", "no layer in it"),
])
def test_bad_mapping_file_is_refused_with_its_place(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_mappings(str(path))
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_unknown_mapping_lists_the_known_ones():
    with pytest.raises(ValueError, match="published-table3, inferred-table6, or a"):
        read_mappings("best")


def test_a_mapping_file_may_say_how_the_filter_rows_are_cut(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("layer,m,n,e,p,q,r,t,row_segments\nA,1,1,1,1,1,2,1,3\n")
    mapping = read_mappings(str(file))["A"]
    assert mapping == Mapping(1, 1, 1, 1, 1, 2, 1, row_segments=3)
    layer = ConvLayer(name="A", M=1, C=2, H=9, W=9, R=5, S=5)
    assert glb_use(layer, CHIP, mapping)["filter_words"] == 2 * 2 * 5
    file.write_text("layer,m,n,e,p,q,r,t,row_segments\nA,1,1,1,1,1,2,1,x\n")
    with pytest.raises(ValueError, match="line 2, column row_segments: must be a whole "
                                         "number of at least 0, got 'x'"):
        read_mappings(str(file))


@pytest.mark.parametrize("row_segments", [4, 6])
def test_a_cut_that_leaves_a_segment_empty_is_refused_with_the_even_ones(row_segments):
    layer = ConvLayer(name="A", M=1, C=2, H=9, W=9, R=5, S=5)
    with pytest.raises(ValueError, match="no even cut of R = 5 filter rows for the 12 "
                                         "array rows; give one of 1, 2, 3, 5, or 0"):
        check_mapping(layer, CHIP, Mapping(1, 1, 1, 1, 1, 1, 1, row_segments))


def test_a_mapping_file_may_say_how_the_columns_are_cut(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("layer,m,n,e,p,q,r,t,column_strips\nA,2,1,3,1,1,2,1,2\n")
    mapping = read_mappings(str(file))["A"]
    assert mapping == Mapping(2, 1, 3, 1, 1, 2, 1, column_strips=2)
    assert str(mapping).endswith("t=1 column_strips=2")
    # 7 columns in strips of 4 and 3, which lie over 6 and 5 of the ifmap's.
    layer = ConvLayer(name="A", M=2, C=2, H=9, W=9, R=3, S=3)
    use = glb_use(layer, CHIP, mapping)
    assert (use["psum_words"], use["ifmap_words"]) == (2 * 3 * 4, 2 * 5 * 6)
    file.write_text("layer,m,n,e,p,q,r,t,column_strips\nA,1,1,1,1,1,2,1,0\n")
    with pytest.raises(ValueError, match="line 2, column column_strips: must be a "
                                         "whole number of at least 1, got '0'"):
        read_mappings(str(file))


@pytest.mark.parametrize("column_strips, nearest", [(5, 4), (6, 4), (8, 7)])
def test_column_strips_that_leave_one_empty_are_refused(column_strips, nearest):
    layer = ConvLayer(name="A", M=1, C=2, H=9, W=9, R=3, S=3)
    with pytest.raises(ValueError, match=f"A: column_strips = {column_strips} is no "
                                         f"even cut of F = 7 ofmap columns; give "
                                         f"{nearest}, or 1 for none"):
        check_mapping(layer, CHIP, Mapping(*[1] * 7, column_strips=column_strips))


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 60), most=st.integers(1, 70))
def test_even_cuts_are_all_that_leave_no_piece_empty_or_too_long(length, most):
    expected = {pieces for pieces in range(1, length + 1)
                if -(-length // pieces) <= most
                and (pieces - 1) * -(-length // pieces) < length}
    assert set(even_cuts(length, most)) == expected
    assert list(even_cuts(length, most)) == sorted(expected)


def test_the_isca16_analysis_cuts_no_columns_beside_its_own():
    layer = ConvLayer(name="A", M=1, C=2, H=9, W=9, R=5, S=5)
    with pytest.raises(ValueError, match="A: column_strips = 2 exceeds the analysis"):
        check_mapping(layer, load_hardware("isca16_256"),
                      Mapping(*[1] * 7, column_strips=2))


def test_the_isca16_analysis_cuts_no_filter():
    layer = ConvLayer(name="A", M=1, C=2, H=9, W=9, R=5, S=5)
    hardware = load_hardware("isca16_256")
    for cut_rows in (1, 2):
        mapping = Mapping(1, 1, 1, 1, 1, 1, 1, cut_rows)
        assert hardware.dataflow.row_segments(layer, hardware, mapping) == 1
        with pytest.raises(ValueError, match=f"A: row_segments = {cut_rows} exceeds "
                                             "the analysis"):
            check_mapping(layer, hardware, mapping)


@pytest.mark.parametrize("change, message", [
    (dict(n=3), "n = 3 exceeds the batch of 2 by 1"),
    (dict(e=7), "e = 7 exceeds the ofmap width of 6 by 1"),
    (dict(m=7), "m = 7 exceeds the filters of one group of 6 by 1"),
    (dict(m=5), "p*t = 6 exceeds the filters in the GLB m of 5 by 1"),
    (dict(t=3), "p*t = 9 exceeds the filters in the GLB m of 6 by 3"),
    (dict(q=3), "q*r = 6 exceeds the channels of 4 by 2")])
def test_the_isca16_analysis_holds_a_mapping_to_the_layer(change, message):
    layer = ConvLayer(name="A", N=2, M=12, C=4, H=6, W=7, R=3, S=2, groups=2)
    hardware = load_hardware("isca16_256")
    full = Mapping(m=6, n=2, e=6, p=3, q=2, r=2, t=2)
    check_mapping(layer, hardware, full)
    with pytest.raises(ValueError) as caught:
        check_mapping(layer, hardware, replace(full, **change))
    assert str(caught.value).startswith(f"A: {message}; lower ")


# What to change of a case that is exactly at a limit to be one beyond it, and the
# beginning of the message.
BEYOND = {
    "n": ("n", 1, "n = "), "e": ("e", 1, "e = "), "m": ("m", 1, "m = "),
    "p": ("p", 1, "p = "), "t": ("t", 1, "(t-1)*p + 1 = "), "q": ("q", 1, "q = "),
    "r": ("r", 1, "(r-1)*q + 1 = "),
    "ifmap spad": ("spad_ifmap_words", -1, "q*S = "),
    "filter spad": ("spad_filter_words", -1, "p*q*S = "),
    "psum spad": ("spad_psum_words", -1, "p = "), "rows": ("rows", -1, "R*r = "),
    "columns": ("cols", -1, "e*t = "),
    "filter buffer": ("glb_filter_B", -2, "filter words of a pass = "),
    "banks": ("glb_ifmap_psum_B", None, "GLB banks, ")}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_drawn_mapping_at_a_limit_is_taken_and_refused_one_beyond(limit):
    field, more, message = BEYOND[limit]
    for seed in range(60):
        layer, hardware, mapping = legal_case(np.random.default_rng(seed), {limit})
        check_mapping(layer, hardware, mapping)
        changed = mapping if hasattr(mapping, field) else hardware
        step = -hardware.glb_bank_B if more is None else more
        if getattr(changed, field) + step <= 0:
            continue
        changed = replace(changed, **{field: getattr(changed, field) + step})
        if hasattr(mapping, field):
            mapping = changed
        else:
            hardware = changed
        if limit == "rows" and mapping.row_segments not in even_cuts(
                layer.R, hardware.rows):
            continue
        if limit == "ifmap spad" and mapping.q == 1 and layer.S > 1:
            continue        # too small for a whole row, which is cut then
        if limit == "filter spad" and mapping.p * mapping.q == 1:
            continue        # too small for any mapping
        with pytest.raises(ValueError) as caught:
            check_mapping(layer, hardware, mapping)
        assert str(caught.value).startswith(f"drawn: {message}"), seed


@settings(max_examples=60, deadline=None)
@given(triple=legal_triples(), letter=st.sampled_from("mnepqrt"),
       more=st.sampled_from([-1, 1, 1]))
def test_a_legal_mapping_with_one_letter_changed_is_refused_exactly_beyond_a_limit(
        triple, letter, more):
    layer, hardware, mapping = triple
    mapping = replace(mapping, **{letter: getattr(mapping, letter) + more})
    try:
        check_mapping(layer, hardware, mapping)
        accepted = True
    except ValueError:
        accepted = False
    if mapping.row_segments == even_cuts(layer.R, hardware.rows)[0]:
        mapping = replace(mapping, row_segments=0)
    assert accepted == (
        astuple(mapping)[:9] in set(naive.legal_mappings(layer, hardware)))


def test_a_strip_of_the_isca16_analysis_lies_over_the_columns_that_its_windows_meet():
    # Three windows of three columns, three apart: nine columns of three rows, 3 psums.
    layer = ConvLayer(name="A", M=1, C=1, H=3, W=12, R=3, S=3, V=3)
    mapping = Mapping(m=1, n=1, e=3, p=1, q=1, r=1, t=1)
    base = load_hardware("isca16_256")
    check_mapping(layer, replace(base, glb_ifmap_psum_B=60), mapping)
    with pytest.raises(ValueError, match="GLB words = 30 exceeds the GLB words of 29"):
        check_mapping(layer, replace(base, glb_ifmap_psum_B=58), mapping)


@pytest.mark.parametrize("key, least", LEAST.items())
def test_a_number_of_a_mapping_is_at_least_what_makes_sense_of_it(key, least):
    assert least == (0 if key in ("row_segments", "map_H", "map_W") else 1)
    for value in (least - 1, least + 0.5):
        with pytest.raises(ValueError, match=f"CONV: {key} must be a whole number of "
                                             f"at least {least}, got {value}"):
            check_mapping(CONV, CHIP, replace(FITS, **{key: value}))


def test_a_number_that_no_array_has_room_for_is_told_from_one_too_large_for_the_layer():
    with pytest.raises(ValueError, match=r"m = .* exceeds the filters of one group"):
        check_mapping(CONV, CHIP, replace(FITS, m=EXACT))
    with pytest.raises(ValueError, match=r"m = .* is more than any array has room for"):
        check_mapping(CONV, CHIP, replace(FITS, m=EXACT + 1))


def test_more_column_strips_are_a_cure_for_full_banks_while_columns_are_left():
    layer = ConvLayer(name="A", N=9, M=512, C=1, H=200, W=2, R=1, S=1)
    mapping = Mapping(m=512, n=9, e=14, p=1, q=1, r=1, t=1)
    for strips, cure in ((1, "lower m, n or e, or raise column_strips"),
                         (2, "lower m, n or e")):
        with pytest.raises(ValueError, match=f"the GLB banks of 25 by .*; {cure}$"):
            check_mapping(layer, CHIP, replace(mapping, column_strips=strips))
    with pytest.raises(ValueError, match="column_strips = 0 is no even cut of F = 2 "
                                         "ofmap columns; give 1, or 1 for none"):
        cut(layer, CHIP, column_strips=0)


def test_a_shape_is_all_that_the_array_sees_of_a_layer():
    layer = ConvLayer(name="L", N=2, M=6, C=5, H=40, W=50, R=3, S=4, U=7, V=8, groups=3,
                      dilation=(9, 10))
    assert replace(layer, name="twin", padding=1).shape == layer.shape
    assert replace(layer, steps=3).shape == layer.shape
    for key in ("N", "M", "C", "H", "W", "R", "S", "U", "V", "groups", "dilation", "E",
                "F", "macs", "ifmap_words", "filter_words", "ofmap_words"):
        assert getattr(layer.shape, key) == getattr(layer, key)
    whole, in_two = cut(layer, CHIP).shape, cut(layer, CHIP, 2, 3).shape
    assert (whole.R_segs, whole.column_strips) == (1, 1)
    assert (in_two.R_segs, in_two.column_strips) == (2, 3)


def test_a_bit_more_than_an_rf_holds_is_refused_in_bits():
    layer = ConvLayer(name="A", M=1, C=1, H=1, W=1, R=1, S=1)
    hardware = replace(load_hardware("eap_tool"), rf_words=2)
    mapping = Mapping(*[1] * 7)
    check_mapping(layer, at_widths(hardware, Bits(8, 8, 16), "A"), mapping)
    with pytest.raises(ValueError, match="in bits = 33 exceeds the RF bits of 32 by 1"):
        check_mapping(layer, at_widths(hardware, Bits(8, 9, 16), "A"), mapping)


def test_a_mapping_leaves_whole_what_it_does_not_mention():
    plain = Mapping(1, 2, 3, 4, 5, 6, 7)
    assert plain == Mapping(1, 2, 3, 4, 5, 6, 7, row_segments=0, column_strips=1,
                            map_H=0, map_W=0)
    with pytest.raises(FrozenInstanceError):        # what was searched is kept by it
        plain.m = 2
    assert str(plain) == "m=1 n=2 e=3 p=4 q=5 r=6 t=7"
    assert str(replace(plain, row_segments=1, column_strips=2, map_H=3, map_W=4)) == (
        "m=1 n=2 e=3 p=4 q=5 r=6 t=7 row_segments=1 column_strips=2 map_H=3 map_W=4")


def test_a_mapping_names_only_what_it_cuts():
    ones = [1] * 7
    assert Mapping(*ones, row_segments=1).cuts == ""
    assert Mapping(*ones, row_segments=2).cuts == "R2"
    assert Mapping(*ones, row_segments=2, column_strips=3).cuts == "R2 F3"
    assert Mapping(*ones, column_strips=2, map_H=11, map_W=18).cuts == "11x18 F2"
