"""What a recogniser answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpokenWord:
    """A word, when it is said, and how sure that is."""

    text: str
    start: float
    """Seconds from the beginning."""
    end: float
    confidence: float
    """Geometric mean of the probabilities of its tokens, in [0, 1]."""


@dataclass(frozen=True)
class OtherTranscript:
    """Another reading of a recording."""

    text: str
    score: float
    """What readings are ranked by: a natural logarithm."""


@dataclass(frozen=True)
class Transcript:
    """What is said in a recording."""

    name: str
    text: str
    words: tuple[SpokenWord, ...]
    confidence: float
    """Geometric mean of the probabilities of its tokens, in [0, 1]; that of silence is 1."""
    seconds: float
    """Length of the recording."""
    alternatives: tuple[OtherTranscript, ...] = ()
    """The best readings, the first of them the text, where more than one was asked for."""


@dataclass(frozen=True)
class SpeechEvent:
    """What a stream has heard: `partial` text that goes on, or the `final` text of a segment.

    The first `stable` characters of a partial text do not change any more before the segment ends.
    """

    kind: str
    text: str
    start: float
    """Seconds from the beginning of the stream to that of the segment."""
    end: float
    """Seconds heard so far, to the end of the segment where it is final."""
    stable: int
    words: tuple[SpokenWord, ...] = ()
    """Of a final text."""
    reason: str = ""
    """Why a segment ended: silence, length, or the end."""
