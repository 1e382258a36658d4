"""How well tags fit: entities found whole, words tagged right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rnnkit.data.schemes import read_spans
from rnnkit.metrics import f1_scores, span_metrics
from rnnkit.tasks.tagging.tags import MISSING, TagSet

STRANGE = "I-(not known)"  # stands for tags that training has not seen


def tag_metrics(
    tags: TagSet, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], unknown: Sequence[np.ndarray]
) -> dict[str, float]:
    """Measure the tags of sentences.

    Args:
        tags: What their numbers mean.
        found: Tag numbers of each sentence.
        expected: The right ones, MISSING where the model does not know them.
        unknown: Of each word, whether training has not seen it.

    Returns:
        Where tags mark entities f1, precision, recall and f1_TYPE; accuracy of words, of unknown ones too where there
        are some; where tags stand for themselves macro_f1.
    """
    given, right = np.concatenate([*found]), np.concatenate([*expected])
    strange = np.concatenate([*unknown])
    correct = given == right
    words = {"accuracy": float(correct.mean())}
    if strange.any():
        words["unknown_accuracy"] = float(correct[strange].mean())
    if tags.scheme is None:
        everything = np.eye(len(tags) + 1, dtype=bool)
        return {**words, "macro_f1": f1_scores(everything[given], everything[right])["macro_f1"]}
    counts: dict[str, Counter[str]] = {"found": Counter(), "expected": Counter(), "right": Counter()}
    for one, other in zip(found, expected, strict=True):
        ours, theirs = (read_spans(_names(tags, numbers)) for numbers in (one, other))
        counts["found"].update(span.label for span in ours)
        counts["expected"].update(span.label for span in theirs)
        counts["right"].update(span.label for span in set(ours) & set(theirs))
    return {**span_metrics(**counts), **words}


def confusion(
    tags: TagSet, found: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Count which tag words have and which they were given; of entities, which type.

    Args:
        tags: What their numbers mean.
        found: Tag numbers of each sentence.
        expected: The right ones; words whose tag the model does not know are left out.

    Returns:
        Names, and (names, names) counts, the right ones down.
    """
    names = tags.names if tags.scheme is None else ("O", *tags.types)
    kinds = [name if tags.scheme is None else name.partition("-")[2] or name for name in tags.names]
    group = np.array([names.index(kind) for kind in kinds])
    given, right = np.concatenate([*found]), np.concatenate([*expected])
    known = right != MISSING
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (group[right[known]], group[given[known]]), 1)
    return names, counts


def _names(tags: TagSet, numbers: np.ndarray) -> list[str]:
    return [STRANGE if number == MISSING else tags.names[number] for number in numbers.tolist()]
