"""Text that is still arriving: tokens are taken as soon as nothing that follows can change them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from rnnkit.data.vocabulary import Vocabulary
from rnnkit.errors import StreamError
from rnnkit.streaming import Stream, Work, pack_state, unpack_state


class TextStream(Stream):
    """A text that is still being written, in pieces of any size: an event for each token that is certain.

    Text whose tokens depend on what follows waits for it.

    Args:
        vocabulary: Cuts it into tokens.
        fingerprint: Of the model.
    """

    def __init__(self, vocabulary: Vocabulary, fingerprint: str) -> None:
        self.vocabulary, self.fingerprint = vocabulary, fingerprint
        self._pending, self._finished = "", False
        self.begin()

    @abstractmethod
    def begin(self) -> None:
        """Set the state to that before a text."""

    @abstractmethod
    def reading(self, ids: list[int]) -> Work:
        """Read tokens and return one event each."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name."""

    @abstractmethod
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the state over."""

    def reset(self) -> None:
        """Begin a new text."""
        self._pending, self._finished = "", False
        self.begin()

    def taking(self, chunk: str) -> Work:
        if self._finished:
            raise StreamError("push after finish: reset() begins a new text")
        self._pending += self.normalise(chunk)
        cut = self.vocabulary.safe_cut(self._pending)
        ready, self._pending = self._pending[:cut], self._pending[cut:]
        return (yield from self._read(ready))

    def normalise(self, chunk: str) -> str:
        """Prepare a piece of text as the model's own texts were, character by character."""
        return chunk

    def ending(self) -> Work:
        self._finished = True
        ready, self._pending = self._pending, ""
        return (yield from self._read(ready))

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        facts = {"model": self.fingerprint, "pending": self._pending, "finished": str(int(self._finished))}
        return pack_state(self.tensors(), facts)

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """
        tensors, facts = unpack_state(state, model=self.fingerprint, like=self.tensors())
        if not {"pending", "finished"} <= facts.keys():
            raise StreamError(f"the stream's state has only the facts {', '.join(facts)}: reset the stream")
        self.take(tensors)
        self._pending, self._finished = facts["pending"], facts["finished"] == "1"

    def _read(self, text: str) -> Work:
        return (yield from self.reading(self.vocabulary.encode(text).tolist())) if text else []
