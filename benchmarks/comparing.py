"""Layers and rivals beside one another: the same data, split, vocabulary, time and number of parameters, three seeds.

Each row is a trial of `rnnkit compare`, in a process of its own, with the options below and the defaults else; nothing
is chosen for one layer alone, but for the number of units that makes the parameters alike. Tiny Shakespeare is scored
on nanoGPT's validation split, M4 on the last steps of the training series, the others on their test splits. Needs
RNNKIT_DATA. Rows want a core of their own: taskset -c 0 python benchmarks/comparing.py [--commit]; --table
prints what came of it.
"""

import dataclasses
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from record import finished, measure
from rnnkit.comparing import Work, fitting_sizes, judge, run_trial
from rnnkit.comparing.judgement import interval
from rnnkit.errors import RunError
from rnnkit.layers import LAYERS
from rnnkit.tasks import find_task

FIVE = ("lstm", "gru", "mingru", "cnn", "transformer")
SEEDS = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Set:
    """A data set: its task and files, which layers are compared on it, for how long, and how large they are."""

    task: str
    train: str
    valid: str | None
    test: str | None
    layers: tuple[str, ...]
    minutes: float
    parameters: int
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


DATA = {
    "tinyshakespeare": Set(
        "language-model",
        "lm/tinyshakespeare/train.txt",
        "lm/tinyshakespeare/valid.txt",
        None,
        tuple(LAYERS),
        3,
        1_000_000,
    ),
    "japanese-vowels": Set(
        "series-classification",
        "gesture/japanese-vowels/JapaneseVowels_TRAIN.ts",
        None,
        "gesture/japanese-vowels/JapaneseVowels_TEST.ts",
        FIVE,
        0.5,
        150_000,
    ),
    "sst2": Set(
        "text-classification",
        "sentiment/sst2/train.tsv",
        "sentiment/sst2/valid.tsv",
        "sentiment/sst2/test.tsv",
        FIVE,
        1,
        2_000_000,
    ),
    "m4-hourly": Set(
        "forecasting",
        "timeseries/m4-hourly/Hourly-train.csv.gz",
        None,
        None,
        FIVE,
        1.5,
        150_000,
        {"horizon": 48},
    ),
}
ROWS = [
    {"data": name, "layer": layer, "seed": seed} for name, one in DATA.items() for seed in SEEDS for layer in one.layers
]


def file(name: str) -> str:
    return str(Path(os.environ["RNNKIT_DATA"]) / name)


@cache
def sizes(name: str) -> dict[str, dict[str, int]]:
    """Return the units of each layer."""
    one = DATA[name]
    files = [file(one.train)], None if one.valid is None else [file(one.valid)]
    return fitting_sizes(find_task(one.task), *files, one.layers, parameters=one.parameters, options=one.options)


def run(row: dict[str, Any]) -> dict[str, Any]:
    one = DATA[row["data"]]
    options = {**one.options, "minutes": one.minutes, "layer": row["layer"], "seed": row["seed"]}
    options |= sizes(row["data"])[row["layer"]]
    valid, test = (None if name is None else (file(name),) for name in (one.valid, one.test))
    with tempfile.TemporaryDirectory() as place:
        trial = run_trial(Work(one.task, (file(one.train),), valid, test, Path(place) / "run", options, quiet=True))
    if trial.error is not None and "diverged" not in trial.error:
        raise RunError(trial.error)
    return {"objective": find_task(one.task).objective, **dataclasses.asdict(trial)}


def table() -> None:
    """Print what came of it as Markdown."""
    rows = finished("comparing")
    for name in DATA:
        some = [row for row in rows if row["row"]["data"] == name]
        if not some:
            continue
        metric = some[0]["objective"]
        by_layer: dict[str, list[dict[str, Any]]] = {}
        for row in some:
            by_layer.setdefault(row["layer"], []).append(row)
        whole = {layer: [row for row in trials if row["error"] is None] for layer, trials in by_layer.items()}
        values = {layer: [row["metrics"][metric] for row in trials] for layer, trials in whole.items() if trials}
        print(f"\n{name}\n\n| layer | {metric} | parameters | units | targets a second | µs a step |")
        print("|---|---|---|---|---|---|")
        for layer in sorted(values, key=lambda one: interval(values[one]).mean):
            first = whole[layer][0]
            step = first["step_microseconds"]
            print(
                f"| {layer} | {interval(values[layer])} | {first['parameters']:,} | {first['hidden_size']:,} "
                f"| {first['speed']:,.0f} | {'cannot stream' if step is None else f'{step:,.0f}'} |"
            )
        for layer, trials in by_layer.items():
            if failed := len(trials) - len(whole[layer]):
                print(f"\n{layer}: {failed} of {len(trials)} trainings diverged.")
        print(f"\n{judge(values, metric=metric)}")


if __name__ == "__main__":
    measure("comparing", ROWS, run, table=table)
