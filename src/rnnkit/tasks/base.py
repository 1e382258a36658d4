"""The task contract: what a job must provide so that it can be trained, scored, used, streamed, saved and loaded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.session import pack
from rnnkit.streaming import Stream


@dataclass(frozen=True)
class Loss:
    """The loss of one batch: a sum over `count` valid tokens or steps, so that parts can be added up exactly."""

    total: Tensor
    """Scalar, nats."""
    count: int
    carry: State | None = None
    """State for the next batch, detached, where batches continue one another: (batch, size) each."""
    penalty: Tensor | None = None
    """Scalar, times `count`: what training lowers besides, and does not report as loss."""


@dataclass(frozen=True)
class Comparison:
    """How good a model is on some data, and how good simpler methods are."""

    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    """The same metrics of each method, by its name."""
    against: dict[str, dict[str, float]] = field(default_factory=dict)
    """Tests of the model against each method, where there are some."""
    remarks: tuple[str, ...] = ()
    """What it all means, a sentence each."""


class Data(Protocol):
    """Encoded examples, as `encode` makes them; kept in the run, so that `--resume` need not read the files again."""

    def sizes(self) -> dict[str, int]:
        """Count what there is, by name, for a report."""
        ...


class Batches(Protocol):
    """Endless training batches whose place can be saved."""

    epoch: int
    """Whole passes finished."""

    @property
    def progress(self) -> float:
        """Share of this pass already given out, in [0, 1)."""
        ...

    def next_chunk(self) -> Any:
        """Return the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return the place, JSON-able."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place."""


class Task(ABC):
    """One job: options, vocabulary and network. Made by `prepare` from examples, or by `load` from a folder."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type]
    objective: ClassVar[str]
    """The metric that training lowers and that chooses the best state."""
    baseline_name: ClassVar[str]
    unit: ClassVar[str] = "tokens"
    """What the loss counts, in the plural."""
    begins_fitted: ClassVar[bool] = False
    """Whether the model is of use before training, so that it is validated then too."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Options of training whose defaults are others for this task."""
    starts_from: ClassVar[tuple[str, ...]] = ()
    """Names of other tasks whose models training can go on from."""
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model} FILE")
    """Command lines after `rnnkit`, for a report to show what a model is for."""

    config: Any
    network: Any
    """An nn.Module, of a class of the task's own."""

    @property
    def fingerprint(self) -> str:
        """Tells this model's stream states from those of others."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def config_from(cls, start: Task) -> Any:
        """Return the config to begin with where training goes on from a model."""
        return start.config

    @classmethod
    @abstractmethod
    def read(cls, paths: Sequence[str | Path], config: Any) -> Any:
        """Read examples from files or folders.

        Raises:
            DataError: If a file cannot be used, naming it and the line.
        """

    @classmethod
    @abstractmethod
    def split(cls, examples: Any, config: Any) -> tuple[Any, Any, str]:
        """Cut validation examples off, by the task's rule; the third result says the rule."""

    @classmethod
    @abstractmethod
    def prepare(cls, examples: Any, config: Any, *, start: Any = None) -> Self:
        """Fit vocabulary and normalisers on training examples, and draw a network, or go on from a trained task.

        Raises:
            ConfigError: If the config does not fit the task to go on from.
        """

    @abstractmethod
    def notes(self) -> list[str]:
        """Say what a person should know about the prepared data, one sentence each."""

    def check(self, examples: Any) -> None:
        """Refuse examples that do not fit the prepared task by a DataError, before anything is written."""
        del examples

    @abstractmethod
    def encode(self, examples: Any, folder: Path | None = None) -> Data:
        """Turn examples into arrays, written as they come to a folder (None: a temporary one) and read from there."""

    @classmethod
    @abstractmethod
    def load_data(cls, folder: Path) -> Data:
        """Read what `encode` wrote to a folder."""

    @abstractmethod
    def batches(self, data: Any, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)) -> Batches:
        """Lay data out for training; `part` is the number of this process, from 0, and how many share a batch."""

    @abstractmethod
    def loss(self, batch: Any, carry: State | None, *, label_smoothing: float) -> Loss:
        """Compute the training loss of a batch."""

    @abstractmethod
    def depths(self) -> list[nn.Module]:
        """Return the parts of the network from the input up, for learning rates that differ; the rest is at the top."""

    @abstractmethod
    def quick_score(self, data: Any) -> float:
        """Estimate the objective on validation data in a moment, for curves and for choosing the best state."""

    @abstractmethod
    def score(self, data: Any) -> dict[str, float]:
        """Measure every metric, exactly."""

    def calibrate(self, data: Any) -> bool:
        """Choose on validation data what is not learnt by gradient (a temperature, thresholds).

        Args:
            data: Encoded validation examples.

        Returns:
            Whether anything was chosen, so that the model must be saved again.
        """
        del data
        return False

    def draw(self, data: Any, folder: Path, *, title: str) -> list[Path]:
        """Draw how the model does on some data.

        Args:
            data: Encoded examples.
            folder: Where the pictures go.
            title: Stands above them.

        Returns:
            The pictures made.
        """
        del data, folder, title
        return []

    @abstractmethod
    def fit_baseline(self, data: Any) -> Any:
        """Fit the trivial method on the training data."""

    @abstractmethod
    def save_baseline(self, baseline: Any, folder: Path) -> None:
        """Write the trivial method into a folder, as arrays."""

    @abstractmethod
    def load_baseline(self, folder: Path) -> Any:
        """Read what `save_baseline` wrote.

        Raises:
            CheckpointError: If it is damaged.
        """

    @abstractmethod
    def score_baseline(self, baseline: Any, data: Any) -> dict[str, float]:
        """Measure the trivial method by the same metrics."""

    def compare(self, baseline: Any, data: Any) -> Comparison:
        """Measure the model and the trivial methods on the same data; a baseline of None leaves out what takes long."""
        baselines = {} if baseline is None else {self.baseline_name: self.score_baseline(baseline, data)}
        return Comparison(self.score(data), baselines)

    @abstractmethod
    def read_inputs(self, path: Path) -> list[Any]:
        """Read what `predict` takes from a file.

        Raises:
            DataError: If the file cannot be used, naming it and the line.
        """

    def parse_inputs(self, text: str) -> list[Any]:
        """Take what came on standard input as inputs for `predict`."""
        return [text]

    def parse_input(self, text: str) -> Any:
        """Take what was typed as one input for `predict`."""
        return text

    def steps_of(self, text: str) -> list[str]:
        """Name the steps in which the network reads a text: its tokens or words, as they are shown.

        Raises:
            ConfigError: If this model reads no text.
        """
        del text
        raise ConfigError(f"a {self.name} model reads no text")

    @abstractmethod
    def predict(self, inputs: Sequence[Any], *, candidates: int = 10) -> list[Any]:
        """Answer inputs; one result each, which names at most `candidates` possible answers."""

    @abstractmethod
    def show(self) -> list[str]:
        """Use the model once, as lines to print: what a demonstration ends with."""

    @abstractmethod
    def stream(self, *, candidates: int = 5) -> Stream:
        """Begin a live sequence; its events name at most `candidates` possible answers.

        Raises:
            ConfigError: If this model cannot stream, with the reason.
        """

    def pack(self, dtype: str = "float32") -> dict[str, str]:
        """Run the recurrent layers with packed weights from now on.

        Args:
            dtype: Of the weights: "float32", "bfloat16" or "int8".

        Returns:
            By name, why some stacks run in torch.

        Raises:
            ConfigError: If no stack can have such weights.
        """
        return pack(self.network, dtype=dtype)

    @classmethod
    @abstractmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample file that shows the task."""

    @abstractmethod
    def save_assets(self, folder: Path) -> None:
        """Write what prepared the data (vocabulary, normalisers) into a model folder."""

    @classmethod
    @abstractmethod
    def load_assets(cls, folder: Path, config: Any) -> Self:
        """Rebuild a task from what `save_assets` wrote; the weights are not loaded yet."""
