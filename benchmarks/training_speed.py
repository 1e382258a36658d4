"""Characters a second of language-model training, beside a plain torch loop of the same network, interleaved.

The rival is what a user of torch.nn writes: nn.Embedding, nn.LSTM, nn.Linear, AdamW, clipping, carried state, float32,
torch's allocator and threads as they come. Also where the time of our step goes, by torch's profiler.
Run alone on the machine: python benchmarks/training_speed.py [--commit]
"""

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from record import measure
from rnnkit.checkpoint import Run
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig
from rnnkit.training import Trainer, TrainingConfig

ROUNDS, STEPS = 7, 12
SHAPE = {"batch_size": 32, "bptt": 64}
ROWS = [{"layer": layer, "hidden_size": size, **SHAPE} for layer in ("lstm", "gru") for size in (384, 512)]
DEFAULT_MALLOC = {"M_MMAP_MAX": (-4, 65536), "M_TRIM_THRESHOLD": (-1, 128 * 1024), "M_TOP_PAD": (-2, 0)}


class PlainLoop:
    """The rival: one step of a torch.nn language model."""

    def __init__(self, row: dict[str, Any], vocabulary_size: int) -> None:
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[row["layer"]]
        self.embedding = nn.Embedding(vocabulary_size, 64)
        self.rnn = kind(64, row["hidden_size"], batch_first=True)
        self.head = nn.Linear(row["hidden_size"], vocabulary_size)
        self.module = nn.ModuleList([self.embedding, self.rnn, self.head])
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-3)
        self.state: Any = None
        self.shape = (row["batch_size"], row["bptt"])
        self.tokens = torch.randint(0, vocabulary_size, (row["batch_size"], row["bptt"] + 1))

    def __call__(self) -> None:
        outputs, state = self.rnn(self.embedding(self.tokens[:, :-1]), self.state)
        self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = cross_entropy(self.head(outputs).flatten(0, 1), self.tokens[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()


def trainer(row: dict[str, Any], precision: str, place: str) -> Trainer:
    config = LanguageModelConfig(layer=row["layer"], hidden_size=row["hidden_size"], bptt=row["bptt"])
    corpus = LanguageModel.read([LanguageModel.demo_data()], config)
    task = LanguageModel.prepare(corpus, config)
    data = task.encode(corpus)
    training = TrainingConfig(steps=10**6, batch_size=row["batch_size"], precision=precision)  # type: ignore[arg-type]
    made = Trainer(task, training, Run(Path(place)), train_data=data, valid_data=data)
    made.task.network.train()
    return made


def tune_allocator(*, tuned: bool) -> None:
    """Set glibc's allocator as the trainer does, or back to its defaults, for the rival."""
    libc = ctypes.CDLL(None)
    for name, (number, default) in DEFAULT_MALLOC.items():
        ours = {"M_MMAP_MAX": 0, "M_TRIM_THRESHOLD": 2**31 - 1, "M_TOP_PAD": 64 * 2**20}[name]
        libc.mallopt(number, ours if tuned else default)


def speed(step: Callable[[], Any], row: dict[str, Any]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * row["batch_size"] * row["bptt"] / (time.perf_counter() - began)


def shares(step: Callable[[], Any]) -> dict[str, float]:
    """Name the operations that take the most processor time, as shares."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(STEPS):
            step()
    events = [(event.key, event.self_cpu_time_total) for event in record.key_averages()]
    total = sum(spent for _, spent in events)
    events.sort(key=lambda pair: -pair[1])
    return {name: round(spent / total, 3) for name, spent in events[:8]}


def run(row: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        ours = trainer(row, "auto", place)
        single = trainer(row, "32-true", place)
        plain = PlainLoop(row, ours.task.network.vocabulary_size)  # type: ignore[attr-defined]
        runs: dict[str, tuple[Callable[[], Any], bool]] = {
            f"rnnkit {ours.precision}": (ours.train_step, True),
            "rnnkit 32-true": (single.train_step, True),
            "rnnkit 32-true, stock allocator": (single.train_step, False),
            "torch.nn loop": (plain, False),
        }
        speeds: dict[str, list[float]] = {name: [] for name in runs}
        for round_number in range(ROUNDS + 1):
            for name, (step, tuned) in runs.items():
                tune_allocator(tuned=tuned)
                measured = speed(step, row)
                if round_number:  # the first round warms up
                    speeds[name].append(measured)
        tune_allocator(tuned=True)
        medians = {name: round(statistics.median(values)) for name, values in speeds.items()}
        return {
            "characters per second, median": medians,
            "spread": {name: [round(min(values)), round(max(values))] for name, values in speeds.items()},
            "ratio to torch.nn loop": {n: round(v / medians["torch.nn loop"], 2) for n, v in medians.items()},
            "profile of rnnkit's step": shares(ours.train_step),
        }


if __name__ == "__main__":
    measure("training-speed", ROWS, run)
