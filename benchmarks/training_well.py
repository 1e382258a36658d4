"""What clipping, schedules, dropout, L2, sorting by length and the batch size change: each choice with and without.

Each row is a short training with the defaults but for what it names: of so many updates, or, where a choice changes
what an update costs, of so many minutes. The score is that of validation data, since nothing here is a claim about a
model. Needs RNNKIT_DATA. Rows of minutes want a core of their own: taskset -c 0 python benchmarks/training_well.py
[--commit]; --table prints what came of it as Markdown.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import rnnkit
from record import finished, measure
from rnnkit.comparing.judgement import interval
from rnnkit.data import ragged
from rnnkit.diagnosing import demonstrate
from rnnkit.errors import RunError
from rnnkit.tasks import find_task

ONE_MINUTE = {"minutes": 1}
SEEDS = (1, 2, 3)
SCHEDULES = ("one-cycle", "cosine", "step", "constant")
SHAKESPEARE = ("language-model", "lm/tinyshakespeare/train.txt")
REVIEWS = ("text-classification", "sentiment/sst2/train.tsv", "sentiment/sst2/valid.tsv")
TAGS = ("tagging", "ner/wikigold/train.conll", "ner/wikigold/valid.conll")
# Topic: what is trained on, what is the same in all, and the choices.
TOPICS: dict[str, tuple[tuple[str, ...], dict[str, Any], list[dict[str, Any]]]] = {
    "clipping": (
        SHAKESPEARE,
        {"layer": "relu-rnn", "learning_rate": 0.02, "steps": 2000},
        [{"clip_norm": 1.0}, {"clip_norm": 1e9}],
    ),
    "schedule": (
        SHAKESPEARE,
        {"steps": 600},
        [{"schedule": one} for one in SCHEDULES],
    ),
    "schedule to the end": (
        SHAKESPEARE,
        {"steps": 6000, "hidden_size": 64},
        [{"schedule": one} for one in ("one-cycle", "constant")],
    ),
    "batch size": (SHAKESPEARE, ONE_MINUTE, [{"batch_size": size} for size in (8, 32, 128, 512)]),
    "dropout": (REVIEWS, {"steps": 1500}, [{"dropout": share} for share in (0.0, 0.3, 0.6)]),
    "L2": (REVIEWS, {"steps": 1500}, [{"weight_decay": value} for value in (0.0, 0.01, 0.1)]),
    "lengths": (TAGS, ONE_MINUTE, [{"pool": 1}, {"pool": ragged.POOL_BATCHES}]),
}
ROWS = [
    *(
        {"topic": topic, **choice, "seed": seed}
        for topic, (*_, choices) in TOPICS.items()
        for seed in SEEDS
        for choice in choices
    ),
    *(
        {"topic": "vanishing", "layer": layer, "clip_norm": limit, "seed": 1}
        for layer in ("rnn", "lstm")
        for limit in (None, 1.0, 0.1)
    ),
]


def run(row: dict[str, Any]) -> dict[str, Any]:
    choice = {name: value for name, value in row.items() if name != "topic"}
    if row["topic"] == "vanishing":
        (found,) = demonstrate(
            [choice.pop("layer")], problems=["adding"], length=200, steps=3000, folder=None, **choice
        )
        return {
            "error": found.error,
            "without a memory": found.chance,
            "updates": found.updates,
            "clipped": found.clipped,
            "growth": found.reach.growth,
            "memory": found.reach.memory,
        }
    (task, train, *valid), options, _ = TOPICS[row["topic"]]
    usual, ragged.POOL_BATCHES = ragged.POOL_BATCHES, choice.pop("pool", ragged.POOL_BATCHES)
    root = Path(os.environ["RNNKIT_DATA"])
    try:
        with tempfile.TemporaryDirectory() as place:
            result = rnnkit.train(
                task,
                root / train,
                valid=[root / name for name in valid] or None,
                run=Path(place) / "run",
                **{**options, **choice},
            )
    except RunError as error:
        return {"diverged": str(error)}
    finally:
        ragged.POOL_BATCHES = usual
    if result.stopped_by is not None:
        raise KeyboardInterrupt  # what a stopped run has learnt is no row
    return {"validation": result.metrics, "steps": result.steps, "seconds": result.seconds}


def table() -> None:
    """Print what came of it as Markdown."""
    for topic, ((task, *_), _, choices) in TOPICS.items():
        metric = find_task(task).objective
        print(f"\n{topic}\n\n| | {metric} | updates |\n|---|---|---|")
        for choice in choices:
            wanted = {"topic": topic, **choice}
            some = [row for row in finished("training-well") if {**row["row"], **wanted} == row["row"]]
            whole = [row for row in some if "validation" in row]
            words = str(interval([row["validation"][metric] for row in whole])) if whole else ""
            if len(whole) < len(some):
                words += f" ({len(some) - len(whole)} of {len(some)} diverged)"
            updates = " ".join(f"{row['steps']:,}" for row in whole)
            print(f"| {', '.join(f'{name} {value}' for name, value in choice.items())} | {words} | {updates} |")


if __name__ == "__main__":
    measure("training-well", ROWS, run, table=table)
