"""The report of a run: what was trained, how, what came out, and how to use and repeat it, as Markdown."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shlex
import signal
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rnnkit import __version__
from rnnkit.checkpoint import read_config
from rnnkit.metrics import format_metric, metric_words

if TYPE_CHECKING:
    from rnnkit.tasks.base import Comparison, Data
    from rnnkit.training.trainer import Trainer

PICTURES = {
    "curves.png": "losses and learning rate",
    "confusion.png": "which label was taken for which",
    "earliness.png": "accuracy against the share of the sequence seen",
    "forecasts.png": "the worst forecasts, and what came",
    "diagnostics.png": "gradients, updates, speed and memory",
}

Rows = Iterable[Sequence[str]]


def write_report(
    path: Path,
    trainer: Trainer,
    *,
    data: Mapping[str, Data],
    baseline: Mapping[str, float],
    compared: Comparison | None,
    failure: BaseException | None = None,
) -> None:
    """Write the report of a run that has ended, replacing an earlier one in one move.

    Args:
        path: The Markdown file.
        trainer: As it ended.
        data: What it was trained and validated on, by those words.
        baseline: The baseline's metrics on the validation data.
        compared: The model on the same data; None where it was not scored.
        failure: What ended the run, if it failed.

    Raises:
        OSError: If the file cannot be written.
    """
    parts = [
        f"# {trainer.run.folder}",
        _summary(trainer, failure),
        _outcome(trainer, baseline, compared),
        *(f"![{text}]({name})" for name, text in PICTURES.items() if (trainer.run.folder / name).is_file()),
        _data(trainer, data),
        _options(trainer),
        _training(trainer),
        _commands(trainer),
    ]
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _summary(trainer: Trainer, failure: BaseException | None) -> str:
    """Say in two sentences what this is and how it ended."""
    size = sum(parameter.numel() for parameter in trainer.task.network.parameters())
    first = (
        f"A {trainer.task.name} of {size:,} parameters, trained for {_duration(trainer.seconds)}, "
        f"{trainer.step:,} steps."
    )
    resume = f"`rnnkit train --resume {shlex.quote(str(trainer.run.folder))}` goes on with it."
    if failure is not None:
        return f"{first} **The run failed**: {str(failure) or type(failure).__name__}"
    if trainer.stopped_by:
        name = signal.Signals(trainer.stopped_by).name
        return f"{first} It was **interrupted** by {name} at {trainer.progress:.0%} of its budget; {resume}"
    if trainer.stopped_early:
        return f"{first} It stopped early: {trainer.since_best} validations in a row had brought no better model."
    return f"{first} It is finished."


def _outcome(trainer: Trainer, baseline: Mapping[str, float], compared: Comparison | None) -> str:
    """Put the metrics of the model and the baseline side by side, and say when the best state was found."""
    task = trainer.task
    if compared is None:
        heads, columns = (task.baseline_name,), (baseline,)
        note = "The model was not scored; `rnnkit evaluate` does it."
    else:
        heads, columns = ("model", task.baseline_name), (compared.metrics, baseline)
        note = " ".join(compared.remarks)
    rows = [
        (
            metric_words(name, task.unit),
            *(format_metric(name, column[name]) if name in column else "" for column in columns),
        )
        for name in columns[0]
    ]
    title = "## What came out\n\nOn the validation data, all of it, by the best validated state:"
    return "\n\n".join(part for part in (title, _table(("", *heads), rows), note, _best(trainer)) if part)


def _best(trainer: Trainer) -> str:
    objective = trainer.task.objective
    validations = [record for record in trainer.run.records() if record.get("kind") == "validation"]
    if not validations:
        return "No validation was reached."
    best = min(validations, key=lambda record: record[objective])
    value = format_metric(objective, best[objective])
    return (
        f"The best of {len(validations)} validation{'s' * (len(validations) > 1)} gave {value} "
        f"{metric_words(objective, trainer.task.unit)}, as estimated in training: at step {best['step']:,}, "
        f"after {_duration(best['seconds'])} and {best['epoch']:.2f} passes over the data. That state is in `model/`."
    )


def _data(trainer: Trainer, data: Mapping[str, Data]) -> str:
    """Name the files and count what is in them."""
    files = read_config(trainer.run.folder)[1].get("data", {})
    named = [
        f"- {use}: {', '.join(f'`{name}`' for name in files[key])}"
        for use, key in (("trained on", "train"), ("validated on", "valid"))
        if files.get(key)
    ]
    if files.get("start"):
        named.append(f"- went on from: `{files['start']}`")
    notes = [f"- {note}" for note in trainer.task.notes()]
    sizes = [part.sizes() for part in data.values()]
    names = dict.fromkeys(name for part in sizes for name in part)
    rows = [(name, *(f"{part.get(name, 0):,}" for part in sizes)) for name in names]
    return "\n\n".join(("## Data", "\n".join(named + notes), _table(("", *data), rows)))


def _options(trainer: Trainer) -> str:
    """List the options that are not at their defaults."""
    rows = [
        (section, f"`{field.name}`", _value(getattr(config, field.name)), _value(field.default))
        for section, config in (("model", trainer.task.config), ("training", trainer.config))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    if not rows:
        return "## Options\n\nEvery option has its default; `config.toml` lists them all."
    table = _table(("section", "option", "value", "default"), rows, numbers=False)
    return f"## Options\n\nThose that differ from the defaults; `config.toml` lists them all.\n\n{table}"


def _value(value: object) -> str:
    return "unset" if value is None else f"`{value}`"


def _training(trainer: Trainer) -> str:
    """Say how long, how fast, and on what it was trained."""
    records = [record for record in trainer.run.records() if record.get("kind") == "train"]
    speeds = [record["speed"] for record in records]
    memory = [record["memory_mb"] for record in records if "memory_mb" in record]
    done = trainer.batches.epoch + trainer.batches.progress
    rows = [
        ("budget", _budget(trainer)),
        ("steps", f"{trainer.step:,} ({done:.2f} passes over the data)"),
        ("time, validation included", _duration(trainer.seconds)),
        *(
            [("speed, the median of the log", f"{statistics.median(speeds):,.0f} {trainer.task.unit} a second")]
            if speeds
            else []
        ),
        *([("most memory of the log", f"{max(memory):,.0f} MB")] if memory else []),
        ("number format", trainer.precision),
        ("device", _device(trainer)),
        *([("processes", str(trainer.fabric.world_size))] if trainer.fabric.world_size > 1 else []),
        ("threads", str(trainer.threads)),
        ("seed", str(trainer.config.seed)),
        ("versions", f"rnnkit {__version__}, torch {torch.__version__}, numpy {np.__version__}"),
        ("system", f"Python {platform.python_version()}, {platform.platform()}"),
    ]
    return "## Training\n\n" + _table(("", ""), rows, numbers=False)


def _budget(trainer: Trainer) -> str:
    config = trainer.config
    if config.budget_seconds is not None:
        return _duration(config.budget_seconds)
    return f"{config.steps:,} steps" if config.steps is not None else f"{config.epochs:g} passes over the data"


def _device(trainer: Trainer) -> str:
    kind = trainer.fabric.device.type
    if kind == "cuda":
        return f"cuda, {torch.cuda.get_device_name()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{kind}, {names[0]}" if names else kind


def _commands(trainer: Trainer) -> str:
    """Give the command lines that use the model and that repeat the run."""
    folder = shlex.quote(str(trainer.run.folder))
    use = [f"rnnkit {line.format(model=folder)}" for line in trainer.task.uses]
    python = f"import rnnkit\n\nmodel = rnnkit.load({json.dumps(str(trainer.run.folder), ensure_ascii=False)})"
    parts = ["## Use it", _code("text", "\n".join(use)), _code("python", python)]
    return "\n\n".join([*parts, "## Repeat it", _promise(trainer), _code("text", _repetition(trainer))])


def _promise(trainer: Trainer) -> str:
    where = "Call it in the folder in which this run was begun."
    if trainer.config.budget_seconds is not None:
        return f"{where} The budget is time: another run makes as many steps as the machine then allows."
    if trainer.fabric.device.type == "cpu":
        return f"{where} With the same files, machine and versions it ends in the same bits."
    return where


def _repetition(trainer: Trainer) -> str:
    """Write the command that trains again with the same data, options, device, number format and threads."""
    run, files = trainer.run.folder, read_config(trainer.run.folder)[1].get("data", {})
    words = ["rnnkit", "train", trainer.task.name, *files.get("train", ())]
    for path in files.get("valid", ()):
        words += ["--valid", path]
    if files.get("start"):
        words += ["--from", files["start"]]
    words += ["--config", str(run / "config.toml"), "--run", f"{run}-again"]
    settled = {"device": trainer.fabric.device.type, "precision": trainer.precision, "threads": trainer.threads}
    for name, value in settled.items():
        if getattr(trainer.config, name) != value:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _table(heads: Sequence[str], rows: Rows, *, numbers: bool = True) -> str:
    """Lay rows out as a Markdown table, all but the first column to the right where they are numbers."""
    side = "---:" if numbers else "---"
    lines = [heads, ["---", *[side] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _duration(seconds: float) -> str:
    """Write a time as a person says it."""
    if seconds < 120:
        return f"{seconds:.1f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.1f} minutes"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
