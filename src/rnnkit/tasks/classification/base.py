"""The part of the task contract that all classifiers keep in the same way."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.data.ragged import Buckets, in_batches
from rnnkit.figures import confusion_matrix
from rnnkit.kernels import State
from rnnkit.tasks.base import Loss, Task
from rnnkit.tasks.classification.data import LabelledBatch, LabelledSequences
from rnnkit.tasks.classification.decision import Decision, best_temperature
from rnnkit.tasks.classification.labels import Labels
from rnnkit.tasks.classification.losses import classification_loss
from rnnkit.tasks.classification.network import ClassifierNetwork, DirectScores
from rnnkit.tasks.scale import search_scale

MOST_STEPS = 65_536  # padded steps of a batch, in training and scoring
SCORED_ROWS = 64
QUICK_SEQUENCES = 4096
GAIN_TOLERANCE = 0.05  # on the logarithm of the scale of what scores beside the network


class Classification(Task):
    """One label, or some, for a whole sequence.

    Args:
        config: Its options.
        labels: Of the training data.
        decision: How scores become an answer; chosen once training is over.
        direct: What scores labels beside the network, if there is anything.
    """

    objective: ClassVar[str] = "nats"
    network: ClassifierNetwork

    def __init__(self, config: Any, labels: Labels, decision: Decision, direct: DirectScores | None = None) -> None:
        self.config, self.labels, self.decision, self.direct = config, labels, decision, direct
        self.network = self.make_network()

    @abstractmethod
    def make_network(self) -> ClassifierNetwork:
        """Draw a new network."""

    def check(self, examples: Any) -> None:
        """Refuse labels that training did not have."""
        self.labels.encode((one.labels, one.place) for one in examples.examples)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    def batches(
        self, data: LabelledSequences, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> Buckets[LabelledBatch]:
        """Batch sequences of like length."""
        longest = self.config.max_length
        lengths = data.steps.lengths if longest is None else np.minimum(data.steps.lengths, longest)

        def collate(indices: np.ndarray) -> LabelledBatch:
            return self.vary(data.batch(indices, device=self.device, longest=longest))

        return Buckets(lengths, collate, batch_size=batch_size, most_steps=MOST_STEPS, seed=seed, part=part)

    def vary(self, batch: LabelledBatch) -> LabelledBatch:
        """Change a training batch by chance, as its sequences may vary; as it is unless overridden."""
        return batch

    def loss(self, batch: LabelledBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Compare the scores of whole sequences with their targets."""
        scores = self.network(batch.inputs, batch.lengths)
        return Loss(self.losses(scores, batch.targets, label_smoothing=label_smoothing).sum(), len(batch.targets))

    def losses(self, scores: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        """Compute the loss of every sequence from its scores, (batch, labels) -> (batch,)."""
        weights = None
        if self.config.class_weights == "balanced":
            weights = torch.from_numpy(self.labels.weights()).to(scores.device)
        return classification_loss(
            scores, targets, weights=weights, focal_gamma=self.config.focal_gamma, label_smoothing=label_smoothing
        )

    def depths(self) -> list[nn.Module]:
        """The front, then each layer."""
        return [self.network.front, *self.network.stack.layers]

    def answering(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Answer every beginning of sequences, going on from `state`.

        Args:
            inputs: (batch, time, ...) steps, all of them valid.
            state: Of the network.

        Returns:
            (batch, time, labels) float64 probabilities on the CPU, and the state after the last step.
        """
        scores, after = self.network.running(inputs.to(self.device), state)
        return torch.from_numpy(self.answers(scores)), after

    def answers(self, scores: Tensor) -> np.ndarray:
        """Turn scores into probabilities, (..., labels)."""
        return self.decision.probabilities(scores.float().cpu().numpy(), multi_label=self.labels.multi_label)

    # Scoring

    def scores(self, data: LabelledSequences, *, most: int | None = None) -> np.ndarray:
        """Score sequences, those of like length side by side.

        Args:
            data: Encoded.
            most: Take so many, spread evenly; None takes all.

        Returns:
            (sequences, labels) float32, in the order of the data.
        """
        was_training = self.network.training
        self.network.eval()
        chosen = spread(len(data), most)
        lengths = data.steps.lengths[chosen]
        scores = np.zeros((len(chosen), len(self.labels)), dtype=np.float32)
        with torch.inference_mode():
            for places in in_batches(lengths, batch_size=SCORED_ROWS, most_steps=MOST_STEPS):
                batch = data.batch(chosen[places], device=self.device)
                scores[places] = self.network(batch.inputs, batch.lengths).float().cpu().numpy()
        self.network.train(was_training)
        return scores

    def quick_score(self, data: LabelledSequences) -> float:
        """Measure nats a sequence at the best temperature, on at most QUICK_SEQUENCES sequences."""
        # Without the temperature a network that grows too sure of itself looks worse while its answers get better.
        chosen = spread(len(data), QUICK_SEQUENCES)
        return best_temperature(self.scores(data, most=QUICK_SEQUENCES), data.targets[chosen])[1]

    def probabilities(self, data: LabelledSequences) -> np.ndarray:
        """Answer sequences: (sequences, labels)."""
        return self.decision.probabilities(self.scores(data), multi_label=self.labels.multi_label)

    def score(self, data: LabelledSequences) -> dict[str, float]:
        """Measure the answers to all sequences."""
        return self.decision.metrics(self.probabilities(data), data.targets)

    def calibrate(self, data: LabelledSequences) -> bool:
        """Choose on validation data how much what scores beside the network adds, then temperature and thresholds."""
        if self.direct is not None:
            self.direct.gain.fill_(self._best_gain(data, self.direct))
        self.decision = Decision.fit(self.scores(data), data.targets)
        return True

    def _best_gain(self, data: LabelledSequences, direct: DirectScores) -> float:
        """Return the scale with the least nats of what scores beside the network; 0 if nothing makes it worth adding.

        Where there is trust in it, the scale is held near the one that spreads the scores of both alike.
        """
        direct.gain.fill_(0)
        chosen = spread(len(data), QUICK_SEQUENCES)
        alone, targets = self.scores(data, most=QUICK_SEQUENCES), data.targets[chosen]
        direct.gain.fill_(1)
        said = self.scores(data, most=QUICK_SEQUENCES) - alone
        if not (alone.std() > 0 and said.std() > 0):
            return 0.0
        alike = float(alone.std() / said.std())

        def nats(scale: float) -> float:
            return best_temperature(alone + scale * alike * said, targets)[1]

        def cost(scale: float) -> float:
            return nats(scale) + direct.trust * math.log(scale) ** 2 / len(targets)

        best = search_scale(cost, tolerance=GAIN_TOLERANCE)
        return alike * best if direct.trust or nats(best) < nats(0.0) else 0.0

    def draw(self, data: LabelledSequences, folder: Path, *, title: str) -> list[Path]:
        """Draw which label was taken for which."""
        if self.labels.multi_label:
            return []
        predicted = self.scores(data).argmax(1)
        counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        np.add.at(counts, (data.targets, predicted), 1)
        path = folder / "confusion.png"
        confusion_matrix(counts, self.labels.names, path, title=title)
        return [path]

    def save_assets(self, folder: Path) -> None:
        """Write labels.json, decision.json, and what scores beside the network."""
        self.labels.save(folder)
        self.decision.save(folder)
        if self.direct is not None:
            self.direct.save(folder)


def spread(count: int, most: int | None) -> np.ndarray:
    """Return at most `most` of `count` indices, spread evenly."""
    if most is None or count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def take_scores(task: Classification, start: Classification) -> None:
    """Begin with the pooling of another classifier, and with its scores of the labels that both have.

    Args:
        task: New.
        start: Trained; nothing is taken where it pools to another size.
    """
    if task.network.pooling.output_size != start.network.pooling.output_size:
        return
    if task.network.pooling.kind == start.network.pooling.kind:
        task.network.pooling.load_state_dict(start.network.pooling.state_dict())
    ours, theirs = task.network.output, start.network.output
    with torch.no_grad():
        for number, name in enumerate(task.labels.names):
            if name in start.labels.names:
                other = start.labels.names.index(name)
                ours.weight[number], ours.bias[number] = theirs.weight[other], theirs.bias[other]
