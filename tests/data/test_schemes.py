"""Tagging schemes against seqeval's reading of them, which is conlleval's."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, Entities

from rnnkit.data.schemes import SCHEMES, Detected, Span, detect_scheme, read_spans, split_tag, write_tags

TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]


def by_seqeval(tags: list[str]) -> list[Span]:
    return [Span(kind, first, last + 1) for kind, first, last in get_entities(tags)]


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_any_tags_are_read_as_seqeval_reads_them(tags: list[str]):
    assert read_spans(tags) == by_seqeval(tags)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O", []),
        ("I-PER I-PER O", [("PER", 0, 2)]),  # I after O begins one
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),  # another type begins one
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("E-PER I-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER E-PER S-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("O B-ORG-x", [("ORG-x", 1, 2)]),
    ],
)
def test_hand_cases_of_conlleval(tags: str, spans: list[tuple[str, int, int]]):
    assert read_spans(tags.split()) == [Span(*span) for span in spans] == by_seqeval(tags.split())


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Draw spans that do not overlap, and the number of words."""
    length = draw(st.integers(0, 12))
    cuts = sorted(draw(st.sets(st.integers(0, length), max_size=8)))
    pieces = list(pairwise(cuts))
    kept = [piece for piece in pieces if draw(st.booleans())]
    return [Span(draw(st.sampled_from(["A", "B-C"])), *piece) for piece in kept], length


@given(sentences(), st.sampled_from(SCHEMES))
def test_what_is_written_is_read_again(sentence: tuple[list[Span], int], scheme: str):
    spans, length = sentence
    tags = write_tags(spans, length, scheme)
    assert len(tags) == length
    assert read_spans(tags) == spans
    if scheme != "bilou":  # which seqeval reads in its strict mode alone
        assert by_seqeval(tags) == spans


@given(sentences())
def test_bilou_is_that_of_seqeval(sentence: tuple[list[Span], int]):
    spans, length = sentence
    found: Any = Entities([write_tags(spans, length, "bilou")], BILOU).entities
    assert [Span(one.tag, one.start, one.end) for one in found[0]] == spans


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["B-X I-X O", "O B-X B-X"], "bio"),
        (["I-X I-X O", "I-X B-X O"], "iob1"),
        (["B-X O", "O O"], "bio"),
        (["B-X E-X S-X O"], "bioes"),
        (["B-X M-X E-X S-X"], "bioes"),
        (["B-X L-X U-X O"], "bilou"),
        (["B I O"], "bio"),
        (["NOUN VERB", "DET NOUN"], None),
        (["O O"], None),
        (["B-X NOUN O"], None),
        (["S E B"], None),  # letters alone, and none outside: tags of their own
        ([], None),
    ],
)
def test_a_scheme_is_found_out(tags: list[str], scheme: str | None):
    assert detect_scheme([one.split() for one in tags]) == Detected(scheme)


def test_tags_that_break_the_scheme_are_counted_and_the_first_is_placed():
    found = detect_scheme([["B-X", "I-X", "O"], ["B-X", "B-X"], ["O", "I-X", "I-X", "I-Y"]])
    assert found == Detected("bio", repairs=2, first_repair=(2, 1))


def test_tags_without_a_type_have_one_without_a_name():
    assert split_tag("B") == ("B", "_")
    assert write_tags(read_spans(["B", "I", "O"]), 3, "bioes") == ["B", "E", "O"]
