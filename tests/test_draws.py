"""The draws themselves: that they reach what the tests that use them are about."""

from collections import Counter

import naive
import numpy as np
import pytest
from draws import LIMITS, legal_case, legal_triples
from hypothesis import given, settings

from eyeriss_sim.dataflows.rs_geometry import glb_use
from eyeriss_sim.mapping import check_mapping


def drawn(strategy, count=200):
    """The first examples that tests get of a strategy."""
    examples = []

    @settings(max_examples=count, deadline=None, database=None)
    @given(strategy)
    def collect(example):
        examples.append(example)

    collect()
    return examples


def limits_reached(layer, hardware, mapping):
    """Those of ``LIMITS`` that a legal mapping is exactly at."""
    m, n, e, p, q, r, t = mapping.letters
    R = -(-layer.R // mapping.row_segments)
    use = glb_use(layer, hardware, mapping)
    use_of = {
        "n": (n, layer.N), "e": (e, layer.E), "m": (m, layer.M_group), "p": (p, m),
        "t": (-(-m // p), t), "q": (q, layer.C), "r": (-(-layer.C // q), r),
        "ifmap spad": (q * layer.S_span, hardware.spad_ifmap_words),
        "filter spad": (p * q * layer.S, hardware.spad_filter_words),
        "psum spad": (p, hardware.spad_psum_words), "rows": (R * r, hardware.rows),
        "columns": (e * t, hardware.rows // (R * r) * hardware.cols),
        "filter buffer": (use["filter_words"], hardware.glb_filter_B // 2),
        "banks": (use["ifmap_banks"] + use["psum_banks"], hardware.glb_banks)}
    return {limit for limit, (used, there) in use_of.items() if used == there}


def test_drawn_triples_differ_and_reach_interleaved_sets_cuts_and_every_limit():
    triples = drawn(legal_triples())
    assert len({str(triple) for triple in triples}) >= 0.9 * len(triples)
    reached = Counter()
    for layer, hardware, mapping in triples:
        m, n, e, p, q, r, t = mapping.letters
        reached.update(limits_reached(layer, hardware, mapping))
        reached.update(what for what, true in {
            "p q r t above 1": min(p, q, r, t) > 1,
            "ragged filters": m % (p * t), "ragged channels": layer.C % (q * r),
            "ragged loads": layer.M_group % m, "ragged strips": layer.E % e,
            "ragged images": layer.N % n, "several groups": layer.groups > 1,
            "row segments": mapping.row_segments > 1,
            "column segments": hardware.spad_ifmap_words < layer.S_span,
            "column strips": mapping.column_strips > 1,
            "folded columns": e * t > hardware.cols,
            "fewer channels than sets hold": layer.C < q * r,
            "fewer filters than sets hold": m < p * t,
            "stride beyond the filter": layer.V > layer.S_span,
            "dilation": layer.dilation != (1, 1)}.items() if true)
    assert len(reached) == len(LIMITS) + 15
    assert min(reached.values()) >= 5, reached
    assert reached["p q r t above 1"] >= 30


@pytest.mark.parametrize("limit", LIMITS)
def test_a_case_drawn_at_a_limit_is_legal_and_at_it(limit):
    for seed in range(20):
        layer, hardware, mapping = legal_case(np.random.default_rng(seed), {limit})
        check_mapping(layer, hardware, mapping)
        assert limit in limits_reached(layer, hardware, mapping)


@pytest.mark.parametrize("seed", range(10))
def test_drawn_mappings_are_among_those_that_trying_all_finds(seed):
    layer, hardware, mapping = legal_case(np.random.default_rng(seed))
    fewest = naive.ways_to_cut(list(range(layer.R)), hardware.rows)
    pieces = mapping.row_segments if mapping.row_segments in fewest else 0
    assert (*mapping.letters, pieces, mapping.column_strips) in set(
        naive.legal_mappings(layer, hardware))
