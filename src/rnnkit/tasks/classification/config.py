"""The options of every classifier."""

from dataclasses import dataclass
from typing import Literal

from rnnkit.tasks.options import StackOptions, refuse_no_share, refuse_outside


@dataclass(frozen=True)
class ClassificationOptions(StackOptions):
    """How steps become one answer, and what training minds."""

    valid_share: float = 0.1
    """Share of each label's examples kept for validation where no file is given."""
    bidirectional: bool = False
    """Read the sequence backwards too; such a model needs the whole sequence and cannot stream."""
    pooling: Literal["last", "mean", "max", "attention", "concat"] = "max"
    """How the outputs of all steps become one vector: the last, their mean or maximum, a mean weighted by attention,
    or last, mean and maximum side by side."""
    class_weights: Literal["balanced"] | None = None
    """Weigh labels in the training loss: balanced by the inverse of how often each occurs; none does not."""
    focal_gamma: float = 0.0
    """Multiply the loss of an example by (1 - p)**gamma, p being what its label was given (Lin et al. 2017)."""
    max_length: int | None = None
    """Steps of a longer training sequence that are read, from its beginning; unset reads all."""

    def check_classification(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigError: If one is.
        """
        self.check_stack()
        refuse_outside(self, ("focal_gamma",), least=0)
        refuse_outside(self, ("max_length",), least=1)
        refuse_no_share(self, "valid_share")
