"""Pictures of promotion chains: nothing lies on anything else, and every line leads where it should."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from automator.core.chainpicture import HIGH, WIDE, Box, Picture, picture
from automator.core.view import Chain, ChainEdge, ChainNode


def chain(count: int, pairs: list[tuple[int, int]]) -> Chain:
    """Nodes 0, 1, … in the order of the way, with edges between them."""
    nodes = tuple(ChainNode("shop", f"n{n}", "current", "1.0", None) for n in range(count))
    edges = tuple(
        ChainEdge(("shop", f"n{a}"), ("shop", f"n{b}"), timedelta(hours=1), None, None) for a, b in pairs
    )
    return Chain(nodes, edges)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    count = draw(st.integers(1, 12))
    forward = [(a, b) for a in range(count) for b in range(a + 1, count)]
    return chain(count, draw(st.lists(st.sampled_from(forward), unique=True, max_size=16)) if forward else [])


def boxes(drawn: Picture) -> dict[str, Box]:
    return {box.node.name: box for box in drawn.boxes}


@given(chains())
def test_boxes_are_inside_and_apart(told: Chain) -> None:
    drawn = picture(told)
    assert len(drawn.boxes) == len(told.nodes)
    assert len(drawn.lines) == len(told.edges)
    for box in drawn.boxes:
        assert 0 <= box.x <= drawn.width - WIDE
        assert 0 <= box.y <= drawn.height - HIGH
    for one, other in combinations(drawn.boxes, 2):
        assert abs(one.x - other.x) >= WIDE or abs(one.y - other.y) >= HIGH


@given(chains())
def test_lines_lead_from_left_to_right_between_the_middles_of_their_boxes(told: Chain) -> None:
    drawn = picture(told)
    found = boxes(drawn)
    for line in drawn.lines:
        above, below = found[line.edge.upstream[1]], found[line.edge.downstream[1]]
        assert above.x + WIDE < below.x
        begin = re.match(r"M([\d.]+) ([\d.]+)C", line.path)
        assert begin is not None
        assert (float(begin[1]), float(begin[2])) == (above.x + WIDE, above.y + HIGH / 2)
        assert line.end == (below.x - 7, below.y + HIGH / 2)


@given(chains())
def test_a_line_that_passes_a_layer_crosses_no_box_of_it(told: Chain) -> None:
    drawn = picture(told)
    for line in drawn.lines:
        for y, right in re.findall(r" ([\d.]+)H([\d.]+)", line.path):
            for box in drawn.boxes:
                is_there = box.x + WIDE == float(right)
                assert not is_there or not box.y < float(y) < box.y + HIGH


def test_what_comes_after_two_stands_right_of_both_and_words_do_not_meet() -> None:
    drawn = picture(chain(4, [(0, 2), (1, 2), (2, 3), (0, 3)]))
    found = boxes(drawn)
    assert found["n0"].x == found["n1"].x < found["n2"].x < found["n3"].x
    places = [(line.x, line.y) for line in drawn.lines]
    assert all(abs(a[0] - b[0]) > 100 or abs(a[1] - b[1]) > 10 for a, b in combinations(places, 2))


def test_a_circle_is_drawn_too() -> None:
    drawn = picture(chain(2, [(0, 1), (1, 0)]))
    assert len(drawn.lines) == 2
    assert boxes(drawn)["n0"].x < boxes(drawn)["n1"].x


def test_nothing_is_an_empty_picture() -> None:
    assert picture(Chain((), ())).boxes == ()


def test_the_same_chain_gives_the_same_picture() -> None:
    told = chain(6, [(0, 3), (1, 3), (2, 4), (3, 5), (0, 5)])
    assert picture(told) == picture(told)
