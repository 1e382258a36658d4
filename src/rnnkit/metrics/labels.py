"""How well labels are predicted: of whole sequences, of words, of spans of them."""

from collections.abc import Mapping

import numpy as np

from rnnkit.errors import DataError
from rnnkit.metrics.names import F1_OF

CALIBRATION_BINS = 15


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
