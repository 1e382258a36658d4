"""Which texts and words a recogniser gets wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rnnkit.metrics.speech import confusions, utterance_errors

MOST_SHOWN = 3
NOTHING = "(nothing)"  # heard, or said, in the place of a word


def trial_remarks(texts: Sequence[str], references: Sequence[str], places: Sequence[str]) -> tuple[str, ...]:
    """Say in sentences which texts and words go wrong most.

    Args:
        texts: What was heard.
        references: What was said.
        places: Where each recording stands.

    Returns:
        The worst texts, and the most frequent confusions.
    """
    errors = utterance_errors(texts, references)
    worst = sorted((index for index, count in enumerate(errors) if count), key=lambda index: -errors[index])
    remarks = [
        f"{places[index]}: {errors[index]} wrong: said {references[index]!r}, heard {texts[index]!r}"
        for index in worst[:MOST_SHOWN]
    ]
    found = confusions(texts, references)
    kinds = (
        ("taken for another", [(f"{said} for {heard}", count) for (said, heard), count in found.substituted]),
        ("not heard", found.missed),
        ("heard, not said", found.added),
    )
    for what, rows in kinds:
        if rows:
            shown = ", ".join(f"{words} ({count})" for words, count in rows[:MOST_SHOWN])
            remarks.append(f"words {what}: {sum(count for _, count in rows):,}: {shown}")
    return tuple(remarks)


def confused_words(texts: Sequence[str], references: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Count which word was heard in the place of which.

    Args:
        texts: What was heard.
        references: What was said.

    Returns:
        (words, words), row: said, column: heard, and the words, with one for nothing at the end.
    """
    found = confusions(texts, references)
    pairs = Counter(dict(found.substituted))
    pairs.update({(word, NOTHING): count for word, count in found.missed})
    pairs.update({(NOTHING, word): count for word, count in found.added})
    pairs.update({(word, word): count for word, count in found.hits})
    names = [*sorted({word for pair in pairs for word in pair} - {NOTHING}), NOTHING]
    number = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for (said, heard), count in pairs.items():
        counts[number[said], number[heard]] += count
    return counts, names
