"""The tags of a text that is still arriving, each final a few words later."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnnkit.data.schemes import OUTSIDE, split_tag
from rnnkit.decoding.fixed_lag import Decided, FixedLag
from rnnkit.errors import StreamError
from rnnkit.kernels import State
from rnnkit.streaming import Question, Stream, Work, pack_state, unpack_state
from rnnkit.tasks.tagging.answering import batch_of
from rnnkit.tasks.tagging.results import TagEvent

if TYPE_CHECKING:
    from rnnkit.tasks.tagging.task import Tagging

LAST_SPACE = re.compile(r".*\s", re.DOTALL)
WAITING = "waiting"


class TagStream(Stream):
    """A text that is still being written: a line is a sentence, a word is read once a space follows it.

    A chunk is any piece of text. An event tells of a word whose tag is final now.

    Args:
        model: The tagger, of one direction.
    """

    def __init__(self, model: Tagging) -> None:
        self.model = model
        model.network.eval()
        self.fingerprint = model.fingerprint
        self.decoder = FixedLag(*model.chain.arrays(), lag=model.config.lag)
        self.reset()

    def reset(self) -> None:
        """Begin a new text."""
        self._pending, self._place, self._finished = "", 0, False
        self._begin_sentence()

    def _begin_sentence(self) -> None:
        network = self.model.network
        self._state: State = network.initial_state(1)
        self._reading: State = network.reader.initial_state(1) if network.reader else ()
        self._first = True  # no word of the sentence has been read
        self.decoder.reset()
        self._words: list[tuple[str, int, int]] = []  # read, and their tags not final
        self._before: int | None = None  # the tag that became final last
        self._entity = 0  # where the entity that is open began

    def taking(self, chunk: str) -> Work:
        if self._finished:
            raise StreamError("push after finish: reset() begins a new text")
        self._pending += chunk
        whole = LAST_SPACE.match(self._pending)
        return (yield from self._read(whole.end())) if whole else []

    def ending(self) -> Work:
        self._finished = True
        events = yield from self._read(len(self._pending))
        return events + self._end_sentence()

    def _read(self, count: int) -> Work:
        """Read the first characters of what is pending."""
        ready, self._pending = self._pending[:count], self._pending[count:]
        events: list[TagEvent] = []
        for line in ready.splitlines(keepends=True) if "\n" not in ready else re.findall(r"[^\n]*\n|[^\n]+", ready):
            events += yield from self._read_words(line)
            self._place += len(line)
            if line.endswith("\n"):
                events += self._end_sentence()
        return events

    def _read_words(self, line: str) -> Work:
        places = self.model.rules.split(line)
        if not places:
            return []
        words = [line[start:end] for start, end in places]
        inputs, batch, _ = batch_of([words], self.model)
        network, context = self.model.network, None
        if network.reader is not None:
            tokens, ends = network.reader.encode(words, first=self._first)
            said, self._reading = yield Question(network.reader.running, tokens[None].to(network.device), self._reading)
            context = said[:, ends]
        with torch.inference_mode():
            features = network.features(inputs, batch, context)
        scores, self._state = yield Question(network.running, features, self._state)
        self._first = False
        rows = (scores[0].float() / self.model.temperature).cpu().numpy()
        events = []
        for row, word, (start, end) in zip(rows, words, places, strict=True):
            self._words.append((word, self._place + start, self._place + end))
            decided = self.decoder.push(row)
            events += [self._event(decided)] if decided else []
        return events

    def _end_sentence(self) -> list[TagEvent]:
        events = [self._event(decided) for decided in self.decoder.finish()]
        self._begin_sentence()
        return events

    def _event(self, decided: Decided) -> TagEvent:
        number, probability = decided
        text, start, end = self._words.pop(0)
        tags = self.model.tags
        prefix, kind = split_tag(tags.names[number]) if tags.scheme else (OUTSIDE, "")
        if prefix in "BS":
            self._entity = start
        ends = prefix in "ES"
        tag, self._before = tags.write_one(number, self._before), number
        return TagEvent(text, start, end, tag, probability, kind if ends else None, self._entity if ends else None)

    # The state

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name."""
        parts = dict(zip(self.model.network.state_names, self._state, strict=True))
        parts |= {f"reader.{place}": part for place, part in enumerate(self._reading)}
        arrays = {name: torch.from_numpy(array.copy()) for name, array in self.decoder.arrays().items()}
        return parts | {f"decoder.{name}": tensor for name, tensor in arrays.items()}

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        facts: dict[str, Any] = {"pending": self._pending, "place": self._place, "finished": self._finished}
        facts |= {WAITING: self._words, "before": self._before, "entity": self._entity, "first": self._first}
        return pack_state(self.tensors(), {"model": self.fingerprint, "facts": json.dumps(facts)})

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """
        tensors, packed = unpack_state(state, model=self.fingerprint, like=self.tensors())
        try:
            facts = json.loads(packed["facts"])
            words = [(str(text), int(start), int(end)) for text, start, end in facts[WAITING]]
            pending, place, finished = str(facts["pending"]), int(facts["place"]), bool(facts["finished"])
            first, before = bool(facts["first"]), facts["before"]
            before, entity = None if before is None else int(before), int(facts["entity"])
        except (KeyError, ValueError, TypeError) as error:
            raise StreamError(
                f"the facts of the stream's state cannot be read ({error!r}): reset the stream"
            ) from error
        self._take(tensors)
        self._words, self._pending, self._place = words, pending, place
        self._finished, self._before, self._entity, self._first = finished, before, entity, first

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        self._state = tuple(tensors[name] for name in self.model.network.state_names)
        self._reading = tuple(tensors[f"reader.{place}"] for place in range(len(self._reading)))
        prefix = "decoder."
        self.decoder.take(
            {name.removeprefix(prefix): tensors[name].cpu().numpy() for name in tensors if name.startswith(prefix)}
        )
