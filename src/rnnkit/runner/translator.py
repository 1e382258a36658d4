"""Translators, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnkit.data.texts import encode_texts
from rnnkit.data.tokens import DOCUMENT, UNKNOWN
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.runner.base import Runner
from rnnkit.tasks.translation.results import Translation
from rnnkit.tasks.translation.text import banned_tokens, joined, longest_translation, normalise, pieces_of, written


class TranslationRunner(Runner):
    """A translator: the likeliest token each time; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.source = load_vocabulary(folder / "vocabulary.json")
        self.target = self.source if self.config.joint else load_vocabulary(folder / "target-vocabulary.json")

    def predict(self, inputs: Sequence[str]) -> list[Translation]:
        """Translate texts, as `Translator.predict` does with a beam of 1."""
        pieces = (pieces_of(text, self.source, self.config) for text in inputs)
        return [joined(text, list(map(self._translation, some))) for text, some in zip(inputs, pieces, strict=True)]

    def _translation(self, text: str) -> Translation:
        prepared = normalise(text, self.config)
        (source,) = encode_texts(self.source, [prepared])
        tokens, looked, total = self._decode(source.astype(np.int64))
        said = written(tokens, looked, source=prepared, source_words=self.source, target=self.target)
        unknown = int(np.count_nonzero(source == UNKNOWN))
        score = total / ((5 + len(tokens) + 1) / 6)  # the usual penalty on length (Wu et al. 2016)
        return Translation(text, said, score, total, tokens=len(tokens), unknown=unknown)

    def _decode(self, source: np.ndarray) -> tuple[list[int], np.ndarray, float]:
        """Return tokens, what each looked at, (tokens, source_time), and their log-probability, the end's too."""
        most = longest_translation(len(source))
        (keys, values, mask, *state), _ = self.graphs["encoder"].run(source[None], np.array([len(source)]))
        tokens, looked, total, last = list[int](), list[np.ndarray](), 0.0, DOCUMENT
        banned = list(banned_tokens(self.target))
        for place in range(most + 1):
            (logs, attention), state = self.graphs["decoder"].run(np.array([[last]]), keys, values, mask, state=state)
            said = logs[0].astype(np.float64)
            allowed = said.copy()
            allowed[banned] = -np.inf
            last = DOCUMENT if place == most else int(allowed.argmax())
            total += float(said[last])
            if last == DOCUMENT:
                break
            tokens.append(last)
            looked.append(attention[0])
        return tokens, np.array(looked).reshape(len(tokens), len(source)), total
