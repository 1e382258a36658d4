"""`rnnkit compare`: layers on the same data and budget."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from rnnkit.cli.options import AS_TABLES, Common
from rnnkit.cli.output import print_json, print_rows
from rnnkit.comparing import LayerComparison, Trial, compare
from rnnkit.comparing.judgement import interval
from rnnkit.config import given, partial
from rnnkit.tasks import TASKS, Task
from rnnkit.training.config import training_class

COMPARISON, MODEL, TRAINING = (
    Group(name, sort_key=key) for key, name in enumerate(("Comparison", "Model", "Training"), start=1)
)
MEGABYTE = 1e6

HELP = """Compare layers on {task}: each trained on your files for the same time, several seeds each.

Args:
    data: Files or folders to train on.
    layers: Names of layers.
    seeds: How many seeds of each layer.
    parameters: Give each layer as many units as make about so many parameters, in place of the same units.
    valid: Files to validate on; without any, some of the data is kept for it.
    test: Files to measure on; without any, the validation data.
    run: Folder for the runs; runs/compare- and the file's name unless given. A comparison in it goes on.
    model: The model's options.
    training: The training's options.
    common: How to report.
"""

app = App(
    name="compare", help="Compare layers on your files: same data, same budget, several seeds.", help_format="plaintext"
)


def make_command(task: type[Task]) -> Callable[..., int]:
    """Return the command that compares layers on a task."""

    def command(
        data: list[Path],
        /,
        *,
        layers: list[str],
        seeds: int = 3,
        parameters: int | None = None,
        valid: list[Path] | None = None,
        test: list[Path] | None = None,
        run: Path | None = None,
        model: Any = None,
        training: Any = None,
        common: Common = AS_TABLES,
    ) -> int:
        options = {**(given(model) if model else {}), **(given(training) if training else {})}
        found = compare(
            task.name,
            data,
            layers=[one for words in layers for one in words.split(",")],
            seeds=seeds,
            valid=valid,
            test=test,
            folder=run,
            parameters=parameters,
            quiet=common.quiet,
            **options,
        )
        return _report(found, task, common)

    command.__doc__ = HELP.format(task=task.name)
    command.__annotations__ |= {
        "layers": Annotated[list[str], Parameter(group=COMPARISON, consume_multiple=True, negative=())],
        "model": Annotated[partial(task.config_class) | None, Parameter(name="*", group=MODEL)],
        "training": Annotated[partial(training_class(task)) | None, Parameter(name="*", group=TRAINING)],
    }
    return command


for _task in TASKS.values():
    app.command(make_command(_task), name=(_task.name, *_task.aliases))


def _report(found: LayerComparison, task: type[Task], common: Common) -> int:
    if common.json:
        print_json({**vars(found), "seconds": sum(trial.seconds for trial in found.trials)})
    else:
        by_layer = found.by_layer()
        order = sorted(by_layer, key=lambda layer: statistics.fmean(t.metrics[found.metric] for t in by_layer[layer]))
        heads = (found.metric, "parameters", "units", f"{task.unit}/s", "µs a step", "MB", "MB on disk", "steps")
        print_rows(
            f"{found.folder}: {found.metric} with its 95 % interval over seeds, lower is better",
            ("layer", *heads),
            [[layer, *_cells(by_layer[layer], found.metric)] for layer in order],
        )
        for trial in found.trials:
            if trial.error is not None:
                print(f"{trial.layer}, seed {trial.seed}, failed: {trial.error}")
        print(found.verdict)
        print(f"each run, comparison.jsonl and comparison.png are in {found.folder}")
    return 3 if all(trial.error is not None for trial in found.trials) else 0


def _cells(trials: list[Trial], metric: str) -> list[str]:
    first = trials[0]
    steps = [trial.step_microseconds for trial in trials if trial.step_microseconds is not None]
    return [
        str(interval([trial.metrics[metric] for trial in trials])),
        f"{first.parameters:,}",
        f"{first.hidden_size:,}",
        f"{statistics.median(trial.speed for trial in trials):,.0f}",
        f"{statistics.median(steps):,.0f}" if steps else "cannot stream",
        f"{max(trial.memory_megabytes for trial in trials):,.0f}",
        f"{first.file_bytes / MEGABYTE:,.2f}",
        f"{statistics.median(trial.steps for trial in trials):,.0f}",
    ]
