"""Speech that is still arriving: the text so far, and final texts where segments end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.errors import DataError, StreamError
from rnnkit.streaming import Stream, Work, pack_state, unpack_state
from rnnkit.tasks.speech.endpoint import Endpoints
from rnnkit.tasks.speech.listener import Listener
from rnnkit.tasks.speech.results import SpeechEvent
from rnnkit.tasks.speech.search import Search
from rnnkit.tasks.speech.text import step_seconds, words, written

if TYPE_CHECKING:
    from rnnkit.tasks.speech.task import SpeechRecognition


class SpeechStream(Stream):
    """Sound that is still arriving. What is final does not depend on how it was cut into pieces.

    A chunk is (samples,) in [-1, 1] at the model's sample rate. Its events are the final texts of the segments that end
    in it, and the partial text where it has changed.

    Args:
        model: The recogniser, of one direction.
        search: How to look for the likeliest text.
        endpoints: When a segment's text is final.
    """

    def __init__(
        self,
        model: SpeechRecognition,
        *,
        search: Search = Search(),  # noqa: B008 - frozen
        endpoints: Endpoints = Endpoints(),  # noqa: B008 - frozen
    ) -> None:
        self.model, self.endpoints = model, endpoints
        self.decoder = model.decoder(search)
        self._fresh = self.decoder.state()
        self._listener = Listener(model)
        self._step_seconds = step_seconds(model.config)
        self._begin()

    def reset(self) -> None:
        """Begin a new sequence."""
        self._listener.reset()
        self.decoder.restore(self._fresh)
        self._begin()

    def _begin(self) -> None:
        self._first = 0  # step of the segment
        self._shown, self._finished = "", False

    def taking(self, chunk: Sequence[float] | np.ndarray) -> Work:
        if self._finished:
            raise StreamError("push after finish: reset() begins a new sequence")
        samples = np.asarray(chunk, dtype=np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            what = f"sound of the shape {samples.shape}" if samples.ndim != 1 else "a sample that is not finite"
            raise DataError(f"the stream got {what}; expected (samples,) finite numbers in [-1, 1].")
        rows = yield from self._listener.taking(samples)
        return [*self._decode(rows), *self._partial()]

    def ending(self) -> Work:
        """End the sequence: what the network still has to say is said, and the last text is final."""
        if self._finished:
            return []
        events = self._decode((yield from self._listener.ending()))
        self._finished = True
        return [*events, *self._final("the end")]

    def _decode(self, scores: np.ndarray) -> list[SpeechEvent]:
        """Take scores step by step, for any may end the segment."""
        events: list[SpeechEvent] = []
        for row in scores:
            self.decoder.push(row[None])
            last, after = self.decoder.last_step(), self.decoder.steps
            reason = self.endpoints.ends(
                (after - self._first) * self._step_seconds,
                since_word=0.0 if last is None else (after - 1 - last) * self._step_seconds,
                said=last is not None,
                quiet=self.decoder.quiet,
            )
            if reason is not None:
                events += self._final(reason)
        return events

    def _final(self, reason: str) -> list[SpeechEvent]:
        """End the segment; one in which nothing was said leaves no event."""
        said = self.decoder.answers(ended=True)[0].said
        start, end = self._first * self._step_seconds, self.decoder.steps * self._step_seconds
        self.decoder.begin()
        self._first, self._shown = self.decoder.steps, ""
        text = written(self.model.vocabulary, said)
        if not text:
            return []
        end = min(end, self._listener.seconds)
        found = words(self.model.vocabulary, said, step_seconds=self._step_seconds, most=self._listener.seconds)
        return [SpeechEvent("final", text, round(start, 3), round(end, 3), len(text), found, reason)]

    def _partial(self) -> list[SpeechEvent]:
        best, vocabulary = self.decoder.answers()[0], self.model.vocabulary
        text = written(vocabulary, best.said)
        if text == self._shown:
            return []
        self._shown = text
        certain = vocabulary.decode(one.token for one in best.said[: self.decoder.certain()]).lstrip()
        start = round(self._first * self._step_seconds, 3)
        return [SpeechEvent("partial", text, start, round(self._listener.seconds, 3), min(len(certain), len(text)))]

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        place = {"first": self._first, "shown": self._shown, "finished": self._finished}
        facts = {"decoder": json.dumps(self.decoder.state()), "place": json.dumps(place)}
        return pack_state(self._listener.tensors(), {"model": self.model.fingerprint, **facts})

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned; search and end points are this stream's.

        Raises:
            StreamError: If the bytes are damaged, or from another model, version or search.
        """
        tensors, facts = unpack_state(state, model=self.model.fingerprint, like=self._listener.tensors())
        if not {"decoder", "place"} <= facts.keys():
            raise StreamError(f"the stream's state has only the facts {', '.join(facts)}: reset the stream")
        decoder, place = json.loads(facts["decoder"]), json.loads(facts["place"])
        if decoder.keys() != self._fresh.keys():
            raise StreamError("the stream's state is of another search (greedy, or a beam): reset the stream")
        self._listener.take(tensors)
        self.decoder.restore(decoder)
        self._first, self._shown, self._finished = place["first"], place["shown"], place["finished"]
