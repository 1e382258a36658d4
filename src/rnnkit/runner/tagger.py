"""Taggers, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from rnnkit.data.schemes import Span
from rnnkit.data.words import WordRules
from rnnkit.decoding.fixed_lag import FixedLag
from rnnkit.runner.base import Runner
from rnnkit.tasks.saved import reading
from rnnkit.tasks.tagging.features import WordFeatures
from rnnkit.tasks.tagging.lines import Line, entity_of, lines_of, text_of, with_text
from rnnkit.tasks.tagging.results import TaggedText, TaggedWord
from rnnkit.tasks.tagging.tags import TagSet


class TagRunner(Runner):
    """A tagger: Viterbi's path, or of a model of one direction the tags as a stream gives them; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.words, self.tags = WordFeatures.load(folder), TagSet.load(folder)
        with reading(folder / "text.json"):
            self.rules = WordRules.from_dict(json.loads((folder / "text.json").read_text())["rules"])
        with reading(folder / "temperature.json"):
            self.temperature = float(json.loads((folder / "temperature.json").read_text()))
        with reading(folder / "chain.npz"), np.load(folder / "chain.npz", allow_pickle=False) as saved:
            self.chain = tuple(saved[name] for name in ("start", "transitions", "end"))

    def predict(self, inputs: Sequence[str | Sequence[str]]) -> list[TaggedText]:
        """Tag texts, as `Tagging.predict` does."""
        found = []
        for given in inputs:
            text, lines = text_of(given), list(lines_of(given, self.rules))
            for line in lines:
                self._tag(line)
            tagged = tuple(word for line in lines for word in line.tagged)
            entities = tuple(with_text(one, text) for line in lines for one in line.entities)
            found.append(TaggedText(text, tagged, entities, ()))
        return found

    def _tag(self, line: Line) -> None:
        seen = self.words.encode(line.words)
        read = self.graph.read(seen.ids[None], seen.characters[None], seen.lengths[None], seen.features[None])[0]
        scores = read[0] / self.temperature  # (words, tags)
        whole = FixedLag(*self.chain, lag=len(scores))
        for row in scores:
            whole.push(row)
        messages = _messages(whole, len(scores))
        decided = whole.finish()
        if not self.graph.whole:
            live = FixedLag(*self.chain, lag=self.config.lag)
            early = [live.push(row) for row in scores]
            decided = [one for one in early if one is not None] + live.finish()
        numbers = [number for number, _ in decided]
        written = self.tags.write(numbers)
        line.tagged = [
            TaggedWord(word, *place, tag, sure)
            for word, place, tag, (_, sure) in zip(line.words, line.places, written, decided, strict=True)
        ]
        for span in self.tags.spans(numbers):
            sure = self._probability(messages, span, numbers[span.first : span.end])
            line.entities.append(entity_of(line, span, sure))

    def _probability(self, messages: tuple[np.ndarray, ...], span: Span, path: Sequence[int]) -> float:
        """Return how probable it is that just these words have just these tags."""
        forward, onward, after = messages
        joint, odds = forward[span.first, path[0]], np.exp(self.chain[1])
        for place, (before, then) in enumerate(pairwise(path), start=span.first + 1):
            joint *= odds[before, then] * onward[place, then]
        last = span.end - 1
        return float(joint * after[last, path[-1]] / (forward[last] @ after[last]))


def _messages(seen: FixedLag, time: int) -> tuple[np.ndarray, ...]:
    """Return what each step's own past and odds say, and what its future says, (time, tags) each."""
    forward, onward = seen.forward[-time:], seen.onward[-time:]
    after, odds = np.empty_like(forward), np.exp(seen.transitions)
    after[-1] = np.exp(seen.end)
    for step in reversed(range(time - 1)):
        after[step] = odds @ (onward[step + 1] * after[step + 1])
    return forward, onward, after
