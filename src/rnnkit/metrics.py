"""Turn sums over a data set into the numbers people compare."""

import math
from collections.abc import Mapping

import numpy as np

from rnnkit.errors import DataError

MEANINGS = {
    "nats_per_character": "nats a character",
    "perplexity": "perplexity a token",
    "word_perplexity": "perplexity a word",
    "bits_per_character": "bits a character",
    "bits_per_byte": "bits a byte",
    "unknown_share": "unknown tokens",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "unknown_accuracy": "accuracy on unknown words",
    "ece": "calibration error (ECE)",
    "accuracy_25": "accuracy after a quarter",
    "accuracy_50": "accuracy after a half",
    "accuracy_75": "accuracy after three quarters",
    "accuracy_over_shares": "accuracy over all shares",
    "early_accuracy": "accuracy of early decisions",
    "early_share": "share seen for them",
}
SHARES = ("accuracy", "macro_f1", "micro_f1", "f1", "precision", "recall", "ece", "early_accuracy", "unknown_accuracy")
F1_OF = "f1_"  # before the type of an entity, in a metric's key
CALIBRATION_BINS = 15


def metric_words(name: str, unit: str) -> str:
    """Say a metric's name for a person.

    Args:
        name: Its key.
        unit: What the loss counts, in the plural, as "tokens".

    Returns:
        As "nats a token".
    """
    one = unit if unit == "series" else unit.removesuffix("s")
    if name.startswith(F1_OF):
        return f"F1 of {name.removeprefix(F1_OF)}"
    return f"nats a {one}" if name == "nats" else MEANINGS.get(name, name.replace("_", " "))


def language_model_metrics(
    total_nats: float, *, tokens: int, characters: int, bytes: int, words: int
) -> dict[str, float]:
    """Express one total negative log-likelihood in every unit of the field.

    The total is the same whatever the vocabulary, so the figures per character, byte and word compare models whose
    tokens differ; those per token do not (Mielke 2019, "Can you compare perplexity across different segmentations?").

    Args:
        total_nats: Sum over all predicted tokens of -ln p(token), in nats.
        tokens: How many tokens were predicted.
        characters: Length of the same text in Unicode characters.
        bytes: Length of the same text in UTF-8 bytes.
        words: Words of the same text in the sense of the published figure (WikiText-2 counts line ends); may be 0.

    Returns:
        nats (per token), nats_per_character, perplexity (e to the nats per token), bits_per_character, bits_per_byte
        and, where there are words, word_perplexity. A perplexity too large for a float is inf.

    Raises:
        DataError: If a count but that of words is not positive, or the total is not a number.

    Example:
        >>> metrics = language_model_metrics(math.log(2) * 80, tokens=10, characters=40, bytes=80, words=8)
        >>> round(metrics["bits_per_byte"], 6), round(metrics["perplexity"], 6)
        (1.0, 256.0)
    """
    for name, count in (("tokens", tokens), ("characters", characters), ("bytes", bytes)):
        if count <= 0:
            raise DataError(f"cannot average over {count} {name}; expected 1 or more: is the evaluated text empty?")
    if math.isnan(total_nats):
        raise DataError(
            "the total of the nats is NaN; expected a number: the model has diverged or its input is damaged."
        )
    by_word = {"word_perplexity": _exponential(total_nats / words)} if words else {}
    return {
        "nats": total_nats / tokens,
        "nats_per_character": total_nats / characters,
        "perplexity": _exponential(total_nats / tokens),
        **by_word,
        "bits_per_character": total_nats / characters / math.log(2),
        "bits_per_byte": total_nats / bytes / math.log(2),
    }


def _exponential(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def format_metric(name: str, value: float) -> str:
    """Write a metric as a table shows it: a share in percent, others to four places while they are small."""
    if name.endswith("_share") or name.startswith(("accuracy_", F1_OF)) or name in SHARES:
        return f"{value:.2%}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}" if value < 1e6 else f"{value:.3g}"


def classification_metrics(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Measure one label a sequence.

    Args:
        probabilities: (sequences, labels), rows that sum to 1.
        targets: (sequences,) label numbers.

    Returns:
        nats (a sequence), accuracy, macro_f1 (the mean over the labels given or wanted), ece.

    Raises:
        DataError: If there is nothing to measure.

    Example:
        >>> metrics = classification_metrics(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
        >>> metrics["accuracy"], round(metrics["macro_f1"], 4)
        (0.5, 0.3333)
    """
    _refuse_none(targets)
    given = probabilities[np.arange(len(targets)), targets]
    predicted = probabilities.argmax(1)
    everything = np.eye(probabilities.shape[1], dtype=bool)
    return {
        "nats": float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean()),
        "accuracy": float((predicted == targets).mean()),
        "macro_f1": f1_scores(everything[predicted], everything[targets])["macro_f1"],
        "ece": calibration_error(probabilities.max(1), predicted == targets),
    }


def multi_label_metrics(probabilities: np.ndarray, chosen: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Measure any number of labels a sequence.

    Args:
        probabilities: (sequences, labels), each label's own.
        chosen: (sequences, labels) bool, the labels given.
        targets: (sequences, labels) bool.

    Returns:
        nats (a sequence, summed over the labels), accuracy (exactly the right labels), micro_f1, macro_f1, ece.

    Raises:
        DataError: If there is nothing to measure.
    """
    _refuse_none(targets)
    given = np.where(targets, probabilities, 1 - probabilities)
    return {
        "nats": float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).sum(1).mean()),
        "accuracy": float((chosen == targets).all(1).mean()),
        **f1_scores(chosen, targets),
        "ece": calibration_error(probabilities.ravel(), targets.ravel()),
    }


def _refuse_none(targets: np.ndarray) -> None:
    if not len(targets):
        raise DataError("there is nothing to measure; expected at least one labelled example.")


def f1_scores(chosen: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return micro_f1 over all decisions and macro_f1, the mean over the labels that occur in either.

    Args:
        chosen: (sequences, labels) bool.
        targets: (sequences, labels) bool.

    Returns:
        Both, 0 where nothing is right.
    """
    right, all_chosen, all_targets = (chosen & targets).sum(0), chosen.sum(0), targets.sum(0)
    occurs = all_chosen + all_targets > 0
    each = 2 * right[occurs] / (all_chosen + all_targets)[occurs]
    total = int((all_chosen + all_targets).sum())
    return {
        "micro_f1": float(2 * right.sum() / total) if total else 0.0,
        "macro_f1": float(each.mean()) if total else 0.0,
    }


def span_metrics(found: Mapping[str, int], expected: Mapping[str, int], right: Mapping[str, int]) -> dict[str, float]:
    """Measure entities, each right only if its type and both its ends are (Tjong Kim Sang and De Meulder 2003).

    Args:
        found: How many of each type were found.
        expected: How many there are.
        right: How many were found and are there.

    Returns:
        f1, precision and recall of all, then f1_TYPE in the order of the types' names; 0 where nothing is right.

    Example:
        >>> span_metrics({"PER": 2}, {"PER": 1, "LOC": 1}, {"PER": 1})["f1"]
        0.5
    """
    total_found, total_expected, total_right = (sum(part.values()) for part in (found, expected, right))
    return {
        "f1": _share(2 * total_right, total_found + total_expected),
        "precision": _share(total_right, total_found),
        "recall": _share(total_right, total_expected),
        **{
            f"{F1_OF}{name}": _share(2 * right.get(name, 0), found.get(name, 0) + expected.get(name, 0))
            for name in sorted({*found, *expected})
        },
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error: how far confidence and hit rate are apart (Guo et al. 2017).

    Args:
        confidences: (decisions,) in [0, 1].
        correct: (decisions,) bool.

    Returns:
        The mean over CALIBRATION_BINS bins of equal width, weighted by their decisions, in [0, 1].
    """
    bins = np.minimum((confidences * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    sums = np.bincount(bins, weights=confidences - correct, minlength=CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(confidences))
