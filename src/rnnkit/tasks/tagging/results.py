"""What a tagger answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaggedWord:
    """One word and its tag."""

    text: str
    start: int
    """Its first character in the text."""
    end: int
    """One past its last."""
    tag: str
    probability: float
    """Of the tag, whatever those of the other words are."""


@dataclass(frozen=True)
class Entity:
    """Words that name something."""

    label: str
    text: str
    start: int
    """Its first character in the text."""
    end: int
    """One past its last."""
    probability: float
    """That just these words are just this."""


@dataclass(frozen=True)
class Reading:
    """One way to tag a whole line."""

    tags: tuple[str, ...]
    probability: float


@dataclass(frozen=True)
class TaggedText:
    """The answer to one text."""

    text: str
    words: tuple[TaggedWord, ...]
    entities: tuple[Entity, ...]
    """None where tags mark no entities, as parts of speech."""
    readings: tuple[Reading, ...]
    """The likeliest ways to tag the text, where they were asked for."""


@dataclass(frozen=True)
class TagEvent:
    """The tag of one word is final."""

    text: str
    start: int
    """The word's first character in the stream."""
    end: int
    """One past its last."""
    tag: str
    probability: float
    """Of the tag, given the words so far."""
    entity: str | None
    """The label of an entity that this word ends."""
    entity_start: int | None
    """The first character of that entity."""
