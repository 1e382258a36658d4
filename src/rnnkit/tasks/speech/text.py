"""Tokens that were said, as text, words and times."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnkit.data.audio import SHIFT_SECONDS
from rnnkit.data.tokens import Vocabulary
from rnnkit.decoding.hypotheses import Said
from rnnkit.tasks.speech.results import SpokenWord

if TYPE_CHECKING:
    from rnnkit.tasks.speech.config import SpeechConfig


def normalise(text: str, config: SpeechConfig) -> str:
    """Prepare a text: one Unicode form (NFC), single spaces, small letters if so wanted."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text.lower() if config.lowercase else text


def written(vocabulary: Vocabulary, said: Sequence[Said]) -> str:
    """Write tokens as a text, without spaces around it."""
    return vocabulary.decode(one.token for one in said).strip()


def confidence(said: Sequence[Said]) -> float:
    """Return the geometric mean of the probabilities of tokens; 1 where there is none."""
    return math.exp(sum(one.log_probability for one in said) / len(said)) if said else 1.0


def words(
    vocabulary: Vocabulary, said: Sequence[Said], *, step_seconds: float, most: float = math.inf
) -> tuple[SpokenWord, ...]:
    """Find the words of tokens, what is between spaces, with their times.

    Args:
        vocabulary: Of the tokens.
        said: The tokens.
        step_seconds: From one step to the next.
        most: The latest time: that of the end.

    Returns:
        The words, in order.
    """
    decoder, found, text, own = vocabulary.decoder(), [], "", []

    def close() -> None:
        if text:
            start, end = (min(step * step_seconds, most) for step in (own[0].step, own[-1].last + 1))
            found.append(SpokenWord(text, round(start, 3), round(end, 3), confidence(own)))

    for one in said:
        piece = decoder.push(one.token)
        before, *others = piece.split(" ")
        if before:
            own.append(one)
            text += before
        for part in others:
            close()
            text, own = part, [one] if part else []
    text += decoder.finish().strip()
    close()
    return tuple(found)


def step_seconds(config: SpeechConfig) -> float:
    """Return the seconds from one step to the next."""
    return SHIFT_SECONDS * config.subsampling
