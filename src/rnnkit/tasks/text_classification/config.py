"""The options of a classifier of texts."""

from dataclasses import dataclass

from rnnkit.data.examples import Columns
from rnnkit.errors import ConfigError
from rnnkit.tasks.classification import ClassificationOptions
from rnnkit.tasks.options import TableOptions, VocabularyOptions, refuse_outside


@dataclass(frozen=True)
class TextClassificationConfig(TableOptions, ClassificationOptions, VocabularyOptions):
    """How texts are read and how large the network is; the defaults suit some thousand sentences on a laptop."""

    text_column: str | None = None
    """Heading, number (from 1) or JSON key of the text; unset finds it out."""
    label_column: str | None = None
    """Heading, number (from 1) or JSON key of the label; unset finds it out."""
    label_separator: str | None = None
    """What stands between the labels of a cell, where a text may have any number of them; unset makes it one label."""
    minimum_count: int | None = None
    """Characters and words seen less often in training become <unk>; unset is 2 for words, 1 for characters."""
    lowercase: bool = True
    """Read capital letters as small ones."""
    vectors: str | None = None
    """A file of word vectors to begin with (.txt or .vec, a word and its numbers a line); unset draws them."""
    embedding_size: int = 128
    """Size of a token's vector."""
    embedding_dropout: float = 0.5
    """Share of the vocabulary dropped from the input in each batch."""
    dropout: float = 0.5
    direct: bool = True
    """Add what words and pairs of words say of the labels by counting (naive Bayes), on a scale that validation data
    chooses when training is over."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_classification()
        self.check_table()
        refuse_outside(self, ("embedding_size", "minimum_count"), least=1)
        refuse_outside(self, ("embedding_dropout",), least=0, below=1)
        if self.vectors is not None and self.vocabulary != "word":
            raise ConfigError(f"vectors is given and vocabulary is {self.vocabulary!r}; expected 'word' with vectors")
        if self.label_separator == "":
            raise ConfigError("label_separator is empty; expected the characters that stand between two labels")

    @property
    def least_count(self) -> int:
        """How often characters and words must occur: a word seen once tells little, and teaches what <unk> is."""
        return self.minimum_count or (2 if self.vocabulary == "word" else 1)

    @property
    def columns(self) -> Columns:
        """Where text and label stand."""
        return Columns(self.text_column, self.label_column, self.cell_delimiter, self.header, self.label_separator)
