"""A text that a language model writes on, a token at a time: many can be written as one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from rnnkit.data.vocabulary import DOCUMENT
from rnnkit.decoding.search import Sampling, draw, row_generators
from rnnkit.kernels import State
from rnnkit.streaming import Question, Work
from rnnkit.tasks.language_model.generation import Writer, never_written
from rnnkit.tasks.language_model.results import WrittenToken, likeliest
from rnnkit.tasks.language_model.scoring import chunk_length

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel


class Writing:
    """Writes on from a prompt what `LanguageModel.generate` would with the same seed.

    Its `reading` is worked first, then `writing` for each token until `done`.

    Args:
        model: The language model.
        prompt: May be empty.
        sampling: How tokens are drawn.
        stop: Strings that end the text.
        seed: Of the draws.
        candidates: How many likely tokens to name beside each.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: str,
        *,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        stop: Sequence[str] = (),
        seed: int = 0,
        candidates: int = 5,
    ) -> None:
        model.network.eval()
        self.model, self.sampling, self.candidates = model, sampling, candidates
        self._prompt = [DOCUMENT, *model.vocabulary.encode(prompt).tolist()]
        self._seen = [*self._prompt[1:-1], self._prompt[-1]]
        self._state: State = model.network.stack.initial_state(1)
        self._writer, self._generators = Writer(model, stop), row_generators(seed, 1)

    @property
    def done(self) -> bool:
        """Whether the text has ended."""
        return self._writer.done

    def reading(self) -> Work:
        """Read the prompt."""
        step = chunk_length(self.model.network, 1)
        for start in range(0, len(self._prompt), step):
            yield from self._read(self._prompt[start : start + step])
        return []

    def writing(self) -> Work:
        """Write a token: its event, and none once the text has ended."""
        if self.done:
            return []
        with torch.inference_mode():
            ids, sure = draw(
                self._logits,
                [self._seen],
                self.sampling,
                self._generators,
                banned=never_written(self.model),
                drawn=len(self._seen) - len(self._prompt),
            )
            likely = likeliest(self._logits[0].log_softmax(-1), self.model.vocabulary, count=self.candidates)
        token = int(ids)
        self._seen.append(token)
        text = self._writer.push(token)
        if not self.done:
            yield from self._read([token])
        piece = self.model.vocabulary.piece(token)
        return [WrittenToken(text, piece, math.exp(float(sure)), likely)]

    def ending(self) -> str:
        """End the text here, and return what of it waited for more."""
        return self._writer.finish()

    def _read(self, tokens: list[int]) -> Work:
        inputs = torch.tensor([tokens], device=self.model.device)
        logits, self._state = yield Question(self.model.network.following, inputs, self._state)
        self._logits = logits[:, -1].clone()  # (1, vocabulary_size)
