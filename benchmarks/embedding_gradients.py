"""What row-sparse gradients of an embedding would save: a step with either kind.

Only vectors that are not also the softmax's weights can have sparse gradients: an untied language model's, whose
softmax is a full one then, and those of a classifier of texts.
Run alone on the machine: python benchmarks/embedding_gradients.py [--commit]
"""

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, SparseAdam

from record import measure
from rnnkit.layers.softmax import linear_cross_entropy
from rnnkit.training.machine import keep_freed_memory

ROUNDS, STEPS = 7, 6
JOBS = {
    "language model": {"batch_size": 32, "length": 64, "hidden_size": 512},
    "classifier": {"batch_size": 32, "length": 200, "hidden_size": 128},
}
ROWS = [
    {"job": job, "vocabulary_size": words, "embedding_size": size, **shape}
    for job, shape in JOBS.items()
    for words, size in ((10_000, 128), (30_000, 300))
]


class Step:
    """One update of embedding, LSTM and softmax over texts whose words follow Zipf's law."""

    def __init__(self, row: dict[str, Any], *, sparse: bool) -> None:
        size, words = row["embedding_size"], row["vocabulary_size"]
        self.embedding = nn.Embedding(words, size, sparse=sparse)
        self.rnn = nn.LSTM(size, row["hidden_size"], batch_first=True)
        self.predicts_words = row["job"] == "language model"
        self.head = nn.Linear(row["hidden_size"], words if self.predicts_words else 2)
        self.dense = [*self.rnn.parameters(), *self.head.parameters()]
        table = list(self.embedding.parameters())
        self.optimizers = (
            [AdamW(self.dense, fused=True), SparseAdam(table)] if sparse else [AdamW([*self.dense, *table], fused=True)]
        )
        frequency = 1 / torch.arange(1, words + 1)
        self.texts = frequency.multinomial(row["batch_size"] * row["length"], True).view(row["batch_size"], -1)
        self.targets = self.texts if self.predicts_words else torch.randint(2, (row["batch_size"],))

    def __call__(self) -> None:
        outputs, _ = self.rnn(self.embedding(self.texts))
        features = outputs if self.predicts_words else outputs.mean(1)
        linear_cross_entropy(features, self.head.weight, self.head.bias, self.targets).backward()
        self._clip([p.grad for p in (*self.dense, self.embedding.weight) if p.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    @staticmethod
    def _clip(gradients: list[Tensor]) -> None:
        parts = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
        scale = 1.0 / max(1.0, float(nn.utils.get_total_norm(parts)))
        for gradient in gradients:
            gradient.mul_(scale)


def run(row: dict[str, Any]) -> dict[str, Any]:
    keep_freed_memory()
    steps = {name: Step(row, sparse=name == "sparse") for name in ("dense", "sparse")}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(ROUNDS + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            if number:  # the first round warms up
                times[name].append((time.perf_counter() - began) / STEPS)
    medians = {name: round(1000 * statistics.median(spent), 2) for name, spent in times.items()}
    return {"milliseconds a step, median": medians, "dense / sparse": round(medians["dense"] / medians["sparse"], 3)}


if __name__ == "__main__":
    measure("embedding-gradients", ROWS, run)
