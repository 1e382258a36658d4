"""The options of a language model: its text, its network."""

from dataclasses import dataclass
from typing import Literal

from rnnkit.errors import ConfigError
from rnnkit.layers import LAYERS

ADAPTIVE_VOCABULARY = 20_000


@dataclass(frozen=True)
class LanguageModelConfig:
    """What a language model reads and how large it is; the defaults suit a few megabytes of text on a laptop."""

    vocabulary: Literal["character", "byte", "word", "bpe", "unigram"] = "character"
    """What a token is."""
    vocabulary_size: int | None = None
    """The most tokens in the vocabulary; unset keeps every character and word, and chooses for bpe and unigram."""
    minimum_count: int = 1
    """Characters and words seen less often in training become <unk>."""
    word_split: Literal["auto", "whitespace", "punctuation"] = "auto"
    """For vocabulary word: split at white space only, or punctuation off too; auto sees if it stands apart already."""
    document_separator: str | None = None
    """Text that stands between documents in a file; the state is reset there. Unset makes each file one document."""
    valid_share: float = 0.1
    """Share of the text, at its end, kept for validation where no file is given; 1,000,000 characters at most."""
    layer: str = "lstm"
    """Kind of recurrent layer: lstm, gru, rnn or relu-rnn."""
    num_layers: int = 1
    """Layers on top of each other."""
    hidden_size: int = 384
    """Units in each layer."""
    embedding_size: int = 64
    """Size of a token's vector."""
    tied: bool = True
    """Use the tokens' vectors for the output too (Press and Wolf 2017)."""
    softmax: Literal["auto", "full", "adaptive"] = "auto"
    """Over the vocabulary: full, or adaptive (Grave et al. 2017), where rare words have smaller vectors and stand in
    clusters; auto takes it above 20,000 tokens. It needs the tied vectors."""
    bptt: int = 64
    """Steps of truncated back-propagation through time; the state is carried on over them."""
    residual: bool = False
    """Add each layer's input to its output where the sizes agree."""
    norm: Literal["layer", "rms"] | None = None
    """Normalise the input of the second and later layers."""
    dropout: float = 0.3
    """Share of features dropped between layers and before the output, the same ones at every step."""
    output_dropout: float | None = None
    """Share of the last layer's features dropped; unset is that of dropout."""
    input_dropout: float = 0.0
    """Share of the features of the embedded tokens dropped, the same ones at every step."""
    embedding_dropout: float = 0.0
    """Share of the vocabulary dropped from the input in each batch."""
    weight_dropout: float = 0.0
    """Share of the recurrent weights dropped in each batch (Merity et al. 2018)."""
    variational_dropout: float = 0.0
    """Share of the state dropped on its way into the recurrent matrix (Gal and Ghahramani 2016)."""
    activation_penalty: float = 0.0
    """Times the mean square of the last layer's dropped-out outputs is added to the loss (AR, Merity et al. 2018)."""
    change_penalty: float = 0.0
    """Times the mean square of the change of the last layer's outputs over a step is added to the loss (TAR)."""
    zoneout: float = 0.0
    """Share of the state's units that keep their value from the step before (Krueger et al. 2017)."""
    projection_size: int | None = None
    """Project each LSTM layer's output and recurrent state to this size (Sak et al. 2014); unset does not."""
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    """Orthogonal recurrent and Glorot input matrices, or torch's uniform ones."""
    forget_bias: float | None = None
    """Initial bias of the forget gate; unset is 1."""
    learn_initial_state: bool = False
    """Learn the state a document begins with."""
    checkpoint_every: int | None = None
    """Keep the state only every so many steps in training and recompute the rest, to save memory; unset keeps all."""

    def __post_init__(self) -> None:
        """Refuse values outside their range; layers check their own options."""
        if self.layer not in LAYERS:
            raise ConfigError(f"layer is {self.layer!r}; expected one of {', '.join(LAYERS)}")
        for name in ("num_layers", "hidden_size", "embedding_size", "bptt", "minimum_count"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("dropout", "output_dropout", "input_dropout", "embedding_dropout"):
            if not 0 <= (getattr(self, name) or 0.0) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a share in [0, 1)")
        for name in ("activation_penalty", "change_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.softmax == "adaptive" and not self.tied:
            raise ConfigError("softmax is 'adaptive' and tied false; expected tied vectors, or a full softmax")
        if not 0 < self.valid_share < 1:
            raise ConfigError(f"valid_share is {self.valid_share}; expected a share in (0, 1)")

    def adapts_softmax(self, vocabulary_size: int) -> bool:
        """Tell whether the softmax is adaptive with a vocabulary of this size."""
        if self.softmax == "auto":
            return self.tied and vocabulary_size > ADAPTIVE_VOCABULARY
        return self.softmax == "adaptive"

    def layer_options(self) -> dict[str, object]:
        """Return the options that every layer gets, without those that are not set."""
        names = ("weight_dropout", "variational_dropout", "zoneout", "projection_size", "initialization")
        names += ("forget_bias", "learn_initial_state", "checkpoint_every")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
