"""From texts to their translations: tokens, the search, and text again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from rnnkit.data.ragged import in_batches
from rnnkit.data.texts import encode_texts
from rnnkit.data.tokens import DOCUMENT, UNKNOWN
from rnnkit.decoding.beam import Beam, Hypothesis, Limits, beam_search
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError
from rnnkit.tasks.translation.batches import padded
from rnnkit.tasks.translation.results import Alignment, Alternative, Translation
from rnnkit.tasks.translation.search import NetworkScorer, draw_translations
from rnnkit.tasks.translation.text import banned_tokens, joined, longest_translation, normalise, pieces_of, written

if TYPE_CHECKING:
    from rnnkit.tasks.translation.task import Translator

ROWS, STEPS = 64, 4096  # sentences and padded source tokens searched at once
END = "<end>"


@dataclass(frozen=True)
class TextSearch:
    """How texts are translated.

    Attributes:
        task: The translator.
        others: Those whose probabilities are averaged with its own.
        beam: How to search.
        prefix: What each translation begins with.
        terms: What each translation holds.
        sampling: How to draw, where translations are not searched for.
        seed: Of drawing.
        align: Whether to say what was looked at.
    """

    task: Translator
    others: Sequence[Translator]
    beam: Beam
    prefix: str
    terms: tuple[str, ...]
    sampling: Sampling | None
    seed: int
    align: bool

    def __post_init__(self) -> None:
        """Refuse what does not fit.

        Raises:
            ConfigError: If translators differ in their vocabularies, or drawing is asked to hold terms.
        """
        own = [one.to_dict() for one in (self.task.source_vocabulary, self.task.target_vocabulary)]
        for other in self.others:
            if [one.to_dict() for one in (other.source_vocabulary, other.target_vocabulary)] != own:
                raise ConfigError("the translators of an ensemble have different vocabularies; expected the same ones")
        if self.sampling is not None and (self.prefix or self.terms):
            raise ConfigError("a prefix and terms are for a search; leave out the sampling options")

    def translate(self, texts: Sequence[str], *, candidates: int) -> list[Translation]:
        """Translate texts, a longer one in pieces, those of like length together."""
        pieces = [pieces_of(text, self.task.source_vocabulary, self.task.config) for text in texts]
        found = iter(self._translate([piece for some in pieces for piece in some], candidates=candidates))
        return [joined(text, [next(found) for _ in some]) for text, some in zip(texts, pieces, strict=True)]

    def _translate(self, texts: Sequence[str], *, candidates: int) -> list[Translation]:
        task = self.task
        prepared = [normalise(text, task.config) for text in texts]
        tokens = encode_texts(task.source_vocabulary, prepared)
        scorer = NetworkScorer([one.network.eval() for one in (task, *self.others)])
        found: dict[int, Translation] = {}
        for places in in_batches(tokens.lengths, batch_size=ROWS, most_steps=STEPS):
            sources, lengths = padded([tokens[index] for index in places])
            answered = self._search(scorer, sources, lengths, places)
            chosen: list[int] = places.tolist()
            for index, answers in zip(chosen, answered, strict=True):
                found[index] = self._result(texts[index], prepared[index], tokens[index], answers, candidates)
        return [found[index] for index in range(len(texts))]

    def _search(
        self, scorer: NetworkScorer, sources: Tensor, lengths: Tensor, places: np.ndarray
    ) -> list[list[Hypothesis]]:
        longest = [longest_translation(length) for length in lengths.tolist()]
        state, banned = scorer.begin(sources, lengths), banned_tokens(self.task.target_vocabulary)
        if self.sampling is not None:
            return draw_translations(
                scorer,
                state,
                longest=longest,
                sampling=self.sampling,
                seeds=[self.seed + int(place) for place in places],
                banned=banned,
            )
        prefix = self._tokens(self.prefix)
        terms = [self._tokens(term) for term in self.terms]
        room = len(prefix) + sum(map(len, terms))
        longest = [one and one + room for one in longest]  # an empty text has an empty translation
        limits = Limits(
            banned,
            prefixes=[prefix if one else [] for one in longest],
            terms=[terms if one else [] for one in longest],
        )
        return beam_search(
            scorer,
            state,
            longest=longest,
            start=DOCUMENT,
            end=DOCUMENT,
            beam=self.beam,
            limits=limits,
            attends=self.align or not banned,
        )

    def _tokens(self, text: str) -> list[int]:
        return self.task.target_vocabulary.encode(normalise(text, self.task.config)).tolist() if text.strip() else []

    def _result(
        self, text: str, prepared: str, tokens: np.ndarray, answers: Sequence[Hypothesis], candidates: int
    ) -> Translation:
        best, *_ = answers
        written = [self._text(one, prepared) for one in answers[: max(candidates, 1)]]
        alternatives = [
            Alternative(said, one.score, one.log_probability) for said, one in zip(written, answers, strict=False)
        ]
        return Translation(
            text,
            written[0],
            best.score,
            best.log_probability,
            tokens=len(best.tokens),
            unknown=int(np.count_nonzero(tokens == UNKNOWN)),
            alternatives=tuple(alternatives[:candidates]),
            alignment=self._alignment(best, tokens) if self.align else None,
        )

    def _text(self, found: Hypothesis, source: str) -> str:
        words, target = self.task.source_vocabulary, self.task.target_vocabulary
        return written(found.tokens, found.attention, source=source, source_words=words, target=target)

    def _alignment(self, found: Hypothesis, tokens: np.ndarray) -> Alignment:
        assert found.attention is not None
        task = self.task
        weights = found.attention[:, : len(tokens)]
        return Alignment(
            tuple(task.source_vocabulary.piece(int(token)) for token in tokens),
            (*(task.target_vocabulary.piece(token) for token in found.tokens), END),
            tuple(tuple(row) for row in weights.tolist()),
        )
