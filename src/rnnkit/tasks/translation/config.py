"""The options of a translator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from rnnkit.data.pairs import PairColumns
from rnnkit.data.subwords import suggested_subword_size
from rnnkit.data.vocabulary import Vocabulary
from rnnkit.tasks.options import (
    StackOptions,
    TableOptions,
    VocabularyOptions,
    refuse_no_share,
    refuse_odd_halves,
    refuse_outside,
)
from rnnkit.tasks.translation.text import SUBWORDS


@dataclass(frozen=True)
class TranslationConfig(TableOptions, StackOptions, VocabularyOptions):
    """How pairs are read and how large the network is; the defaults suit some ten thousand pairs on a laptop."""

    source_column: str | None = None
    """Heading, number (from 1) or JSON key of the source; unset is the first column."""
    target_column: str | None = None
    """Heading, number (from 1) or JSON key of the translation; unset is the second column."""
    normalization: Literal["nfc", "nfkc", "none"] = "nfc"
    """Unicode form that both sides are brought to."""
    lowercase: bool = False
    """Read and write capital letters as small ones."""
    valid_share: float = 0.02
    """Share of the pairs kept for validation where no file is given; those of one source stay together."""
    max_length: int = 128
    """Pairs with more tokens on a side are not learnt from."""
    max_ratio: float = 4.0
    """Pairs with so many times the tokens on one side, and ten more, are not learnt from."""
    vocabulary: Literal["character", "byte", "word", "bpe", "unigram"] = "bpe"
    joint: bool = True
    """Whether both sides share one vocabulary and its vectors."""
    subword_dropout: float = 0.0
    """Of vocabulary bpe: share of the merges left out at random in training (Provilkov et al. 2020); learns slowly."""
    layer: str = "gru"
    num_layers: int = 2
    hidden_size: int = 256
    """Units of each layer; of a bidirectional encoder, half of them read backwards."""
    bidirectional: bool = True
    """Read the source backwards too."""
    embedding_size: int = 256
    """Size of a token's vector."""
    tied: bool = True
    """Score tokens by the target's vectors (Press and Wolf 2017); with one vocabulary all three are one matrix."""
    attention: Literal["additive", "dot", "general", "multi-head"] = "multi-head"
    """How source words are scored: by a small network (Bahdanau et al. 2015), a product, a product with a matrix (Luong
    et al. 2015), or several products side by side (Vaswani et al. 2017)."""
    heads: int = 4
    """Of multi-head attention."""
    input_feeding: bool = False
    """Let the decoder read what it said last (Luong et al. 2015); training then computes step after step."""
    bridge: bool = True
    """Begin the decoder with a projection of what the encoder says, not with zeros."""
    embedding_dropout: float = 0.1
    """Share of the vocabulary dropped from the inputs in each batch."""
    scheduled_sampling: float = 0.0
    """Share of the words that the decoder reads in training which it said itself (Mihaylova and Martins 2019)."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_stack()
        self.check_table()
        refuse_outside(self, ("embedding_size", "heads", "max_length", "minimum_count", "max_ratio"), least=1)
        shares = ("embedding_dropout", "subword_dropout", "scheduled_sampling")
        refuse_outside(self, shares, least=0, below=1)
        refuse_no_share(self, "valid_share")
        refuse_odd_halves(self)

    def learn_vocabulary(self, texts: Iterable[str]) -> Vocabulary:
        """Learn the vocabulary that the options name, of subwords twice a language model's, for shorter lines."""
        if self.vocabulary not in SUBWORDS or self.vocabulary_size is not None:
            return super().learn_vocabulary(texts)
        texts = list(texts)
        size = 2 * suggested_subword_size(sum(len(text.encode("utf-8", "replace")) for text in texts))
        return replace(self, vocabulary_size=size).learn_vocabulary(texts)

    @property
    def columns(self) -> PairColumns:
        """Where the two sides stand."""
        return PairColumns(self.source_column, self.target_column, self.cell_delimiter, self.header)
