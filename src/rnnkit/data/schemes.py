"""Tagging schemes: how the tags of single words say which of them make up an entity.

- bio (IOB2): B-X begins an entity X, I-X goes on with it, O is outside.
- iob1 (Ramshaw and Marcus 1995): I-X begins one too; B-X only where the one before has the same type.
- bioes (IOBES): E-X ends an entity of several words, S-X is one of a single word. BMES writes M for I.
- bilou: the same with L for E and U for S.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

OUTSIDE = "O"
SCHEMES = ("bio", "iob1", "bioes", "bilou")
PLAIN_PREFIXES = {"L": "E", "U": "S", "W": "S", "M": "I"}
TAG = re.compile(r"([BIESLUMW])(?:-(.+))?", re.DOTALL)
UNNAMED = "_"  # the type of a tag that is a prefix alone


class Span(NamedTuple):
    """An entity: its type and the words [first, end) it covers."""

    label: str
    first: int
    end: int


@dataclass(frozen=True)
class Detected:
    """How a set of tags is written.

    Attributes:
        scheme: One of SCHEMES; None where tags mark no spans, as parts of speech.
        repairs: Tags that the scheme does not allow where they stand; they are read as conlleval does.
        first_repair: Sequence and word of the first of them, from 0.
    """

    scheme: str | None
    repairs: int = 0
    first_repair: tuple[int, int] | None = None


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into its prefix, one of B I E S O, and its type; L, U, W and M are E, S, S and I."""
    found = TAG.fullmatch(tag)
    if found is None:
        return OUTSIDE, ""
    return PLAIN_PREFIXES.get(found[1], found[1]), found[2] or UNNAMED


def read_spans(tags: Sequence[str]) -> list[Span]:
    """Read the entities out of any scheme's tags, a wrong one too: as conlleval and seqeval do.

    Args:
        tags: Of one sentence.

    Returns:
        The entities in order.

    Example:
        >>> read_spans(["I-PER", "I-PER", "O", "S-LOC", "B-ORG"])
        [Span(label='PER', first=0, end=2), Span(label='LOC', first=3, end=4), Span(label='ORG', first=4, end=5)]
    """
    spans: list[Span] = []
    first, label, closed = -1, "", False
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        if first >= 0 and (prefix in "OBS" or kind != label or closed):
            spans.append(Span(label, first, place))
            first = -1
        if prefix != OUTSIDE and first < 0:
            first, label = place, kind
        closed = prefix in "ES"
    return spans


def write_tags(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Write entities that do not overlap as tags.

    Args:
        spans: The entities, in order.
        length: Words of the sentence.
        scheme: One of SCHEMES.

    Returns:
        A tag a word.
    """
    tags = [OUTSIDE] * length
    inside = {"bilou": "BIL"}.get(scheme, "BIE")
    for span in spans:
        for place in range(span.first, span.end):
            begins, ends = place == span.first, place == span.end - 1
            if scheme in ("bioes", "bilou"):
                single = "S" if scheme == "bioes" else "U"
                prefix = single if begins and ends else inside[0] if begins else inside[2] if ends else "I"
            elif scheme == "iob1":
                before = split_tag(tags[place - 1])[1] if place else ""
                prefix = "B" if begins and before == span.label else "I"
            else:
                prefix = "B" if begins else "I"
            tags[place] = prefix if span.label == UNNAMED else f"{prefix}-{span.label}"
    return tags


def detect_scheme(sentences: Sequence[Sequence[str]]) -> Detected:
    """Find out how tags are written.

    Args:
        sentences: Tags of each.

    Returns:
        The scheme, and how many tags break its rules.
    """
    known = {tag for tags in sentences for tag in tags}
    marked = [tag for tag in known if tag != OUTSIDE]
    matches = [TAG.fullmatch(tag) for tag in marked]
    typed = any(match and match[2] for match in matches)
    if not marked or not all(matches) or not (typed or OUTSIDE in known):
        return Detected(None)
    prefixes = {match[1] for match in matches if match}
    if prefixes & set("LU"):
        candidates = ["bilou"]
    elif prefixes & set("ESMW"):
        candidates = ["bioes"]
    else:
        candidates = ["bio", "iob1"]
    found = [_check(sentences, scheme) for scheme in candidates]
    return min(found, key=lambda one: one.repairs)  # bio where both fit


def _check(sentences: Sequence[Sequence[str]], scheme: str) -> Detected:
    repairs, first = 0, None
    for number, tags in enumerate(sentences):
        plain = [_plain(tag) for tag in tags]
        proper = [_plain(tag) for tag in write_tags(read_spans(tags), len(tags), scheme)]
        for place, (found, expected) in enumerate(zip(plain, proper, strict=True)):
            if found != expected:
                repairs += 1
                first = first or (number, place)
    return Detected(scheme, repairs, first)


def _plain(tag: str) -> str:
    """Write a tag with the prefixes of bioes."""
    prefix, kind = split_tag(tag)
    return prefix if prefix == OUTSIDE else f"{prefix}-{kind}"
