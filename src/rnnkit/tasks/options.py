"""Options that several tasks share: the vocabulary of a text, the stack of recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rnnkit.data.vocabulary import Vocabulary, build_vocabulary
from rnnkit.errors import ConfigError
from rnnkit.layers import LAYERS, Stack


@dataclass(frozen=True)
class VocabularyOptions:
    """What a token of a text is."""

    vocabulary: Literal["character", "byte", "word", "bpe", "unigram"] = "word"
    """What a token is."""
    vocabulary_size: int | None = None
    """The most tokens in the vocabulary; unset keeps every character and word, and chooses for bpe and unigram."""
    minimum_count: int | None = 1
    """Characters and words seen less often in training become <unk>."""
    word_split: Literal["auto", "whitespace", "punctuation"] = "auto"
    """For vocabulary word: split at white space only, or punctuation off too; auto sees if it stands apart already."""

    @property
    def least_count(self) -> int:
        """How often characters and words must occur."""
        return self.minimum_count or 1

    def learn_vocabulary(self, texts: Iterable[str]) -> Vocabulary:
        """Learn the vocabulary that the options name from training texts."""
        return build_vocabulary(
            self.vocabulary,
            texts,
            size=self.vocabulary_size,
            minimum_count=self.least_count,
            word_split=self.word_split,
        )


@dataclass(frozen=True)
class TableOptions:
    """How a table is read."""

    delimiter: str | None = None
    """What stands between the cells of a table; unset finds it out."""
    header: Literal["auto", "present", "absent"] = "auto"
    """Whether a table's first row names the columns."""

    def check_table(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigError: If one is.
        """
        if self.cell_delimiter is not None and len(self.cell_delimiter) != 1:
            raise ConfigError(f"delimiter is {self.delimiter!r}; expected one character (\\t is a tab)")

    @property
    def cell_delimiter(self) -> str | None:
        """The delimiter itself; on a command line a tab is written as two characters."""
        return None if self.delimiter is None else self.delimiter.replace("\\t", "\t")


@dataclass(frozen=True)
class StackOptions:
    """Which recurrent layers, how many, how large, and what is dropped in them."""

    layer: str = "lstm"
    """Kind of recurrent layer: lstm, gru, rnn, relu-rnn, or a variant of them (rnnkit.LAYERS names all)."""
    num_layers: int = 1
    """Layers on top of each other."""
    hidden_size: int = 128
    """Units in each layer."""
    residual: bool = False
    """Add each layer's input to its output where the sizes agree."""
    norm: Literal["layer", "rms"] | None = None
    """Normalise the input of the second and later layers."""
    dropout: float = 0.3
    """Share of features dropped between layers and before the output, the same ones at every step."""
    input_dropout: float = 0.0
    """Share of the features of each step's input dropped, the same ones at every step."""
    weight_dropout: float = 0.0
    """Share of the recurrent weights dropped in each batch (Merity et al. 2018)."""
    variational_dropout: float = 0.0
    """Share of the state dropped on its way into the recurrent matrix (Gal and Ghahramani 2016)."""
    zoneout: float = 0.0
    """Share of the state's units that keep their value from the step before (Krueger et al. 2017)."""
    projection_size: int | None = None
    """Project each LSTM layer's output and recurrent state to this size (Sak et al. 2014); unset does not."""
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    """Orthogonal recurrent and Glorot input matrices, or torch's uniform ones."""
    forget_bias: float | None = None
    """Initial bias of the forget gate; unset is 1."""
    learn_initial_state: bool = False
    """Learn the state a sequence begins with."""
    checkpoint_every: int | None = None
    """Keep the state only every so many steps in training and recompute the rest, to save memory; unset keeps all."""

    def check_stack(self) -> None:
        """Refuse values outside their range; layers check their own options.

        Raises:
            ConfigError: If one is.
        """
        if self.layer not in LAYERS:
            raise ConfigError(f"layer is {self.layer!r}; expected one of {', '.join(LAYERS)}")
        refuse_outside(self, ("num_layers", "hidden_size"), least=1)
        refuse_outside(self, ("dropout", "input_dropout"), least=0, below=1)

    def make_stack(self, input_size: int, *, bidirectional: bool = False) -> Stack:
        """Make the stack of layers for inputs of some size."""
        return Stack(
            LAYERS[self.layer],
            input_size,
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=bidirectional,
            residual=self.residual,
            norm=self.norm,
            dropout=self.dropout,
            options=self.layer_options(),
        )

    def layer_options(self) -> dict[str, object]:
        """Return the options that every layer gets, without those that are not set."""
        names = ("weight_dropout", "variational_dropout", "zoneout", "projection_size", "initialization")
        names += ("forget_bias", "learn_initial_state", "checkpoint_every")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def refuse_no_share(config: Any, name: str, *, below: float = 1.0) -> None:
    """Refuse a share that is nothing or all.

    Args:
        config: Has the option.
        name: Of the option.
        below: The share is less than this.

    Raises:
        ConfigError: If it is outside, naming it.
    """
    if not 0 < getattr(config, name) < below:
        raise ConfigError(f"{name} is {getattr(config, name)}; expected a share in (0, {below:g})")


def refuse_odd_halves(config: Any) -> None:
    """Refuse a bidirectional stack that each direction has no half of.

    Args:
        config: Has `hidden_size` and `bidirectional`.

    Raises:
        ConfigError: If its units are odd in number.
    """
    if config.bidirectional and config.hidden_size % 2:
        raise ConfigError(f"hidden_size is {config.hidden_size}; expected an even number, half of it a direction")


def refuse_outside(config: Any, names: Iterable[str], *, least: float, below: float = math.inf) -> None:
    """Refuse values outside a range; None is in every range.

    Args:
        config: Has the options.
        names: Of the options.
        least: The smallest value allowed.
        below: The values allowed are less than this.

    Raises:
        ConfigError: If one is outside, naming it.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not least <= value < below:
            expected = f"a share in [{least:g}, {below:g})" if below == 1 else f"{least:g} or more"
            raise ConfigError(f"{name} is {value}; expected {expected}")
