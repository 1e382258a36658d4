"""Language models, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnkit.data.tokens import DOCUMENT, UNKNOWN
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.errors import ConfigError
from rnnkit.runner.base import Runner
from rnnkit.runner.graphs import Arrays
from rnnkit.tasks.language_model.results import Candidate, TextScore, TokenScore, text_score
from rnnkit.tasks.saved import reading


class LanguageRunner(Runner):
    """A language model; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.vocabulary = load_vocabulary(folder / "vocabulary.json")
        with reading(folder / "text.json"):
            documents = json.loads((folder / "text.json").read_text())["documents"]
        self.separates_documents = documents > 1

    def predict(self, inputs: Sequence[str], *, candidates: int = 10) -> list[TextScore]:
        """Score texts and name what is likely to follow, as `LanguageModel.predict` does."""
        return [self._score(text, candidates) for text in inputs]

    def _score(self, text: str, candidates: int) -> TextScore:
        tokens = [DOCUMENT, *self.vocabulary.encode(text).tolist()]
        said = self._read(tokens, self.graph.begun)[0]
        pieces = [
            TokenScore(self.vocabulary.piece(token), -float(row[token]))
            for token, row in zip(tokens[1:], said, strict=False)
        ]
        best = np.argsort(-said[-1], kind="stable")[:candidates].tolist()
        following = tuple(Candidate(self.vocabulary.piece(token), float(np.exp(said[-1][token]))) for token in best)
        return text_score(text, pieces, following, unknown=tokens.count(UNKNOWN))

    def generate(self, prompt: str = "", *, max_tokens: int = 200) -> str:
        """Continue a prompt with the likeliest token each time, as `LanguageModel.generate` at temperature 0.

        Args:
            prompt: May be empty.
            max_tokens: The longest continuation, in tokens.

        Returns:
            The continuation, without the prompt.

        Raises:
            ConfigError: If `max_tokens` is below 1.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; expected at least 1")
        tokens, state = [DOCUMENT, *self.vocabulary.encode(prompt).tolist()], self.graph.begun
        decoder, text = self.vocabulary.decoder(), ""
        for _ in range(max_tokens):
            said, state = self._read(tokens, state)
            said[-1, UNKNOWN] = -np.inf
            if not self.separates_documents:
                said[-1, DOCUMENT] = -np.inf
            tokens = [int(said[-1].argmax())]
            if tokens == [DOCUMENT]:
                break
            text += decoder.push(tokens[0])
        return text + decoder.finish()

    def _read(self, tokens: Sequence[int], state: Arrays) -> tuple[np.ndarray, Arrays]:
        """Read tokens: (tokens, vocabulary_size) float64 log-probabilities of what follows each, and the state."""
        logits, after = self.graph.read(np.array([tokens], dtype=np.int64), state=state)
        shifted = logits[0].astype(np.float64) - logits[0].max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), after
