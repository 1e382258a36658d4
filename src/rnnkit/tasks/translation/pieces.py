"""Texts longer than what a translator learnt from: cut into sentences, a longer sentence between clauses or words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])\s+")
CLAUSE_END = re.compile(r"(?<=[,;:\u2013\u2014])\s+")
WORD_END = re.compile(r"\s+")


def cut_text(text: str, count: Callable[[str], int], *, most: int) -> list[str]:
    """Cut a text into pieces that are short enough.

    Args:
        text: With single spaces.
        count: Counts the tokens of a text.
        most: Tokens of a piece; a single longer word stays whole.

    Returns:
        The pieces in order; of a short text, the text.

    Example:
        >>> cut_text("One two. Three. Four five six seven.", lambda text: len(text.split()), most=3)
        ['One two.', 'Three.', 'Four five six', 'seven.']
    """
    if count(text) <= most:
        return [text]
    found: list[str] = []
    for sentence in SENTENCE_END.split(text):
        clauses = _gathered(CLAUSE_END.split(sentence), count, most)
        found += [piece for clause in clauses for piece in _gathered(WORD_END.split(clause), count, most)]
    return found


def _gathered(parts: list[str], count: Callable[[str], int], most: int) -> Iterator[str]:
    """Put neighbours together while they are short enough."""
    gathered = parts[0]
    for part in parts[1:]:
        longer = f"{gathered} {part}"
        if count(longer) > most:
            yield gathered
            longer = part
        gathered = longer
    yield gathered
