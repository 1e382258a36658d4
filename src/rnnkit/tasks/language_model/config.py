"""The options of a language model: its text, its network."""

from dataclasses import dataclass
from typing import Literal

from rnnkit.errors import ConfigError
from rnnkit.tasks.options import StackOptions, VocabularyOptions, refuse_no_share, refuse_outside

ADAPTIVE_VOCABULARY = 20_000


@dataclass(frozen=True)
class LanguageModelConfig(StackOptions, VocabularyOptions):
    """What a language model reads and how large it is; the defaults suit a few megabytes of text on a laptop."""

    vocabulary: Literal["character", "byte", "word", "bpe", "unigram"] = "character"
    document_separator: str | None = None
    """Text that stands between documents in a file; the state is reset there. Unset makes each file one document."""
    valid_share: float = 0.1
    """Share of the text, at its end, kept for validation where no file is given; 1,000,000 characters at most."""
    hidden_size: int = 384
    embedding_size: int = 64
    """Size of a token's vector."""
    tied: bool = True
    """Use the tokens' vectors for the output too (Press and Wolf 2017)."""
    softmax: Literal["auto", "full", "adaptive"] = "auto"
    """Over the vocabulary: full, or adaptive (Grave et al. 2017), where rare words have smaller vectors and stand in
    clusters; auto takes it above 20,000 tokens. It needs the tied vectors."""
    bptt: int = 64
    """Steps of truncated back-propagation through time; the state is carried on over them."""
    output_dropout: float | None = None
    """Share of the last layer's features dropped; unset is that of dropout."""
    embedding_dropout: float = 0.0
    """Share of the vocabulary dropped from the input in each batch."""
    activation_penalty: float = 0.0
    """Times the mean square of the last layer's dropped-out outputs is added to the loss (AR, Merity et al. 2018)."""
    change_penalty: float = 0.0
    """Times the mean square of the change of the last layer's outputs over a step is added to the loss (TAR)."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_stack()
        refuse_outside(self, ("embedding_size", "bptt", "minimum_count"), least=1)
        refuse_outside(self, ("output_dropout", "embedding_dropout"), least=0, below=1)
        refuse_outside(self, ("activation_penalty", "change_penalty"), least=0)
        if self.softmax == "adaptive" and not self.tied:
            raise ConfigError("softmax is 'adaptive' and tied false; expected tied vectors, or a full softmax")
        refuse_no_share(self, "valid_share")

    def adapts_softmax(self, vocabulary_size: int) -> bool:
        """Tell whether the softmax is adaptive with a vocabulary of this size."""
        if self.softmax == "auto":
            return self.tied and vocabulary_size > ADAPTIVE_VOCABULARY
        return self.softmax == "adaptive"
