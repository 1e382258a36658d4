"""What a character language model makes of a sentence up to each word (Akbik et al. 2018): learnt from raw text."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.data.ragged import in_batches
from rnnkit.data.tokens import DOCUMENT, Vocabulary
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.data.vocabulary import save as save_vocabulary
from rnnkit.errors import CheckpointError, ConfigError
from rnnkit.kernels import State
from rnnkit.tasks.language_model import LanguageModel
from rnnkit.tasks.language_model.config import LanguageModelConfig

KINDS = ("character", "byte")
ROWS, STEPS = 64, 32_768  # of a batch


class LanguageReader(nn.Module):
    """A language model's state after each word; its weights stay as they are.

    A sentence is read as its words with a space between.

    Args:
        config: Of the language model.
        vocabulary: Of characters or bytes.

    Raises:
        ConfigError: If the language model reads other tokens.
    """

    def __init__(self, config: LanguageModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        if vocabulary.kind not in KINDS:
            raise ConfigError(
                f"the language model to go on from reads tokens of kind {vocabulary.kind!r}; "
                "expected 'character': train one with --vocabulary character"
            )
        self.config, self.vocabulary = config, vocabulary
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.stack = config.make_stack(config.embedding_size)
        self.requires_grad_(False)

    @classmethod
    def of(cls, model: LanguageModel) -> Self:
        """Take a trained language model's vectors and layers."""
        reader = cls(model.config, model.vocabulary)
        reader.embedding.weight.copy_(model.network.token_vectors())
        reader.stack.load_state_dict(copy.deepcopy(model.network.stack.state_dict()))
        return reader.to(model.network.device)

    @property
    def output_size(self) -> int:
        """Features of a word."""
        return self.stack.output_size

    def train(self, mode: bool = True) -> Self:
        """Stay as in use: what does not learn drops nothing."""
        del mode
        return super().train(False)

    def initial_state(self, batch: int) -> State:
        """Return the state before a sentence, DOCUMENT read."""
        tokens = torch.full((batch, 1), DOCUMENT, device=self.embedding.weight.device)
        return self.stack(self.embedding(tokens))[1]

    def read(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Read whole sentences.

        Args:
            sentences: Words of each.

        Returns:
            (words, output_size) float32 of each.
        """
        encoded = [self.encode(words, first=True) for words in sentences]
        lengths = np.array([len(tokens) for tokens, _ in encoded], dtype=np.int64)
        found: list[np.ndarray] = [np.empty(0)] * len(sentences)
        with torch.inference_mode():
            for places in in_batches(lengths, batch_size=ROWS, most_steps=STEPS):
                some: list[int] = places.tolist()
                rows = nn.utils.rnn.pad_sequence([encoded[place][0] for place in some], batch_first=True)
                tokens = rows.to(self.embedding.weight.device)
                state = self.initial_state(len(some))
                outputs, _ = self.stack(self.embedding(tokens), state, torch.from_numpy(lengths[places]))
                for row, place in zip(outputs, some, strict=True):
                    found[place] = row[encoded[place][1]].float().cpu().numpy()
        return found

    def running(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Read on: (batch, time) tokens -> (batch, time, output_size), and the state after the last."""
        return self.stack(self.embedding(tokens), state)

    def encode(self, words: Sequence[str], *, first: bool) -> tuple[Tensor, Tensor]:
        """Turn words into tokens, a space before each but the first of a sentence.

        Args:
            words: At least one.
            first: Whether a sentence begins with them.

        Returns:
            (time,) tokens, and (words,) where each word ends.
        """
        parts = [
            self.vocabulary.encode(word if first and not place else f" {word}") for place, word in enumerate(words)
        ]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64) - 1
        tokens = np.concatenate([np.empty(0, dtype=np.int32), *parts]).astype(np.int64)
        return torch.from_numpy(tokens), torch.from_numpy(ends)

    def save(self, folder: Path) -> None:
        """Write language-model.json and characters.json."""
        (folder / "language-model.json").write_text(json.dumps(asdict(self.config)))
        save_vocabulary(self.vocabulary, folder / "characters.json")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Rebuild what `save` wrote, with new weights; None where there is none.

        Returns:
            The reader.

        Raises:
            CheckpointError: If a file is damaged.
        """
        path = folder / "language-model.json"
        if not path.is_file():
            return None
        try:
            config = LanguageModelConfig(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise CheckpointError(f"{path} cannot be read ({error!r}); copy the model again") from error
        return cls(config, load_vocabulary(folder / "characters.json"))
