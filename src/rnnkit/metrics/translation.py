"""How good translations are, as the field measures them: BLEU and chrF by sacreBLEU, with their signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

BOOTSTRAP = 1000  # draws of the test sentences


@dataclass(frozen=True)
class Interval:
    """Within which 95 % of the BLEU scores of drawn test sets lie, and how they were computed."""

    low: float
    high: float
    signature: str
    """Of sacreBLEU: with it others can compute the same."""


def translation_metrics(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Measure translations.

    Args:
        hypotheses: One a sentence, as written.
        references: At least one a sentence; sentences may have different numbers of them.

    Returns:
        bleu, bleu_lowercase (both of 13a tokens: Post 2018) and chrf (chrF2: Popovic 2015), all in percent.

    Raises:
        ConfigError: If sacrebleu is missing.
        DataError: If there is no sentence.
    """
    streams = _streams(hypotheses, references)
    metrics = {"bleu": _bleu(), "bleu_lowercase": _bleu(lowercase=True), "chrf": _sacrebleu().CHRF()}
    return {name: float(metric.corpus_score(hypotheses, streams).score) for name, metric in metrics.items()}


def bleu_interval(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Interval:
    """Draw test sets anew from a test set's sentences (Koehn 2004), and say between which scores they lie.

    Args:
        hypotheses: As for `translation_metrics`.
        references: Likewise.

    Returns:
        The interval.

    Raises:
        ConfigError: If sacrebleu is missing.
        DataError: If there is no sentence.
    """
    metric = _bleu()
    found: Any = metric.corpus_score(hypotheses, _streams(hypotheses, references), n_bootstrap=BOOTSTRAP)
    middle, half = found._mean, found._ci
    return Interval(float(middle - half), float(middle + half), str(metric.get_signature()))


def require_sacrebleu() -> None:
    """Refuse to begin what would end without sacrebleu.

    Raises:
        ConfigError: If it is missing.
    """
    _sacrebleu()


def _bleu(*, lowercase: bool = False) -> Metric:
    return _sacrebleu().BLEU(lowercase=lowercase)


def _streams(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
    """Turn the references of each sentence into as many lists of one a sentence, None where one has fewer."""
    if not hypotheses:
        raise DataError("there is no translation to measure; expected at least one.")
    most = max(map(len, references))
    return [[one[index] if index < len(one) else None for one in references] for index in range(most)]


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise ConfigError(
            f"translations are measured by sacreBLEU, which is missing ({error}): pip install 'rnnkit[translation]'"
        ) from None
    return metrics
