"""The sentences of a text, and where their words stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnkit.data.schemes import Span
from rnnkit.data.words import WordRules
from rnnkit.tasks.tagging.results import Entity, Reading, TaggedWord


@dataclass
class Line:
    """A sentence of an input: its words and where they stand in the text, and what was found out about it."""

    words: list[str]
    places: list[tuple[int, int]]
    tagged: list[TaggedWord] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def text_of(given: str | Sequence[str]) -> str:
    """Return an input as a text: a sentence of words with spaces between."""
    return given if isinstance(given, str) else " ".join(given)


def lines_of(given: str | Sequence[str], rules: WordRules) -> Iterator[Line]:
    """Cut an input into sentences; lines without a word have none."""
    if not isinstance(given, str):
        ends = np.cumsum([len(word) + 1 for word in given]).tolist()
        if given:
            yield Line(list(given), [(end - 1 - len(word), end - 1) for end, word in zip(ends, given, strict=True)])
        return
    begin = 0
    for line in given.split("\n"):
        places = [(begin + start, begin + end) for start, end in rules.split(line)]
        if places:
            yield Line([line[start - begin : end - begin] for start, end in places], places)
        begin += len(line) + 1


def entity_of(line: Line, span: Span, probability: float) -> Entity:
    """Return the entity of some words; its text is still empty."""
    return Entity(span.label, "", line.places[span.first][0], line.places[span.end - 1][1], probability)


def with_text(entity: Entity, text: str) -> Entity:
    """Take the text of an entity from that of the input."""
    return Entity(entity.label, text[entity.start : entity.end], entity.start, entity.end, entity.probability)
