"""Series classification: a label for a series of measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from rnnkit.baselines.neighbours import NearestSeries
from rnnkit.data.ragged import Ragged, in_batches
from rnnkit.data.samples import sample_path
from rnnkit.data.series import SeriesSet, read_series
from rnnkit.errors import ConfigError, DataError
from rnnkit.figures import earliness
from rnnkit.kernels import State
from rnnkit.tasks.base import Loss
from rnnkit.tasks.classification import (
    Classification,
    ClassifierNetwork,
    Decision,
    LabelledBatch,
    LabelledSequences,
    Labels,
)
from rnnkit.tasks.classification.base import MOST_STEPS, QUICK_SEQUENCES, SCORED_ROWS, spread
from rnnkit.tasks.classification.labels import split_by_label
from rnnkit.tasks.classification.network import CHUNK_STEPS
from rnnkit.tasks.series_classification import beginning
from rnnkit.tasks.series_classification.config import SeriesClassificationConfig
from rnnkit.tasks.series_classification.early import SHARES, EarlyRule, accuracy_by_share, share_metrics
from rnnkit.tasks.series_classification.features import SeriesData, step_weights, vary
from rnnkit.tasks.series_classification.network import SeriesFront, make_network
from rnnkit.tasks.series_classification.packed import PackedRunning
from rnnkit.tasks.series_classification.random_convolutions import RandomConvolutions
from rnnkit.tasks.series_classification.results import SeriesLabel, series_label
from rnnkit.tasks.series_classification.steps import as_points, prepare
from rnnkit.tasks.series_classification.stream import SeriesStream, parse_points

SHOWN_SERIES = 3


class SeriesClassification(Classification):
    """A classifier of series: gestures, activities, spoken commands, whole or as they are measured.

    Args:
        config: Its options.
        labels: Of the training series.
        facts: What is remembered of them: "channels" by name, their "means", the "typical" number of steps of each
            label, "notes" from reading, whether they are "audio", "stride".
        direct: What random convolutions of them say of the labels, if that is asked for.
        decision: How scores become an answer.
        rule: When an answer is safe to give.
    """

    name: ClassVar[str] = "series-classification"
    aliases: ClassVar[tuple[str, ...]] = ("gesture",)
    config_class: ClassVar[type] = SeriesClassificationConfig
    baseline_name: ClassVar[str] = "1-NN"
    unit: ClassVar[str] = "series"
    training_defaults: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.003, "validations": 20}
    uses: ClassVar[tuple[str, ...]] = (
        "evaluate {model} FILE",
        "predict {model} FILE --early",
        "stream {model} < SAMPLES",
    )

    config: SeriesClassificationConfig

    def __init__(
        self,
        config: SeriesClassificationConfig,
        labels: Labels,
        facts: dict[str, Any],
        *,
        direct: RandomConvolutions | None = None,
        decision: Decision = Decision(),  # noqa: B008 - frozen
        rule: EarlyRule = EarlyRule(),  # noqa: B008 - frozen
    ) -> None:
        self.facts, self.rule = facts, rule
        self.means = np.array(facts["means"], dtype=np.float32)
        self.typical, self.hears, self.stride = list(facts["typical"]), bool(facts["audio"]), int(facts["stride"])
        super().__init__(replace(config, stride=self.stride), labels, decision, direct)

    def make_network(self) -> ClassifierNetwork:
        """Draw a new network."""
        return make_network(len(self.means), len(self.labels), self.config, self.direct)

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: SeriesClassificationConfig) -> SeriesSet:
        """Read labelled series."""
        return read_series(paths, config.columns)

    @classmethod
    def split(cls, examples: SeriesSet, config: SeriesClassificationConfig) -> tuple[SeriesSet, SeriesSet, str]:
        """Keep a share of every label for validation; series that occur twice stay on one side."""
        keys = [one.values.tobytes() for one in examples.examples]
        train, valid, rule = split_by_label(examples.examples, keys, valid_share=config.valid_share, unit=cls.unit)
        return replace(examples, examples=train), replace(examples, examples=valid, notes=()), rule

    @classmethod
    def prepare(cls, examples: SeriesSet, config: SeriesClassificationConfig, *, start: Self | None = None) -> Self:
        """Learn labels, means and deviations from the training series, and draw a network or take a trained one's."""
        labels = Labels.learn([one.labels for one in examples.examples], where=examples.examples[0].source)
        if config.null_label is not None and config.null_label not in labels.names:
            raise ConfigError(f"null_label is {config.null_label!r}; expected one of {', '.join(labels.names)}")
        facts, series = beginning.learn_facts(examples, labels, config)
        direct = None
        if config.direct:
            targets = labels.encode((one.labels, one.place) for one in examples.examples)
            direct = RandomConvolutions.fit(series, targets, num_labels=len(labels), seed=torch.initial_seed())
        task = cls(config, labels, facts, direct=direct)
        task.front.views.fit(series)
        if start is not None:
            beginning.take_weights(task, start)
        return task

    @property
    def front(self) -> SeriesFront:
        """The part of the network that turns steps into features."""
        assert isinstance(self.network.front, SeriesFront)
        return self.network.front

    def notes(self) -> list[str]:
        """Say what was noticed in the files, and how many series each label has."""
        return [*self.facts["notes"], self.labels.note]

    def check(self, examples: SeriesSet) -> None:
        """Refuse labels that training did not have, and series of other channels."""
        self.check_channels(len(examples.channels), examples.examples[0].source)
        super().check(examples)

    def encode(self, examples: SeriesSet, folder: Path | None = None) -> LabelledSequences:
        """Turn samples into steps and labels into numbers."""
        self.check(examples)
        steps = self.steps([one.values for one in examples.examples])
        data = SeriesData(steps, self.labels.encode((one.labels, one.place) for one in examples.examples))
        if folder is not None:
            data.save(folder)
        return data

    def steps(self, series: Sequence[np.ndarray]) -> Ragged:
        """Turn samples into steps."""
        like = np.empty((0, len(self.means)), dtype=np.float32)
        return Ragged.join((prepare(one, self.config, before=self.means) for one in series), like=like)

    def check_channels(self, channels: int, where: str) -> None:
        """Refuse series of another kind.

        Raises:
            DataError: If they have another number of channels than the training series.
        """
        if channels != len(self.means):
            raise DataError(
                f"{where}: its series have {channels} channels; the model was trained on {len(self.means)}: "
                f"{', '.join(self.facts['channels'])}."
            )

    def check_points(self, chunk: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Turn points, or the samples of a recording, into (time, channels) float32; refuse those of another kind."""
        return as_points(chunk, channels=len(self.means), sample_rate=self.config.sample_rate if self.hears else None)

    @classmethod
    def load_data(cls, folder: Path) -> LabelledSequences:
        """Read steps that a run has saved."""
        return SeriesData.load(folder)

    # Training and scoring

    def vary(self, batch: LabelledBatch) -> LabelledBatch:
        """Vary the series of a training batch, as their options say."""
        deviations = self.front.views.deviations[: len(self.means)]
        inputs, lengths = vary(batch.inputs, batch.lengths, deviations, self.config)
        return LabelledBatch(inputs, lengths, batch.targets)

    def loss(self, batch: LabelledBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Compare the scores of whole series, and of all their beginnings, the later the more, with their targets."""
        share = self.config.step_loss if self.network.streamable else 0.0
        if not share:
            return super().loss(batch, carry, label_smoothing=label_smoothing)
        scores = self.network.steps(batch.inputs, batch.lengths)
        count, time = scores.shape[:2]
        targets = batch.targets.repeat_interleave(time)
        every = self.losses(scores.flatten(0, 1), targets, label_smoothing=label_smoothing).view(count, time)
        return Loss((step_weights(batch.lengths, time, share=share) * every).sum(), count)

    def step_answers(self, data: LabelledSequences, *, most: int | None = None) -> list[np.ndarray]:
        """Return for each series (time, labels) probabilities after every step; `most` as in `scores`."""
        was_training = self.network.training
        self.network.eval()
        chosen = spread(len(data), most)
        found: dict[int, np.ndarray] = {}
        for places in in_batches(data.steps.lengths[chosen], batch_size=SCORED_ROWS, most_steps=MOST_STEPS):
            rows, lengths = data.steps.padded(chosen[places])
            for place, answers in zip(places.tolist(), self._answers(rows, lengths), strict=True):
                found[place] = answers
        self.network.train(was_training)
        return [found[place] for place in range(len(chosen))]

    def _answers(self, rows: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        state, parts = self.network.initial_state(len(rows)), []
        with torch.inference_mode():
            for chunk in torch.from_numpy(rows).to(self.device).split(CHUNK_STEPS, dim=1):
                answers, state = self.answering(chunk, state)
                parts.append(answers.numpy())
        return [row[:length] for row, length in zip(np.concatenate(parts, axis=1), lengths, strict=True)]

    @property
    def decides_early(self) -> bool:
        """Whether the model has an answer before the end: it reads in one direction, and steps as they come."""
        return self.network.streamable and self.config.resample is None

    def score(self, data: LabelledSequences) -> dict[str, float]:
        """Measure the answers to whole series, and where the model can, to their beginnings."""
        metrics = super().score(data)
        if not self.decides_early:
            return metrics
        answers = self.step_answers(data)
        accuracy, share = self.rule.measure(answers, data.targets)
        by_share = share_metrics(accuracy_by_share(answers, data.targets))
        return {**metrics, **by_share, "early_accuracy": accuracy, "early_share": share}

    def calibrate(self, data: LabelledSequences) -> bool:
        """Choose the temperature, then the rule of early decisions, on validation data."""
        super().calibrate(data)
        if self.decides_early:
            chosen = spread(len(data), QUICK_SEQUENCES)
            self.rule = EarlyRule.fit(self.step_answers(data, most=QUICK_SEQUENCES), data.targets[chosen])
        return True

    def draw(self, data: LabelledSequences, folder: Path, *, title: str) -> list[Path]:
        """Draw which label was taken for which, and the accuracy against the share of the series seen."""
        drawn = super().draw(data, folder, title=title)
        if not self.decides_early:
            return drawn
        answers = self.step_answers(data)
        accuracy, share = self.rule.measure(answers, data.targets)
        path = folder / "earliness.png"
        curve = accuracy_by_share(answers, data.targets)
        earliness(SHARES, curve, path, title=title, decision=(share, accuracy))
        return [*drawn, path]

    # The baseline

    def fit_baseline(self, data: SeriesData) -> NearestSeries:
        """Keep the training series for comparison."""
        return NearestSeries.fit(data.arrays(), data.targets, num_labels=len(self.labels))

    def save_baseline(self, baseline: NearestSeries, folder: Path) -> None:
        """Write neighbours.npz."""
        baseline.save(folder)

    def load_baseline(self, folder: Path) -> NearestSeries:
        """Read the baseline of a run."""
        return NearestSeries.load(folder)

    def score_baseline(self, baseline: NearestSeries, data: SeriesData) -> dict[str, float]:
        """Measure the nearest neighbour on the same series and the same beginnings of them."""
        series = data.arrays()
        metrics = Decision().metrics(baseline.probabilities(series), data.targets)
        if not self.decides_early:
            return metrics
        by_share = [float((baseline.labels(series, share=share) == data.targets).mean()) for share in SHARES]
        return {**metrics, **share_metrics(np.array(by_share))}

    # Use

    def pack(self, dtype: str = "float32") -> dict[str, str]:
        """Run its layers with packed weights from now on, and where that can be done the whole network of a stream."""
        reasons = super().pack(dtype)
        if not reasons:
            self.network.running = PackedRunning(self.network, dtype=dtype)
        return reasons

    def read_inputs(self, path: Path) -> list[np.ndarray]:
        """Read the series of a file."""
        found = read_series([path], self.config.columns, labelled=False)
        self.check_channels(len(found.channels), str(path))
        return [one.values for one in found.examples]

    def parse_inputs(self, text: str) -> list[np.ndarray]:
        """Take every line of standard input as a series: a JSON list of points, or an object that holds one."""
        lines = [line for line in text.splitlines() if line.strip()]
        return [
            self.check_points(parse_points(line, key=self.config.values_key, where=f"standard input, line {number}"))
            for number, line in enumerate(lines, start=1)
        ]

    def parse_input(self, text: str) -> np.ndarray:
        """Take what was typed as a JSON list of points."""
        return self.check_points(
            parse_points(text, key=self.config.values_key, where="the series given, for no file has this name")
        )

    def predict(self, inputs: Sequence[Any], *, candidates: int = 10, running: bool | None = None) -> list[SeriesLabel]:
        """Label series.

        Args:
            inputs: (time, channels) each, or lists of points.
            candidates: How many likely labels to name.
            running: Whether to give the answer after each step too; None does where the model can.

        Returns:
            One result a series.

        Raises:
            DataError: If a series has another number of channels, or no point.
        """
        steps = self.steps([self.check_points(one) for one in inputs])
        for number, length in enumerate(steps.lengths.tolist(), start=1):
            if not length:
                raise DataError(f"series {number} has no point; expected at least one.")
        data = SeriesData(steps, np.zeros(len(inputs), dtype=np.int64))
        live = self.decides_early
        answers = self.step_answers(data) if live else [final[None] for final in self.probabilities(data)]
        return [
            series_label(
                answer,
                self.labels.names,
                steps=length,
                early=self.rule.decide(answer, null=self.null) if live else None,
                count=candidates,
                running=live and running is not False,
            )
            for answer, length in zip(answers, steps.lengths.tolist(), strict=True)
        ]

    @property
    def null(self) -> int | None:
        """Number of the null label, if there is one."""
        return None if self.config.null_label is None else self.labels.names.index(self.config.null_label)

    def stream(self, *, candidates: int = 5, continuous: bool = False) -> SeriesStream:
        """Begin a series that is still being measured.

        Args:
            candidates: How many likely labels an event lists.
            continuous: Whether one series follows another in it.

        Returns:
            The stream.

        Raises:
            ConfigError: If the model needs whole series.
        """
        if not self.decides_early:
            reason = "stretches every series" if self.config.resample is not None else "is bidirectional"
            raise ConfigError(
                f"the model {reason}, so it needs the whole series and cannot stream; use predict, or train one "
                "without --resample and --bidirectional"
            )
        return SeriesStream(self, candidates=candidates, continuous=continuous)

    def show(self) -> list[str]:
        """Label some series of the bundled sample, and say when the answer was safe to give."""
        examples = read_series([self.demo_data()], self.config.columns, labelled=False).examples[:SHOWN_SERIES]
        if examples[0].values.shape[1] != len(self.means):
            return []
        found = self.predict([one.values for one in examples], candidates=1, running=False)
        lines = [
            f"{one.label}  {one.probability:.0%}"
            + ("" if one.early_step is None else f"  safe to say after {one.early_step} of {one.steps} steps")
            for one in found
        ]
        return ["", *lines]

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: 160 strokes of 16 kinds, points of x, y and milliseconds."""
        return sample_path("strokes")

    def save_assets(self, folder: Path) -> None:
        """Write labels.json, decision.json, early.json and series.json."""
        super().save_assets(folder)
        self.rule.save(folder)
        (folder / "series.json").write_text(json.dumps(self.facts))

    @classmethod
    def load_assets(cls, folder: Path, config: SeriesClassificationConfig) -> Self:
        """Rebuild a classifier from what `save_assets` wrote.

        Returns:
            The classifier, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        labels, decision, rule = Labels.load(folder), Decision.load(folder), EarlyRule.load(folder)
        facts, direct = beginning.load_facts(folder / "series.json", labels), RandomConvolutions.load(folder)
        return cls(config, labels, facts, direct=direct, decision=decision, rule=rule)
