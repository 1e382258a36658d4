"""How a recogniser looks for the likeliest text: greedily, or by a beam with a language model and hot words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnkit.baselines.ngram import NGram
from rnnkit.data.tokens import UNKNOWN, Vocabulary
from rnnkit.decoding.fusion import NOTHING, Fusion, Phrases, SummedFusion
from rnnkit.errors import ConfigError
from rnnkit.tasks.speech.fusion import NetworkContinuations, NGramContinuations, language_fusion

if TYPE_CHECKING:
    from rnnkit.tasks.language_model import LanguageModel


@dataclass(frozen=True)
class Search:
    """How to search; the default takes the likeliest token of every step.

    Example:
        >>> Search(beam=8, hot_words=("rnnkit",)).hot_weight
        2.0
    """

    beam: int = 1
    """Readings kept; 1 takes the likeliest token of every step."""
    language_model: LanguageModel | None = None
    """Has a say in what was said."""
    ngram: NGram | None = None
    """Of the language model's run: has the say in place of its network."""
    language_weight: float = 0.5
    """Of the language model's log-probabilities."""
    bonus: float = 0.0
    """Nats added to every token, or every word, that a language model judges."""
    hot_words: tuple[str, ...] = ()
    """Words and phrases to look out for."""
    hot_weight: float = 2.0
    """Nats added to each of their tokens."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.beam < 1:
            raise ConfigError(f"the beam's size is {self.beam}; expected 1 or more")
        for name in ("language_weight", "hot_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not math.isfinite(self.bonus):
            raise ConfigError(f"bonus is {self.bonus}; expected a finite number")
        if self.ngram is not None and self.language_model is None:
            raise ConfigError("an n-gram is given without the language model that it belongs to")
        if self.beam == 1 and (self.language_model is not None or self.hot_words):
            what = "a language model" if self.language_model is not None else "hot words"
            raise ConfigError(f"{what} needs a beam; expected a beam of 2 or more, as 8")

    def fusion(self, vocabulary: Vocabulary) -> Fusion:
        """Return what else has a say.

        Args:
            vocabulary: Of the recogniser.

        Returns:
            The fusion of all.

        Raises:
            ConfigError: If a hot word cannot be spelt.
        """
        parts: list[Fusion] = []
        if self.language_model is not None:
            source: Any = self.language_model
            says = NetworkContinuations(source) if self.ngram is None else NGramContinuations(self.ngram)
            parts.append(
                language_fusion(says, source.vocabulary, vocabulary, weight=self.language_weight, bonus=self.bonus)
            )
        if self.hot_words:
            parts.append(self._phrases(vocabulary))
        return NOTHING if not parts else parts[0] if len(parts) == 1 else SummedFusion(parts)

    def _phrases(self, vocabulary: Vocabulary) -> Phrases:
        spelt = []
        for word in self.hot_words:
            tokens = vocabulary.encode(" ".join(word.split())).tolist()
            if not tokens or UNKNOWN in tokens:
                raise ConfigError(f"the hot word {word!r} cannot be spelt with the model's {vocabulary.kind} tokens")
            spelt.append(tokens)
        starts = [token for token in range(2, vocabulary.size) if vocabulary.decode([token]) == " "]
        return Phrases(spelt, weight=self.hot_weight, num_tokens=vocabulary.size, starts=starts or None)
