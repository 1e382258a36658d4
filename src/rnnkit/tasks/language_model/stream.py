"""Text that is still arriving: one event a token, its surprise and what is likely next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnkit.data.vocabulary import DOCUMENT
from rnnkit.errors import StreamError
from rnnkit.kernels import State
from rnnkit.streaming import Stream, pack_state, unpack_state
from rnnkit.tasks.language_model.results import Candidate, TokenEvent, likeliest
from rnnkit.tasks.language_model.scoring import chunk_length

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel


class LanguageStream(Stream):
    """A document that is still being written.

    Args:
        model: The language model.
        candidates: How many likely next tokens an event lists.
    """

    def __init__(self, model: LanguageModel, *, candidates: int = 5) -> None:
        self.model = model
        self.candidates = candidates
        model.network.eval()
        self.reset()

    @property
    def next(self) -> tuple[Candidate, ...]:
        """The likeliest next tokens after all that has been read."""
        return likeliest(self._following, self.model.vocabulary, count=self.candidates)

    def reset(self) -> None:
        """Begin a new document."""
        self._pending = ""
        self._finished = False
        self._state: State = self.model.network.stack.initial_state(1)
        self._read([DOCUMENT])

    def push(self, chunk: str) -> list[TokenEvent]:
        """Take more text. Text whose tokens depend on what follows waits for it.

        Args:
            chunk: Any piece of text.

        Returns:
            One event for each token that is now certain.

        Raises:
            StreamError: If the stream was finished.
        """
        if self._finished:
            raise StreamError("push after finish: reset() begins a new document")
        self._pending += chunk
        cut = self.model.vocabulary.safe_cut(self._pending)
        ready, self._pending = self._pending[:cut], self._pending[cut:]
        return self._events(ready)

    def finish(self) -> list[TokenEvent]:
        """End the document and return the events that waited."""
        self._finished = True
        ready, self._pending = self._pending, ""
        return self._events(ready)

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        facts = {"model": self.model.fingerprint, "pending": self._pending, "finished": str(int(self._finished))}
        return pack_state(self._tensors(), facts)

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """
        tensors, facts = unpack_state(state, model=self.model.fingerprint, like=self._tensors())
        if not {"pending", "finished"} <= facts.keys():
            raise StreamError(f"the stream's state has only the facts {', '.join(facts)}: reset the stream")
        self._following = tensors.pop("following")
        self._state = tuple(tensors[name] for name in self.model.network.stack.state_names)
        self._pending, self._finished = facts["pending"], facts["finished"] == "1"

    def _tensors(self) -> dict[str, Tensor]:
        names = self.model.network.stack.state_names
        return {"following": self._following, **dict(zip(names, self._state, strict=True))}

    def _events(self, text: str) -> list[TokenEvent]:
        ids = self.model.vocabulary.encode(text).tolist() if text else []
        step = chunk_length(self.model.network, 1)
        return [event for start in range(0, len(ids), step) for event in self._chunk(ids[start : start + step])]

    def _chunk(self, ids: list[int]) -> list[TokenEvent]:
        before = self._following
        following = self._read(ids)
        given = torch.cat([before[None], following[:-1]])  # (tokens, vocabulary_size), what each token was given
        nats = (-given.gather(1, torch.tensor(ids, device=given.device)[:, None])[:, 0]).tolist()
        piece, vocabulary = self.model.vocabulary.piece, self.model.vocabulary
        return [
            TokenEvent(
                piece(token), surprise, surprise / math.log(2), likeliest(row, vocabulary, count=self.candidates)
            )
            for token, surprise, row in zip(ids, nats, following, strict=True)
        ]

    def _read(self, ids: list[int]) -> Tensor:
        """Feed tokens; return the log-probabilities after each, (tokens, vocabulary_size)."""
        with torch.inference_mode():
            logits, self._state = self.model.network(torch.tensor([ids], device=self.model.device), self._state)
            following = logits[0].float().log_softmax(-1)  # (tokens, vocabulary_size)
        self._following = following[-1].clone()
        return following
