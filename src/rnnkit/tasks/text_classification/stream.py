"""The score so far of a text that is still arriving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnkit.data.vocabulary import DOCUMENT
from rnnkit.kernels import State
from rnnkit.streaming import Question, Work, work_alone
from rnnkit.tasks.classification.network import CHUNK_STEPS
from rnnkit.tasks.text_classification.results import ScoreEvent, score_events
from rnnkit.tasks.text_classification.text import normalise
from rnnkit.tasks.text_stream import TextStream

if TYPE_CHECKING:
    from rnnkit.tasks.text_classification.task import TextClassification


class ScoreStream(TextStream):
    """A text that is still being written: after each token, what it looks like so far.

    Args:
        model: The classifier, of one direction.
        candidates: How many labels an event lists.
    """

    def __init__(self, model: TextClassification, *, candidates: int = 5) -> None:
        self.model, self.candidates = model, candidates
        model.network.eval()
        super().__init__(model.vocabulary, model.fingerprint)

    def normalise(self, chunk: str) -> str:
        return normalise(chunk, self.model.config)

    def begin(self) -> None:
        self._state: State = self.model.network.initial_state(1)
        work_alone(self.reading([DOCUMENT], shown=False))

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(self.model.network.state_names, self._state, strict=True))

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        self._state = tuple(tensors[name] for name in self.model.network.state_names)

    def reading(self, ids: list[int], *, shown: bool = True) -> Work:
        found: list[ScoreEvent] = []
        for first in range(0, len(ids), CHUNK_STEPS):
            some = ids[first : first + CHUNK_STEPS]
            answers, self._state = yield Question(self.model.answering, torch.tensor([some]), self._state)
            if shown:
                pieces, names = [self.vocabulary.piece(token) for token in some], self.model.labels.names
                found += score_events(pieces, answers[0].numpy(), names, count=self.candidates)
        return found
