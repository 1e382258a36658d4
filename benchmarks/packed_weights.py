"""What weights of 16 and of 8 bits cost on real test sets: the same trained models, evaluated three times.

Each model is trained for so many updates with the defaults, one seed a row. Of tinyshakespeare, which has no test part,
the validation part stands for it. Needs RNNKIT_DATA. Run: python benchmarks/packed_weights.py [--commit]; --table shows
what came of it as Markdown.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import rnnkit
from record import finished, measure
from rnnkit.comparing.judgement import interval
from rnnkit.tasks import find_task

KINDS = ("float32", "bfloat16", "int8")
SEEDS = (1, 2, 3)
# Task, files to train on, to choose the best state on, and to test on; options; metrics shown.
JOBS: dict[str, tuple[str, tuple[str, str, str], dict[str, Any], tuple[str, ...]]] = {
    "tinyshakespeare": (
        "language-model",
        ("lm/tinyshakespeare/train.txt", "lm/tinyshakespeare/valid.txt", "lm/tinyshakespeare/valid.txt"),
        {"steps": 600},
        ("bits_per_character",),
    ),
    "SST-2": (
        "text-classification",
        ("sentiment/sst2/train.tsv", "sentiment/sst2/valid.tsv", "sentiment/sst2/test.tsv"),
        {"steps": 1500},
        ("accuracy", "nats"),
    ),
    "WikiGold": (
        "tagging",
        ("ner/wikigold/train.conll", "ner/wikigold/valid.conll", "ner/wikigold/test.conll"),
        {"steps": 800, "bidirectional": False},
        ("f1", "nats"),
    ),
    "JapaneseVowels": (
        "series-classification",
        ("gesture/japanese-vowels/JapaneseVowels_TRAIN.ts", "", "gesture/japanese-vowels/JapaneseVowels_TEST.ts"),
        {"steps": 600},
        ("accuracy", "nats"),
    ),
}
ROWS = [{"data": name, "seed": seed} for name in JOBS for seed in SEEDS]


def run(row: dict[str, Any]) -> dict[str, Any]:
    task, files, options, _ = JOBS[row["data"]]
    train, valid, test = ([Path(os.environ["RNNKIT_DATA"]) / name] if name else None for name in files)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        rnnkit.train(task, train, valid=valid, run=folder, seed=row["seed"], **options)
        for kind in KINDS:
            model = rnnkit.load(folder)
            reasons = model.pack(kind)
            found[kind] = model.score(model.encode(type(model).read(test, model.config)))
    return {"metrics": found, "in torch": reasons}


def table() -> None:
    """Print what came of it as Markdown."""
    print(f"| test set | metric | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}")
    for name, (task, *_, metrics) in JOBS.items():
        rows = [one for one in finished("packed-weights") if one["row"]["data"] == name]
        for metric in metrics:
            cells = [str(interval([one["metrics"][kind][metric] for one in rows])) for kind in KINDS]
            print(f"| {name} ({find_task(task).aliases[0]}) | {metric} | {' | '.join(cells)} |")


if __name__ == "__main__":
    measure("packed-weights", ROWS, run, table=table)
