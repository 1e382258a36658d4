"""The options of a classifier of series."""

from dataclasses import dataclass
from typing import Literal

from rnnkit.data.series import SeriesColumns
from rnnkit.errors import ConfigError
from rnnkit.tasks.classification import ClassificationOptions
from rnnkit.tasks.options import refuse_outside


@dataclass(frozen=True)
class SeriesClassificationConfig(ClassificationOptions):
    """How series are read, what the network sees of them, and how they are varied in training."""

    values_key: str | None = None
    """JSON key of the points, or headings of the channels' columns with commas between; unset finds them out."""
    label_column: str | None = None
    """Heading, number (from 1) or JSON key of the label; unset finds it out."""
    id_column: str | None = None
    """Column that tells the series of a long table apart; unset finds it out."""
    time_column: str | None = None
    """Column by which the rows of a series of a long table are put in order; unset finds it out."""
    sample_rate: int = 16_000
    """Samples a second that recordings are resampled to."""
    null_label: str | None = None
    """Label of series in which nothing happens: it is never fired in a stream."""
    resample: int | None = None
    """Stretch every series to so many steps first; such a model cannot stream."""
    stride: int | None = None
    """Average every so many samples into one step; what is left over at the end is a step too. Unset makes it as many
    as leave the series of training about 100 steps."""
    filters: int = 64
    """Of the causal convolution over 5 steps in front of the recurrent layers; 0 leaves it out."""
    augment_scale: float = 0.1
    """In training, multiply every channel by a factor of about this deviation from 1."""
    augment_shift: float = 0.3
    """In training, move every channel by about this share of its deviation, the same at every step."""
    augment_noise: float = 0.2
    """In training, add noise of this share of each channel's deviation."""
    augment_time: float = 0.15
    """In training, speed every series up and down by factors of about this deviation from 1, changing on the way."""
    augment_crop: float = 0.05
    """In training, leave out up to this share of a series at its beginning, and as much at its end."""
    augment_rotation: float = 0.0
    """In training, turn the first two channels by up to so many degrees around a series' first point."""
    step_loss: float = 0.3
    """Share of the training loss that comes from every step, the later the more: without it early answers mean
    nothing. For models of one direction."""
    direct: bool = True
    """Add what random convolutions say of the labels by ridge regression (Dempster et al. 2020), on a scale that
    validation data chooses when training is over."""
    dropout: float = 0.3
    pooling: Literal["last", "mean", "max", "attention", "concat"] = "concat"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_classification()
        refuse_outside(self, ("resample", "stride"), least=1)
        refuse_outside(self, ("filters", "augment_scale", "augment_shift", "augment_noise"), least=0)
        refuse_outside(self, ("augment_time", "augment_rotation"), least=0)
        refuse_outside(self, ("sample_rate",), least=4000)
        refuse_outside(self, ("step_loss",), least=0, below=1)
        if not 0 <= self.augment_crop < 0.5:
            raise ConfigError(f"augment_crop is {self.augment_crop}; expected a share in [0, 0.5)")

    @property
    def columns(self) -> SeriesColumns:
        """Where values and labels stand."""
        return SeriesColumns(self.values_key, self.label_column, self.id_column, self.time_column, self.sample_rate)
