"""`rnnkit train`, `rnnkit demo`, `rnnkit config`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from rnnkit.cli.options import AS_TABLES, Common, ParallelTraining
from rnnkit.cli.output import print_json, print_metrics
from rnnkit.config import given, partial, to_toml
from rnnkit.errors import ConfigError
from rnnkit.tasks import TASKS, Task, Translator, find_task
from rnnkit.training import Callback, ProgressBar, TensorBoard, TrainResult, train
from rnnkit.training import resume as continue_run
from rnnkit.training.config import training_class
from rnnkit.training.processes import first_process

PARALLEL, MODEL, TRAINING = (
    Group(name, sort_key=key) for key, name in enumerate(("Parallel files", "Model", "Training"), start=1)
)
DEMO_MINUTES = 0.5

TRAIN_HELP = """Train a {task} model on your files.

Args:
    data: Files or folders to train on.
    valid: Files to validate on; without any, some of the data is kept for it.
    run: Folder to make for the run; runs/ and the file's name unless given.
    overwrite: Replace a run that is already there.
    config: A TOML file of options, as `rnnkit config {task}` prints it; options given here override it.
    start: A run or model folder to go on from: its options, its vocabulary (kept or grown) and its weights.
    resume: Go on with a run instead.
    tensorboard: Write curves for TensorBoard into the run's folder too.
    model: The model's options.
    training: The training's options.
    parallel: Parallel files in place of data and valid.
    common: How to report.
"""

app = App(name="train", help="Train a model on your files, or --resume a run.", help_format="plaintext")


@app.default
def resume_run(
    *words: Annotated[str, Parameter(show=False)],
    resume: Path | None = None,
    tensorboard: Annotated[bool, Parameter(negative=())] = False,
    common: Common = AS_TABLES,
) -> int:
    """Go on with an interrupted run. To begin one: rnnkit train TASK FILE.

    Args:
        words: Nothing; a task that does not exist ends up here.
        resume: The run's folder.
        tensorboard: Write curves for TensorBoard into the run's folder too.
        common: How to report.

    Returns:
        The exit code.
    """
    if words:
        find_task(words[0])
    if resume is None:
        raise ConfigError(f"train needs a task and a file, or --resume RUN; the tasks are {', '.join(TASKS)}")
    return _report(continue_run(resume, callbacks=_watchers(common, tensorboard)), common)


def _watchers(common: Common, tensorboard: bool = False) -> tuple[Callback, ...]:
    bars = () if common.quiet else (ProgressBar(),)
    watchers = (TensorBoard(), *bars) if tensorboard else bars
    return watchers if first_process() else ()


def make_command(task: type[Task]) -> Callable[..., int]:
    """Return the command that trains a task: its options are the fields of the two configs."""

    def command(
        data: list[Path] | None = None,
        /,
        *,
        valid: list[Path] | None = None,
        run: Path | None = None,
        overwrite: bool = False,
        config: Path | None = None,
        start: Path | None = None,
        resume: Path | None = None,
        tensorboard: bool = False,
        model: Any = None,
        training: Any = None,
        parallel: Any = None,
        common: Common = AS_TABLES,
    ) -> int:
        if resume is not None:
            raise ConfigError(f"--resume {resume} goes without task and data: rnnkit train --resume {resume}")
        data, valid = _with_parallel(data, valid, parallel)
        if data is None:
            raise ConfigError(f"no data file is given; expected one: rnnkit train {task.name} FILE")
        options = {**(given(model) if model else {}), **(given(training) if training else {})}
        result = train(
            task.name,
            data,
            valid=valid,
            run=run,
            overwrite=overwrite,
            config=config,
            start=start,
            callbacks=_watchers(common, tensorboard),
            **options,
        )
        return _report(result, common)

    of_parallel = Annotated[ParallelTraining | None, Parameter(name="*", group=PARALLEL)]
    command.__doc__ = TRAIN_HELP.format(task=task.name)
    command.__annotations__ |= {
        "model": Annotated[partial(task.config_class) | None, Parameter(name="*", group=MODEL)],
        "training": Annotated[partial(training_class(task)) | None, Parameter(name="*", group=TRAINING)],
        "parallel": of_parallel if task is Translator else Annotated[None, Parameter(parse=False)],
        "start": Annotated[Path | None, Parameter(name="--from")],
        "overwrite": Annotated[bool, Parameter(negative=())],
        "tensorboard": Annotated[bool, Parameter(negative=())],
    }
    return command


def _with_parallel(
    data: list[Path] | None, valid: list[Path] | None, parallel: ParallelTraining | None
) -> tuple[list[Path] | None, list[Path] | None]:
    """Put parallel files where files to train and to validate on are given."""
    if parallel is None:
        return data, valid
    return parallel.instead_of(data), parallel.validation.instead_of(valid)


for _task in TASKS.values():
    app.command(make_command(_task), name=(_task.name, *_task.aliases))


def _report(result: TrainResult, common: Common) -> int:
    if not first_process():
        return 0  # the first one reports, and its exit code counts
    if common.json:
        print_json(
            {
                "task": result.model.name,
                "model": str(result.run),
                "data": "validation",
                "metrics": result.metrics,
                "baselines": result.baselines,
                "seconds": result.seconds,
                "steps": result.steps,
                "interrupted": result.stopped_by is not None,
            }
        )
    else:
        words = "interrupted after" if result.stopped_by else "trained for"
        title = f"{result.run}: {words} {result.steps:,} steps, {result.seconds / 60:.1f} minutes; on validation data:"
        print_metrics(result.metrics, result.baselines, title=title, unit=result.model.unit)
        print(f"the run is in {result.run}, its report in {result.run / 'report.md'}")
        if result.stopped_by:
            print(f"go on with: rnnkit train --resume {result.run}")
    return 128 + result.stopped_by if result.stopped_by else 0


def config(task: str, /) -> None:
    """Print every option of a task with its default and meaning, as TOML for `rnnkit train --config`.

    Args:
        task: Name of the task.
    """
    found = find_task(task)
    print(f'task = "{found.name}"\n')
    print(to_toml({"model": found.config_class(), "training": training_class(found)()}, comments=True), end="")


def demo(
    task: str = "language-model",
    /,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    run: Path | None = None,
    common: Common = AS_TABLES,
) -> int:
    """Train on a bundled sample, evaluate, and use the model.

    Args:
        task: Name of the task.
        minutes: How long to train; half a minute unless given.
        steps: Train for so many updates instead.
        run: Folder to make for the run; runs/demo-TASK unless given, which is replaced.
        common: How to report.

    Returns:
        The exit code.
    """
    found = find_task(task)
    folder = run or Path("runs") / f"demo-{found.name}"
    budget: dict[str, Any] = {"steps": steps} if steps is not None else {"minutes": minutes or DEMO_MINUTES}
    sample = found.demo_data()
    print(f"$ rnnkit train {found.name} {sample} --run {folder}", file=sys.stderr)
    result = train(found.name, sample, run=folder, overwrite=True, callbacks=_watchers(common), **budget)
    code = _report(result, common)
    if not common.json and not code:
        for line in result.model.show():
            print(line)
    return code
