"""From files to a trained model: begin a run, or go on with one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from rnnkit.checkpoint import Run, load, read_config, save_model, writing
from rnnkit.config import merge, read_toml, to_toml
from rnnkit.errors import CheckpointError, ConfigError, RnnkitError
from rnnkit.figures import training_curves, training_diagnostics
from rnnkit.tasks import Task, find_task
from rnnkit.tasks.base import Comparison, Data
from rnnkit.training.callbacks import Callback
from rnnkit.training.config import TrainingConfig, read_configs, sections
from rnnkit.training.machine import process_settings_kept
from rnnkit.training.processes import first_process, losses_reported, make_fabric
from rnnkit.training.report import write_report
from rnnkit.training.trainer import Trainer

_log = logging.getLogger("rnnkit.training")


@dataclass(frozen=True)
class TrainResult:
    """A finished or interrupted run."""

    model: Task
    """The best validated state, in eval mode."""
    run: Path
    metrics: dict[str, float]
    """On the validation data, exact; with several processes the first one has them."""
    baselines: dict[str, dict[str, float]]
    seconds: float
    """Wall time of training with its validation."""
    steps: int
    best: float
    """The objective that chose the best state, as estimated in training."""
    stopped_by: int | None
    """The signal that ended it early, if one did."""


@dataclass(frozen=True)
class Source:
    """Where a run's data came from; kept for the reader, the run itself holds what it needs."""

    train: tuple[str, ...]
    """Files and folders."""
    valid: tuple[str, ...] = ()
    """Files to validate on; empty where some of the data was cut off for it."""
    start: str | None = None
    """The model that training went on from."""


def train(
    task: str,
    data: str | Path | Sequence[str | Path],
    *,
    valid: str | Path | Sequence[str | Path] | None = None,
    run: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    start: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> TrainResult:
    """Train a model on a user's own files.

    The process's random numbers and number of threads are as before when it returns.

    Args:
        task: Name or alias of the task.
        data: A file, a folder, or several.
        valid: Files to validate on; None cuts some off `data` by the task's rule.
        run: Folder to make; None is `runs/<file stem>`.
        overwrite: Replace a run that is already there.
        config: A TOML file of options.
        start: A run or model folder to go on from: its options are the defaults, its vocabulary is kept or grown, its
            weights are where training begins.
        callbacks: Watch the run.
        **options: Options of the task or of training (`rnnkit config TASK` lists them); they override the file's.

    Returns:
        The model and its metrics beside the baseline's.

    Raises:
        ConfigError: If an option is unknown or out of range, does not fit `start`, or the run exists.
        CheckpointError: If `start` cannot be read.
        DataError: If a file cannot be used.
        RunError: If training diverges or the disk is full; the last good checkpoint is kept.

    Example:
        >>> from rnnkit.tasks import LanguageModel
        >>> folder = getfixture("tmp_path")
        >>> sample = LanguageModel.demo_data()
        >>> result = train("language-model", sample, run=folder / "run", steps=2, hidden_size=8)
        >>> len(result.model.generate("ROMEO:", max_tokens=20, seed=1))
        20
    """
    task_class = find_task(task)
    before = None if start is None else _load_start(task_class, start)
    configs = read_configs(
        task_class, config, options, model=None if before is None else task_class.config_from(before)
    )
    validation = file_names(valid) if valid is not None else ()
    source = Source(file_names(data), validation, None if start is None else str(start))
    home = Run(Path(run) if run is not None else Path("runs") / run_name(source.train[0]))
    if not overwrite and first_process():
        home.refuse_existing()
    fabric = make_fabric(configs["training"])
    if not first_process():
        return _join(home, fabric)
    examples = _read(task_class, source, configs["model"])
    with home.locked(), process_settings_kept(), losses_reported(fabric, home.folder):
        if not overwrite:
            home.refuse_existing()  # another process may have been quicker
        torch.manual_seed(configs["training"].seed)
        prepared = task_class.prepare(examples["train"], configs["model"], start=before)
        for note in prepared.notes():
            _log.info(note)
        prepared.check(examples["valid"])
        home.clear()
        _write(home, prepared, source, configs, examples)
        del examples
        fabric.launch()
        return _run(home, prepared, configs["training"], callbacks, fabric=fabric)


def resume(run: str | Path, *, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Go on with an interrupted run from its last checkpoint.

    Args:
        run: Its folder.
        callbacks: Watch the run.

    Returns:
        As `train` returns.

    Raises:
        CheckpointError: If the folder holds no run that can go on.
        ConfigError: If the run is finished, or another process trains it.
        RunError: If training diverges or the disk is full.
    """
    home = Run(Path(run))
    if not (home.folder / "config.toml").is_file():
        raise CheckpointError(f"{home.folder} holds no run: {home.folder / 'config.toml'} is missing")
    task_class, configs = _read_run_config(home)
    fabric = make_fabric(configs["training"])
    if not first_process():
        return _join(home, fabric)
    with home.locked(), process_settings_kept(), losses_reported(fabric, home.folder):
        home.mend()
        checkpoint = home.load_checkpoint() if home.begun else None
        if checkpoint is not None and checkpoint[1].get("finished"):
            raise ConfigError(
                f"{home.folder} is finished after {checkpoint[1]['step']:,} steps: evaluate or use it, "
                "or train a new run for longer"
            )
        if checkpoint is None and read_toml(home.folder / "config.toml")["data"].get("start") not in (None, "none"):
            raise CheckpointError(
                f"{home.folder} ended before its first checkpoint, without the weights it went on from: "
                "begin it again with --from and --overwrite"
            )
        torch.manual_seed(configs["training"].seed)  # as `train` does: killed before its first checkpoint, it begins
        prepared = task_class.load_assets(home.tokens, configs["model"])
        fabric.launch()
        return _run(home, prepared, configs["training"], callbacks, fabric=fabric, checkpoint=checkpoint)


def _load_start(task_class: type[Task], start: str | Path) -> Task:
    model = load(start)
    if model.name not in (task_class.name, *task_class.starts_from):
        expected = " or ".join((task_class.name, *task_class.starts_from))
        raise ConfigError(f"{start} is a {model.name} model; expected a {expected} to go on from")
    return model


def file_names(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return one path or several as names.

    Raises:
        ConfigError: If there is none.
    """
    many = [given] if isinstance(given, (str, Path)) else list(given)
    if not many:
        raise ConfigError("no data file is given; expected at least one")
    return tuple(str(path) for path in many)


def run_name(path: str) -> str:
    """Return what a run on a file or folder is called."""
    name = Path(path).resolve().name.removesuffix(".gz")
    return Path(name).stem or "run"


def _read(task_class: type[Task], source: Source, config: Any) -> dict[str, Any]:
    examples = task_class.read(source.train, config)
    if source.valid:
        return {"train": examples, "valid": task_class.read(source.valid, config)}
    train_examples, valid_examples, rule = task_class.split(examples, config)
    _log.info(rule)
    return {"train": train_examples, "valid": valid_examples}


def _write(home: Run, task: Task, source: Source, configs: Mapping[str, Any], examples: Mapping[str, Any]) -> None:
    """Write what a run begins with; its config last, for that is what makes a folder a run."""
    with writing(home.folder):
        for folder in (home.checkpoints, home.baseline):
            folder.mkdir()
        for name, part in examples.items():
            task.encode(part, home.tokens / name)
        task.save_assets(home.tokens)
        options = to_toml({"data": source, **configs}, comments=True)
        (home.folder / "config.toml").write_text(f'task = "{task.name}"\n\n{options}')


def _read_run_config(home: Run) -> tuple[type[Task], dict[str, Any]]:
    task_class, tables = read_config(home.folder)
    tables.pop("data", None)
    return task_class, merge(sections(task_class), tables, where=str(home.folder / "config.toml"))


def _join(home: Run, fabric: Fabric) -> TrainResult:
    """Take part in a run as one of its further processes, once the first one has written what it begins with."""
    try:
        with process_settings_kept(), losses_reported(fabric, home.folder):
            fabric.launch()
            task_class, configs = _read_run_config(home)
            prepared = task_class.load_assets(home.tokens, configs["model"])
            return _run(home, prepared, configs["training"], (), fabric=fabric)
    except RnnkitError as error:  # the first process meets it too, or loses this one: it reports, its exit code counts
        _log.debug("process %d of %s ends: %s", fabric.global_rank, home.folder, error)
        raise SystemExit(0) from None


def _run(
    home: Run,
    task: Task,
    config: TrainingConfig,
    callbacks: Sequence[Callback],
    *,
    fabric: Fabric,
    checkpoint: tuple[dict[str, Tensor], dict[str, Any]] | None = None,
) -> TrainResult:
    first = first_process()
    train_data, valid_data = task.load_data(home.tokens / "train"), task.load_data(home.tokens / "valid")
    baseline = _baseline(home, task, train_data, valid_data) if first else {}
    trainer = Trainer(
        task, config, home, train_data=train_data, valid_data=valid_data, callbacks=callbacks, fabric=fabric
    )
    checkpoint = fabric.broadcast(checkpoint)
    if checkpoint is not None:
        trainer.restore(*checkpoint)
        if first:
            home.cut_log(last_step=trainer.step)
    _log.log(
        logging.INFO if first else logging.DEBUG,
        "training %s parameters on %s, %s, %d threads%s",
        f"{sum(p.numel() for p in task.network.parameters()):,}",
        trainer.fabric.device.type,
        trainer.precision,
        trainer.threads,
        f" in each of {fabric.world_size} processes" if fabric.world_size > 1 else "",
    )
    data = {"training": train_data, "validation": valid_data}
    _fit(trainer, data, baseline)
    fabric.barrier()  # the model is written
    model = _best_model(home, trainer, valid_data)
    compared = model.compare(None, valid_data) if first else Comparison({}, {})
    result = TrainResult(
        model=model,
        run=home.folder,
        metrics=compared.metrics,
        baselines={task.baseline_name: baseline},
        seconds=trainer.seconds,
        steps=trainer.step,
        best=trainer.best,
        stopped_by=trainer.stopped_by,
    )
    if first:
        _report(trainer, data, baseline, compared=compared)
        for callback in callbacks:
            callback.on_result(result)
    return result


def _best_model(home: Run, trainer: Trainer, valid_data: Any) -> Task:
    """Load the best validated state, let validation data choose what is not learnt, and draw how it does."""
    model = load(home.folder, device=trainer.fabric.device.type)
    if first_process():
        if model.calibrate(valid_data):
            save_model(model, home.model)
        with _lesser_matter(home.folder):
            model.draw(valid_data, home.folder, title=f"{home.folder} on its validation data")
    return model


def _fit(trainer: Trainer, data: Mapping[str, Data], baseline: Mapping[str, float]) -> None:
    """Train, and show what came of it however it ended."""
    try:
        trainer.fit()
    except BaseException as error:
        _show(trainer, data, baseline, failure=error)
        raise
    _show(trainer, data, baseline)


def _show(
    trainer: Trainer,
    data: Mapping[str, Data],
    baseline: Mapping[str, float],
    *,
    failure: BaseException | None = None,
) -> None:
    if first_process():
        _draw(trainer.run, trainer.task, baseline)
        _report(trainer, data, baseline, failure=failure)


def _baseline(home: Run, task: Task, train_data: Any, valid_data: Any) -> dict[str, float]:
    """Fit the baseline and score it on the validation data, once a run."""
    if home.baseline_scores.is_file():
        return json.loads(home.baseline_scores.read_text())
    baseline = task.fit_baseline(train_data)
    metrics = task.score_baseline(baseline, valid_data)
    with writing(home.baseline):
        task.save_baseline(baseline, home.baseline)
        home.baseline_scores.write_text(json.dumps(metrics))
    return metrics


def _draw(home: Run, task: Task, baseline: Mapping[str, float]) -> None:
    line = (task.baseline_name, baseline[task.objective])
    records, title = home.records(), str(home.folder)
    with _lesser_matter(home.folder / "curves.png") as path:
        training_curves(records, path, title=title, baseline=line)
    with _lesser_matter(home.folder / "diagnostics.png") as path:
        training_diagnostics(records, path, title=title, unit=task.unit)


def _report(
    trainer: Trainer,
    data: Mapping[str, Data],
    baseline: Mapping[str, float],
    *,
    compared: Comparison | None = None,
    failure: BaseException | None = None,
) -> None:
    with _lesser_matter(trainer.run.folder / "report.md") as path:
        write_report(path, trainer, data=data, baseline=baseline, compared=compared, failure=failure)


@contextmanager
def _lesser_matter(path: Path) -> Iterator[Path]:
    """Let a file that cannot be written, on a full disk most often, not hide what ended the run."""
    try:
        yield path
    except OSError as error:
        _log.warning("%s could not be written: %s", path, error)
