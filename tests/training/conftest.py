"""A small task and trainers for it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnkit.checkpoint import Run
from rnnkit.data.readers import Corpus, Document
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig
from rnnkit.training import Callback, Trainer, TrainingConfig

TEXTS = ("the cat sat on the mat. the dog sat on the log!\n" * 8, "another document, with other words in it.\n" * 5)
TINY = {"hidden_size": 8, "embedding_size": 6, "bptt": 8, "dropout": 0.2}

MakeTrainer = Callable[..., Trainer]


@pytest.fixture(autouse=True)
def readable_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog read what is logged, also after a test of the command line, which sends it elsewhere."""
    monkeypatch.setattr(logging.getLogger("rnnkit"), "propagate", True)


@pytest.fixture
def make_trainer(tmp_path: Path) -> MakeTrainer:
    """Make a trainer of a small language model, as `rnnkit.train` would: the same seed gives the same run."""

    def make(
        folder: str = "run",
        *,
        model: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        trainer_class: type[Trainer] = Trainer,
        **training: Any,
    ) -> Trainer:
        options = {"precision": "32-true", "threads": 1, "device": "cpu", "batch_size": 4, **training}
        config = TrainingConfig(**options)
        torch.manual_seed(config.seed)
        corpus = Corpus(tuple(Document(text, "made up") for text in TEXTS), ())
        task = LanguageModel.prepare(corpus, LanguageModelConfig(**{**TINY, **(model or {})}))
        data = task.encode(corpus)
        run = Run(tmp_path / folder)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        return trainer_class(task, config, run, train_data=data, valid_data=data, callbacks=callbacks)

    return make
