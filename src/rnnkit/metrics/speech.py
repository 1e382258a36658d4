"""How good transcripts are: shares of words and characters that are wrong, and which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class Confusions:
    """What was heard in the place of what was said, words aligned to the fewest errors.

    Attributes:
        substituted: (said, heard) and how often, the most frequent first.
        missed: Words that were said and not heard.
        added: Words that were heard and not said.
        hits: Words that were heard as they were said.
    """

    substituted: tuple[tuple[tuple[str, str], int], ...]
    missed: tuple[tuple[str, int], ...]
    added: tuple[tuple[str, int], ...]
    hits: tuple[tuple[str, int], ...]


def require_jiwer() -> ModuleType:
    """Return the package that measures transcripts.

    Raises:
        ConfigError: If it is missing.
    """
    try:
        import jiwer
    except ImportError as error:
        raise ConfigError(
            f"transcripts are measured by a package that is missing ({error}): pip install 'rnnkit[speech]'"
        ) from None
    return jiwer


def speech_metrics(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Measure transcripts.

    Args:
        hypotheses: What was heard, words with single spaces between.
        references: What was said; none empty.

    Returns:
        "wer", "cer" (substitutions, deletions and insertions over the words or characters said), "ser" (the share of
        transcripts with an error).

    Raises:
        ConfigError: If the package for it is missing.
        DataError: If there is no transcript, or one is empty.
    """
    jiwer = require_jiwer()
    _check(hypotheses, references)
    return {
        "wer": float(jiwer.wer(list(references), list(hypotheses))),
        "cer": float(jiwer.cer(list(references), list(hypotheses))),
        "ser": sum(one != other for one, other in zip(hypotheses, references, strict=True)) / len(references),
    }


def utterance_errors(hypotheses: Sequence[str], references: Sequence[str]) -> list[int]:
    """Count the wrong words of each transcript."""
    jiwer = require_jiwer()
    _check(hypotheses, references)
    chunks = jiwer.process_words(list(references), list(hypotheses)).alignments
    return [sum(_errors(one) for one in alignment) for alignment in chunks]


def _errors(chunk: Any) -> int:
    said, heard = chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
    return 0 if chunk.type == "equal" else max(said, heard)


def confusions(hypotheses: Sequence[str], references: Sequence[str]) -> Confusions:
    """Count what was heard in the place of what."""
    jiwer = require_jiwer()
    _check(hypotheses, references)
    found = jiwer.process_words(list(references), list(hypotheses))
    pairs: Counter[tuple[str, str]] = Counter()
    missed: Counter[str] = Counter()
    added: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for said, heard, alignment in zip(found.references, found.hypotheses, found.alignments, strict=True):
        for chunk in alignment:
            ours, theirs = said[chunk.ref_start_idx : chunk.ref_end_idx], heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if chunk.type == "substitute":
                pairs.update(zip(ours, theirs, strict=True))
            elif chunk.type == "delete":
                missed.update(ours)
            elif chunk.type == "insert":
                added.update(theirs)
            else:
                hits.update(ours)
    rest = (tuple(one.most_common()) for one in (missed, added, hits))
    return Confusions(tuple(pairs.most_common()), *rest)


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not references or len(hypotheses) != len(references):
        raise DataError(f"there are {len(hypotheses)} transcripts of {len(references)} texts; expected one of each.")
    for place, one in enumerate(references, start=1):
        if not one.strip():
            raise DataError(f"text {place} is empty; expected what is said.")
