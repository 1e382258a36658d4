"""The options of a tagger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnkit.data.tagged import TagColumns
from rnnkit.errors import ConfigError
from rnnkit.tasks.options import StackOptions, refuse_no_share, refuse_outside


@dataclass(frozen=True)
class TaggingConfig(StackOptions):
    """What the network sees of a word, how large it is, and how tags are decoded; the defaults suit 1,000 sentences."""

    text_column: str | None = None
    """Number (from 1) of the words' column, or JSON key of the text; unset finds it out."""
    label_column: str | None = None
    """Number (from 1) of the tags' column (CoNLL-U: or its name), or JSON key of spans; unset is the last column."""
    scheme: Literal["auto", "bio", "iob1", "bioes", "bilou", "plain"] = "auto"
    """How tags mark entities; plain takes every tag as it is, as parts of speech; auto sees."""
    valid_share: float = 0.1
    """Share of the sentences kept for validation where no file is given."""
    bidirectional: bool = True
    """Read the sentence backwards too; such a model needs the whole sentence and cannot stream."""
    decoder: Literal["crf", "softmax"] = "crf"
    """A linear-chain CRF (Lafferty et al. 2001) that learns which tags follow which, or each tag on its own; neither
    gives tags that the scheme does not allow."""
    lag: int = 2
    """Of a model of one direction: words after which a tag is final."""
    class_weights: Literal["balanced"] | None = None
    """Weigh rare tags up by a cost of mistaking them in the training loss (Gimpel and Smith 2010); none does not."""
    minimum_count: int = 1
    """Words seen less often in training are unknown."""
    vocabulary_size: int | None = None
    """The most words known; unset knows all, and of a file of vectors the first 200,000."""
    embedding_size: int = 64
    """Size of a word's vector."""
    word_dropout: float = 0.25
    """A word seen n times in training is read as unknown with probability this / (this + n) (Kiperwasser and
    Goldberg 2016)."""
    vectors: str | None = None
    """A file of word vectors to begin with (.txt or .vec, a word and its numbers a line); unset draws them."""
    characters: Literal["cnn", "rnn"] | None = "cnn"
    """Read each word's characters by a convolution, by layers like those of the sentence, or not at all."""
    character_size: int = 24
    """Size of a character's vector."""
    character_units: int = 48
    """Filters of the convolution over characters, or units of the layers."""
    feature_size: int = 12
    """Size of the vectors for a word's shape and for each of its beginnings and endings; 0 leaves them out."""
    direct: bool = True
    """Score tags from the shapes, beginnings and endings of a word and its neighbours directly too, as a CRF with
    features made by hand does."""
    input_dropout: float = 0.3
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_stack()
        refuse_outside(self, ("lag", "word_dropout", "feature_size"), least=0)
        refuse_outside(self, ("minimum_count", "vocabulary_size", "embedding_size"), least=1)
        refuse_outside(self, ("character_size", "character_units"), least=1)
        refuse_no_share(self, "valid_share")
        if self.direct and not self.feature_size:
            raise ConfigError("direct is on and feature_size is 0; expected features to score, or --no-direct")

    @property
    def columns(self) -> TagColumns:
        """Where words and tags stand."""
        return TagColumns(self.text_column, self.label_column)
