"""Text that is still arriving: one event a token, its surprise and what is likely next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnkit.data.vocabulary import DOCUMENT
from rnnkit.kernels import State
from rnnkit.streaming import Question, Work, work_alone
from rnnkit.tasks.language_model.results import Candidate, TokenEvent, likeliest
from rnnkit.tasks.language_model.scoring import chunk_length
from rnnkit.tasks.text_stream import TextStream

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel


class LanguageStream(TextStream):
    """A document that is still being written.

    Args:
        model: The language model.
        candidates: How many likely next tokens an event lists.
    """

    def __init__(self, model: LanguageModel, *, candidates: int = 5) -> None:
        self.model = model
        self.candidates = candidates
        model.network.eval()
        super().__init__(model.vocabulary, model.fingerprint)

    @property
    def next(self) -> tuple[Candidate, ...]:
        """The likeliest next tokens after all that has been read."""
        return likeliest(self._following, self.vocabulary, count=self.candidates)

    def begin(self) -> None:
        self._state: State = self.model.network.stack.initial_state(1)
        work_alone(self.reading([DOCUMENT], shown=False))

    def tensors(self) -> dict[str, Tensor]:
        names = self.model.network.stack.state_names
        return {"following": self._following, **dict(zip(names, self._state, strict=True))}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        self._following = tensors["following"]
        self._state = tuple(tensors[name] for name in self.model.network.stack.state_names)

    def reading(self, ids: list[int], *, shown: bool = True) -> Work:
        """Read tokens: one event each, unless they are not to be shown."""
        step, events = chunk_length(self.model.network, 1), []
        for start in range(0, len(ids), step):
            some = ids[start : start + step]
            inputs = torch.tensor([some], device=self.model.device)
            logits, self._state = yield Question(self.model.network.following, inputs, self._state)
            following = logits[0].log_softmax(-1)  # (tokens, vocabulary_size)
            events += self._events(some, following) if shown else []
            self._following = following[-1].clone()
        return events

    def _events(self, ids: list[int], following: Tensor) -> list[TokenEvent]:
        """Turn log-probabilities after each token, (tokens, vocabulary_size), into what there is to say of it."""
        given = torch.cat([self._following[None], following[:-1]])  # (tokens, vocabulary_size), what each was given
        nats = (-given.gather(1, torch.tensor(ids, device=given.device)[:, None])[:, 0]).tolist()
        piece, vocabulary = self.vocabulary.piece, self.vocabulary
        return [
            TokenEvent(
                piece(token), surprise, surprise / math.log(2), likeliest(row, vocabulary, count=self.candidates)
            )
            for token, surprise, row in zip(ids, nats, following, strict=True)
        ]
