"""The options of a recogniser of speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnkit.data.recordings import RecordingColumns
from rnnkit.errors import ConfigError
from rnnkit.layers.subsampling import STRIDES
from rnnkit.tasks.options import (
    StackOptions,
    TableOptions,
    VocabularyOptions,
    refuse_no_share,
    refuse_odd_halves,
    refuse_outside,
)


@dataclass(frozen=True)
class SpeechConfig(TableOptions, StackOptions, VocabularyOptions):
    """How recordings are heard and varied, and how large the network is; the defaults suit an hour or two of speech."""

    path_column: str | None = None
    """Heading, number (from 1) or JSON key of the recordings' paths; unset finds it out."""
    text_column: str | None = None
    """Heading, number (from 1) or JSON key of what is said; unset finds it out."""
    sample_rate: int | None = None
    """Samples a second that recordings are resampled to; unset takes those of most of the training sound, at most
    16,000."""
    bands: int = 40
    """Of mel frequency, whose energies are heard every 10 ms."""
    lowercase: bool = False
    """Write capital letters as small ones."""
    valid_share: float = 0.1
    """Share of the recordings kept for validation where no file is given; copies of one stay together."""
    normalization: Literal["global", "running"] = "global"
    """Whether the level of each band is that of the training data, or a running mean that begins with it, for
    microphones and rooms that differ."""
    vocabulary: Literal["character", "byte", "word", "bpe", "unigram"] = "character"
    head: Literal["ctc", "transducer"] = "ctc"
    """How tokens are said: each step for itself (Graves et al. 2006), or by a transducer, which remembers what was said
    (Graves 2012) and takes longer to train."""
    joiner_size: int = 192
    """Of a transducer: units of its memory, and of what it joins."""
    subsampling: int = 2
    """Frames a step: 1, 2, 3, 4, 6 or 8. Convolutions bring them together."""
    filters: int = 192
    """Of each convolution."""
    layer: str = "gru"
    num_layers: int = 2
    hidden_size: int = 256
    """Units of each layer; of a bidirectional stack, half of them read backwards."""
    bidirectional: bool = False
    """Read recordings backwards too; such a model cannot stream."""
    dropout: float = 0.2
    batch_seconds: float = 40.0
    """Sound in a batch of training at most, padding included; `batch_size` is the most recordings."""
    augment_speed: float = 0.12
    """In training, speed recordings up and down by up to this share, pitch and formants with them."""
    augment_gain: float = 2.0
    """In training, make recordings louder and softer by about so many decibels."""
    augment_noise: float = 0.3
    """Share of the recordings that noise is added to in training, 5 to 30 dB below the speech."""
    augment_join: float = 0.1
    """Share of the recordings that another one follows in training, as in a stream."""
    mask_bands: int = 4
    """In training, hide up to so many neighbouring bands, twice (SpecAugment: Park et al. 2019)."""
    mask_time: float = 0.03
    """In training, hide stretches of up to 0.15 s, so many that about this share of a recording is hidden."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_stack()
        self.check_table()
        refuse_outside(self, ("bands", "filters", "joiner_size", "minimum_count"), least=1)
        refuse_outside(self, ("sample_rate",), least=4000)
        refuse_outside(self, ("augment_gain", "mask_bands"), least=0)
        refuse_outside(self, ("batch_seconds",), least=1)
        refuse_outside(self, ("augment_noise", "augment_join", "mask_time", "augment_speed"), least=0, below=1)
        if self.subsampling not in STRIDES:
            raise ConfigError(f"subsampling is {self.subsampling}; expected one of {', '.join(map(str, STRIDES))}")
        if self.mask_bands >= self.bands:
            raise ConfigError(f"mask_bands is {self.mask_bands}; expected fewer than the bands, {self.bands}")
        refuse_no_share(self, "valid_share")
        refuse_odd_halves(self)

    @property
    def columns(self) -> RecordingColumns:
        """Where recordings and texts stand."""
        return RecordingColumns(self.path_column, self.text_column, self.cell_delimiter, self.header)
