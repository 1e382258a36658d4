"""Labels and tags on public data: the test split's metrics after a few minutes of training.

Options are the defaults, but for those below; they were chosen on validation data, never on a test split. Each row
trains on the training split, validates on the validation split where there is one, else on a tenth of the training
split, and scores the whole test split once, the baseline beside it. Needs RNNKIT_DATA. Run alone on the machine:
python benchmarks/classification.py [--commit]
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import rnnkit
from record import measure
from rnnkit.checkpoint import load_baseline


def split_files(folder: str, suffix: str) -> tuple[str, str, str]:
    """Name the three files of a set that is cut into splits."""
    train, valid, test = (f"{folder}/{part}.{suffix}" for part in ("train", "valid", "test"))
    return train, valid, test


# Task, training file, validation file or None, test file, minutes of training, options.
DATA: dict[str, tuple[str, tuple[str, str | None, str], float, dict[str, Any]]] = {
    "wikigold": ("tagging", split_files("ner/wikigold", "conll"), 3, {}),
    "wnut17": ("tagging", split_files("ner/wnut17", "conll"), 3, {}),
    "sst2": ("text-classification", split_files("sentiment/sst2", "tsv"), 2, {}),
    "labelled-sentences": (
        "text-classification",
        split_files("sentiment/labelled-sentences", "csv"),
        1,
        {"label_column": "label"},
    ),
    "dollar1-strokes": (
        "series-classification",
        split_files("gesture/dollar1-strokes", "jsonl.gz"),
        4,
        {"augment_shift": 1.0, "augment_scale": 0.3},
    ),
    "japanese-vowels": (
        "series-classification",
        (
            "gesture/japanese-vowels/JapaneseVowels_TRAIN.ts",
            None,
            "gesture/japanese-vowels/JapaneseVowels_TEST.ts",
        ),
        1.5,
        {"augment_noise": 0.5, "augment_scale": 0.0, "augment_shift": 0.0, "validations": 1},
    ),
    "basic-motions": (
        "series-classification",
        ("gesture/basic-motions/BasicMotions_TRAIN.ts", None, "gesture/basic-motions/BasicMotions_TEST.ts"),
        0.5,
        {},
    ),
    "uwave": (
        "series-classification",
        (
            "gesture/uwave/UWaveGestureLibrary_TRAIN.ts",
            None,
            "gesture/uwave/UWaveGestureLibrary_TEST.ts.gz",
        ),
        4,
        {
            "augment_scale": 0.3,
            "augment_time": 0.3,
            "stride": 6,
            "weight_decay": 0.1,
            "dropout": 0.5,
            "validations": 1,
        },
    ),
    "ud-ewt-pos": ("tagging", split_files("ner/ud-ewt-pos", "conll"), 6, {"label_column": "2"}),
    "movie-reviews": ("text-classification", split_files("sentiment/movie-reviews", "jsonl.gz"), 4, {}),
}
ROWS = [
    {"data": name, "minutes": minutes, "seed": seed} for name, (*_, minutes, _) in DATA.items() for seed in (1, 2, 3)
]


def run(row: dict[str, Any]) -> dict[str, Any]:
    task, (train, valid, test), minutes, options = DATA[row["data"]]
    root = Path(os.environ["RNNKIT_DATA"])
    with tempfile.TemporaryDirectory() as place:
        result = rnnkit.train(
            task,
            root / train,
            valid=None if valid is None else root / valid,
            run=Path(place) / "run",
            minutes=minutes,
            seed=row["seed"],
            **options,
        )
        if result.stopped_by is not None:
            raise KeyboardInterrupt  # what a stopped run has learnt is no row
        model = result.model
        data = model.encode(model.read([root / test], model.config))
        baseline = model.score_baseline(load_baseline(model, result.run), data)
        return {
            "task": task,
            "options": options,
            "metrics": model.score(data),
            model.baseline_name: baseline,
            "validation": result.metrics,
            "seconds": result.seconds,
            "steps": result.steps,
            "parameters": sum(p.numel() for p in model.network.parameters()),
        }


if __name__ == "__main__":
    measure("classification", ROWS, run)
