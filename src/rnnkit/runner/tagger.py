"""Taggers, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from rnnkit.data.schemes import Span
from rnnkit.data.words import WordRules
from rnnkit.decoding.fixed_lag import DEEPEST, FixedLag
from rnnkit.runner.base import Runner, read_arrays
from rnnkit.tasks.saved import reading
from rnnkit.tasks.tagging.features import WordFeatures
from rnnkit.tasks.tagging.lines import Line, entity_of, lines_of, text_of, with_text
from rnnkit.tasks.tagging.results import TaggedText, TaggedWord
from rnnkit.tasks.tagging.tags import TagSet

Chain = tuple[np.ndarray, ...]


class TagRunner(Runner):
    """A tagger: Viterbi's path, or of a model of one direction the tags as a stream gives them; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.words, self.tags = WordFeatures.load(folder), TagSet.load(folder)
        with reading(folder / "text.json"):
            self.rules = WordRules.from_dict(json.loads((folder / "text.json").read_text())["rules"])
        with reading(folder / "temperature.json"):
            self.temperature = float(json.loads((folder / "temperature.json").read_text()))
        with reading(folder / "chain.npz"):
            saved = read_arrays(folder / "chain.npz")
            self.chain: Chain = tuple(saved[name] for name in ("start", "transitions", "end"))

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
        messages = _messages(scores, self.chain)
        if self.graph.whole:
            numbers = _best_path(scores, self.chain)
            forward, _, after = messages
            shares = forward * after / (forward * after).sum(1, keepdims=True)
            sure = shares[np.arange(len(numbers)), numbers].tolist()
        else:
            decided = FixedLag(*self.chain, lag=self.config.lag).decide(scores)
            numbers, sure = [number for number, _ in decided], [share for _, share in decided]
        written = self.tags.write(numbers)
        line.tagged = [
            TaggedWord(word, *place, tag, share)
            for word, place, tag, share in zip(line.words, line.places, written, sure, strict=True)
        ]
        for span in self.tags.spans(numbers):
            share = self._probability(messages, span, numbers[span.first : span.end])
            line.entities.append(entity_of(line, span, share))

    def _probability(self, messages: tuple[np.ndarray, ...], span: Span, path: Sequence[int]) -> float:
        """Return how probable it is that just these words have just these tags."""
        forward, onward, after = messages
        joint, odds = forward[span.first, path[0]], np.exp(self.chain[1])
        for place, (before, then) in enumerate(pairwise(path), start=span.first + 1):
            joint *= odds[before, then] * onward[place, then]
        last = span.end - 1
        return float(joint * after[last, path[-1]] / (forward[last] @ after[last]))


def _messages(scores: np.ndarray, chain: Chain) -> tuple[np.ndarray, ...]:
    """Run the forward-backward algorithm (Rabiner 1989) over one sentence.

    Args:
        scores: (words, tags).
        chain: What paths score beside their words.

    Returns:
        (words, tags) each: what a word and those before it say, a word's own odds, and what the words after it say.
    """
    start, transitions, end = map(np.exp, chain)
    odds = np.exp(np.maximum(scores - scores.max(1, keepdims=True), DEEPEST))
    forward, after = np.empty_like(odds), np.empty_like(odds)
    for word in range(len(odds)):
        reached = odds[word] * (forward[word - 1] @ transitions if word else start)
        scale = reached.sum()
        forward[word], odds[word] = reached / scale, odds[word] / scale
    after[-1] = end
    for word in reversed(range(len(odds) - 1)):
        after[word] = transitions @ (odds[word + 1] * after[word + 1])
    return forward, odds, after


def _best_path(scores: np.ndarray, chain: Chain) -> list[int]:
    """Find the likeliest tags of one sentence, (words, tags) (Viterbi 1967)."""
    start, transitions, end = chain
    best, origins = start + scores[0], list[np.ndarray]()
    for row in scores[1:]:
        every = best[:, None] + transitions
        origins.append(every.argmax(0))
        best = every.max(0) + row
    path = [int((best + end).argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]
