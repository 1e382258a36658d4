"""From files to a trained model: begin a run, or go on with one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnnkit.checkpoint import Run, load, model_folder
from rnnkit.config import merge, read_toml, to_toml
from rnnkit.errors import CheckpointError, ConfigError
from rnnkit.figures import training_curves
from rnnkit.tasks import TASKS, Task, find_task
from rnnkit.training.callbacks import Callback
from rnnkit.training.config import TrainingConfig
from rnnkit.training.trainer import Trainer

_log = logging.getLogger("rnnkit.training")


@dataclass(frozen=True)
class TrainResult:
    """A finished or interrupted run."""

    model: Task
    """The best validated state, in eval mode."""
    run: Path
    metrics: dict[str, float]
    """On the validation data, exact."""
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
    """Where a run's text comes from."""

    task: str
    data: tuple[str, ...]
    valid: tuple[str, ...] = ()
    """Empty where the task's rule cuts validation data off."""


def train(
    task: str,
    data: str | Path | Sequence[str | Path],
    *,
    valid: str | Path | Sequence[str | Path] | None = None,
    run: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> TrainResult:
    """Train a model on a user's own files.

    Args:
        task: Name or alias of the task.
        data: A file, a folder, or several.
        valid: Files to validate on; None cuts some off `data` by the task's rule.
        run: Folder to make; None is `runs/<file stem>`.
        overwrite: Replace a run that is already there.
        config: A TOML file of options.
        callbacks: Watch the run.
        **options: Options of the task or of training (`rnnkit config TASK` lists them); they override the file's.

    Returns:
        The model and its metrics beside the baseline's.

    Raises:
        ConfigError: If an option is unknown or out of range, or the run exists.
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
    configs = read_configs(task_class, config, options)
    paths = _paths(data)
    source = Source(task_class.name, paths, _paths(valid) if valid is not None else ())
    train_examples, valid_examples = _read(task_class, source, configs["model"])
    home = Run(Path(run) if run is not None else Path("runs") / _stem(paths[0]))
    home.create(overwrite=overwrite)
    with home.locked():
        torch.manual_seed(configs["training"].seed)
        prepared = task_class.prepare(train_examples, configs["model"])
        for note in prepared.notes():
            _log.info(note)
        _write_config(home, source, configs)
        for name, examples in (("train", train_examples), ("valid", valid_examples)):
            prepared.encode(examples).save(home.folder / "tokens" / name)
        prepared.save_assets(home.folder / "tokens")
        return _run(home, prepared, configs["training"], callbacks, resumed=False)


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
    with home.locked():
        tensors, facts = home.load_checkpoint()
        if facts["finished"]:
            raise ConfigError(
                f"{home.folder} is finished after {facts['step']:,} steps: evaluate or use it, "
                "or train a new run for longer"
            )
        torch.manual_seed(configs["training"].seed)
        prepared = task_class.load_assets(home.folder / "tokens", configs["model"])
        return _run(home, prepared, configs["training"], callbacks, resumed=True, state=(tensors, facts))


def read_configs(task_class: type[Task], path: str | Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Build a task's and training's options from a TOML file and options that override it.

    Args:
        task_class: The task.
        path: The file, or None.
        options: Name to value.

    Returns:
        "model": the task's config, "training": the TrainingConfig.

    Raises:
        ConfigError: If an option is unknown or out of range.
    """
    sections = {"model": task_class.config_class, "training": TrainingConfig}
    tables = read_toml(path) if path is not None else {}
    if tables.pop("task", task_class.name) != task_class.name:
        raise ConfigError(f"{path} is for another task than {task_class.name}")
    tables.pop("data", None)
    given = merge(sections, options, where="options")
    merge(sections, tables, where=str(path))
    merged: dict[str, dict[str, Any]] = {name: {} for name in sections}
    for name, section in sections.items():
        fields = section.__dataclass_fields__
        merged[name] = {key: value for key, value in tables.items() if key in fields} | dict(tables.get(name, {}))
        chosen = {key: getattr(given[name], key) for key in options if key in fields}
        if name == "training" and chosen.keys() & {"minutes", "epochs", "steps"}:
            merged[name] = {k: v for k, v in merged[name].items() if k not in ("minutes", "epochs", "steps")}
        merged[name] |= {key: value for key, value in chosen.items() if value is not None}
    return merge(sections, merged, where=str(path or "options"))


def _paths(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    many = [given] if isinstance(given, (str, Path)) else list(given)
    if not many:
        raise ConfigError("no data file is given; expected at least one")
    return tuple(str(path) for path in many)


def _stem(path: str) -> str:
    name = Path(path).resolve().name.removesuffix(".gz")
    return Path(name).stem or "run"


def _read(task_class: type[Task], source: Source, config: Any) -> tuple[Any, Any]:
    examples = task_class.read(source.data, config)
    if source.valid:
        return examples, task_class.read(source.valid, config)
    train_examples, valid_examples, rule = task_class.split(examples, config)
    _log.info(rule)
    return train_examples, valid_examples


def _write_config(home: Run, source: Source, configs: Mapping[str, Any]) -> None:
    head = f'task = "{source.task}"\n\n' + to_toml({"data": source}, comments=False)
    body = "\n".join(
        line for line in head.splitlines() if not line.startswith("task =") or line == head.splitlines()[0]
    )
    (home.folder / "config.toml").write_text(body + "\n\n" + to_toml(configs, comments=True))


def _read_run_config(home: Run) -> tuple[type[Task], dict[str, Any]]:
    tables = read_toml(home.folder / "config.toml")
    name = tables.pop("task", None)
    if name not in TASKS:
        raise CheckpointError(
            f"{home.folder / 'config.toml'} names the task {name!r}; expected one of {', '.join(TASKS)}"
        )
    tables.pop("data", None)
    sections = {"model": TASKS[name].config_class, "training": TrainingConfig}
    return TASKS[name], merge(sections, tables, where=str(home.folder / "config.toml"))


def _run(
    home: Run, task: Task, config: TrainingConfig, callbacks: Sequence[Callback], *, resumed: bool, state: Any = None
) -> TrainResult:
    tokens = home.folder / "tokens"
    train_data, valid_data = task.load_data(tokens / "train"), task.load_data(tokens / "valid")
    baseline = _baseline(home, task, train_data, valid_data)
    trainer = Trainer(task, config, home, train_data=train_data, valid_data=valid_data, callbacks=callbacks)
    if resumed:
        trainer.restore(*state)
    _log.info(
        "training %s parameters on %s, %s, %d threads",
        f"{sum(p.numel() for p in task.network.parameters()):,}",
        trainer.fabric.device.type,
        trainer.precision,
        trainer.threads,
    )
    try:
        trainer.fit()
    finally:
        _draw(home, task, baseline)
    model = load(model_folder(home.folder))
    return TrainResult(
        model=model,
        run=home.folder,
        metrics=model.score(valid_data),
        baselines={task.baseline_name: baseline},
        seconds=trainer.seconds,
        steps=trainer.step,
        best=trainer.best,
        stopped_by=trainer.stopped_by,
    )


def _baseline(home: Run, task: Task, train_data: Any, valid_data: Any) -> dict[str, float]:
    """Fit the baseline and score it on the validation data, once a run."""
    scores = home.folder / "baseline" / "scores.json"
    if scores.is_file():
        return json.loads(scores.read_text())
    baseline = task.fit_baseline(train_data)
    baseline.save(home.folder / "baseline" / "ngram.npz")
    metrics = task.score_baseline(baseline, valid_data)
    scores.write_text(json.dumps(metrics))
    return metrics


def _draw(home: Run, task: Task, baseline: Mapping[str, float]) -> None:
    line = (task.baseline_name, baseline[task.objective])
    training_curves(home.records(), home.folder / "curves.png", title=str(home.folder), baseline=line)
