"""Texts as a translator's vocabularies take them, and translations as texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.data.tokens import UNKNOWN, Vocabulary, WordDecoder
from rnnkit.data.vocabulary import WordVocabulary
from rnnkit.tasks.translation.pieces import cut_text
from rnnkit.tasks.translation.results import Translation

if TYPE_CHECKING:
    from rnnkit.tasks.translation.config import TranslationConfig

SUBWORDS = ("bpe", "unigram")
TIMES, MORE = 2, 10  # a translation has at most so many times the tokens of its source, and so many more


def normalise(text: str, config: TranslationConfig) -> str:
    """Prepare a text: one Unicode form, single spaces, and one before the first subword, as before every other word."""
    form = config.normalization
    text = text if form == "none" else unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    text = " ".join(text.split())
    text = text.lower() if config.lowercase else text
    return f" {text}" if text and config.vocabulary in SUBWORDS else text


def pieces_of(text: str, vocabulary: Vocabulary, config: TranslationConfig) -> list[str]:
    """Cut a text that is longer than what training saw."""

    def count(part: str) -> int:
        return len(vocabulary.encode(normalise(part, config)))

    return cut_text(" ".join(text.split()), count, most=config.max_length)


def longest_translation(length: int) -> int:
    """Return the most tokens of a translation of so many tokens, DOCUMENT among them; of an empty text none."""
    return TIMES * (length - 1) + MORE if length > 1 else 0


def banned_tokens(target: Vocabulary) -> tuple[int, ...]:
    """Return what is never said: only words can be put in the place of what is unknown."""
    return () if isinstance(target, WordVocabulary) else (UNKNOWN,)


def written(
    tokens: Sequence[int], attention: np.ndarray | None, *, source: str, source_words: Vocabulary, target: Vocabulary
) -> str:
    """Write tokens as a text; an unknown word is the source's that was looked at most.

    Args:
        tokens: Of the target.
        attention: (tokens, source_time) what was looked at, if it is known.
        source: The prepared source.
        source_words: Its vocabulary.
        target: The vocabulary of the tokens.

    Returns:
        The text.
    """
    decoder = target.decoder()
    if not isinstance(decoder, WordDecoder) or attention is None:
        return target.decode(tokens).strip()
    assert isinstance(source_words, WordVocabulary)
    words = source_words.words_of(source)
    parts = []
    for place, token in enumerate(tokens):
        looked = int(attention[place, 1 : len(words) + 1].argmax()) if words else 0
        copied = token == UNKNOWN and words
        parts.append(decoder.say(words[looked]) if copied else decoder.push(token))
    return "".join(parts).strip()


def joined(text: str, parts: Sequence[Translation]) -> Translation:
    """Put the translations of a text's pieces together; only that of a whole text has alternatives and alignment."""
    if len(parts) == 1:
        return replace(parts[0], source=text)
    return Translation(
        text,
        " ".join(one.text for one in parts),
        sum(one.score for one in parts),
        sum(one.log_probability for one in parts),
        tokens=sum(one.tokens for one in parts),
        unknown=sum(one.unknown for one in parts),
    )
