"""Train layers on the same data with the same budget, seed after seed, and go on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rnnkit.checkpoint import writing
from rnnkit.comparing.judgement import judge
from rnnkit.comparing.trials import Trial, Work, count_parameters, run_trial
from rnnkit.config import refuse_unknown
from rnnkit.errors import ConfigError
from rnnkit.figures import layer_comparison
from rnnkit.layers import LAYERS
from rnnkit.tasks import Task, find_task
from rnnkit.training.config import read_configs
from rnnkit.training.interruption import signals_caught
from rnnkit.training.launch import file_names, run_name

_log = logging.getLogger("rnnkit.comparing")

CLOSE = 0.02  # share of the parameters asked for that a network may be away from them
LEAST, LARGEST = 4, 8192  # units that are tried, in fours: heads divide them alike


@dataclass(frozen=True)
class LayerComparison:
    """The trials of a comparison, in order.

    Attributes:
        task: Name.
        trials: All that are done.
        metric: The one that the layers are judged by; lower is better.
        verdict: What the differences are worth.
        folder: Where the runs, comparison.jsonl and comparison.png are.
    """

    task: str
    trials: tuple[Trial, ...]
    metric: str
    verdict: str
    folder: Path

    def by_layer(self) -> dict[str, list[Trial]]:
        """Return the trials of each layer that did not fail."""
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            if trial.error is None:
                found.setdefault(trial.layer, []).append(trial)
        return found


def compare(
    task: str,
    data: str | Path | Sequence[str | Path],
    *,
    layers: Sequence[str],
    seeds: int = 3,
    valid: str | Path | Sequence[str | Path] | None = None,
    test: str | Path | Sequence[str | Path] | None = None,
    folder: str | Path | None = None,
    parameters: int | None = None,
    quiet: bool = True,
    **options: Any,
) -> LayerComparison:
    """Train each layer with each seed on the same data, split, vocabulary and budget.

    A comparison that was stopped goes on where it was when it is asked for again in the same folder.

    Args:
        task: Name or alias of the task.
        data: A file, a folder, or several.
        layers: Names in LAYERS, at least one.
        seeds: How many seeds of each: 1, 2, ...
        valid: Files to validate on; None cuts some off `data` by the task's rule.
        test: Files to measure on; None measures on the validation data.
        folder: Where the runs and comparison.jsonl go; None is `runs/compare-<file stem>`.
        parameters: Give each layer as many units as make about so many parameters; None gives each the same units.
        quiet: Show no progress.
        **options: Options of the task and of training (`rnnkit config TASK` lists them).

    Returns:
        The comparison; a run that failed is a trial that says so.

    Raises:
        ConfigError: If an option is wrong, or the folder holds a comparison of something else.
        DataError: If a file cannot be used.
    """
    task_class = find_task(task)
    refuse_unknown("layers", layers, LAYERS)
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; expected 1 or more")
    taken = [name for name in ("layer", "seed") if name in options]
    if taken:
        raise ConfigError(f"{' and '.join(taken)} are what is compared; leave them out of the options")
    configs = read_configs(task_class, None, options)
    if configs["training"].devices > 1:
        raise ConfigError(f"devices is {configs['training'].devices}; expected 1: a comparison trains in one process")
    files = file_names(data)
    others = {name: None if some is None else file_names(some) for name, some in (("valid", valid), ("test", test))}
    for some in (files, *others.values()):
        if some is not None:
            task_class.read(list(some), configs["model"])  # what cannot be read is refused before anything is trained
    home = Path(folder) if folder is not None else Path("runs") / f"compare-{run_name(files[0])}"
    settings = {"task": task_class.name, "data": files, **others, "parameters": parameters, "options": options}
    done = _begin(home, settings)
    sizes = fitting_sizes(task_class, files, others["valid"], layers, parameters=parameters, options=options)
    with signals_caught(_end):
        for seed in range(1, seeds + 1):
            for layer in dict.fromkeys(layers):
                if any((trial.layer, trial.seed) == (layer, seed) for trial in done):
                    continue
                _log.info("%s, seed %d of %d", layer, seed, seeds)
                chosen = {**options, "layer": layer, "seed": seed, **sizes[layer]}
                work = Work(task_class.name, files, **others, run=home / f"{layer}-{seed}", options=chosen, quiet=quiet)
                done.append(run_trial(work))
                _keep(home, done[-1])
    asked = [trial for trial in done if trial.layer in layers and trial.seed <= seeds]
    return _judged(task_class, asked, home)


def _end(number: int) -> NoReturn:
    # an exception, so that the trial in progress ends its process
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _begin(home: Path, settings: Mapping[str, Any]) -> list[Trial]:
    """Make the folder, or read what is done there."""
    described = json.dumps(settings, indent=1, sort_keys=True, default=str)
    known, kept = home / "comparison.json", home / "comparison.jsonl"
    if known.is_file() and known.read_text() != described:
        raise ConfigError(f"{home} holds a comparison of something else ({known}); name another --run")
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        aside = known.with_suffix(".new")
        aside.write_text(described)
        aside.rename(known)
        lines = kept.read_text().splitlines(keepends=True) if kept.is_file() else []
        if lines and not lines[-1].endswith("\n"):  # a crash cut it short: it is trained again
            os.truncate(kept, sum(len(line.encode()) for line in lines[:-1]))
            del lines[-1]
    return [trial for trial in (Trial(**json.loads(line)) for line in lines) if trial.error is None]


def _keep(home: Path, trial: Trial) -> None:
    with writing(home), (home / "comparison.jsonl").open("a") as file:
        file.write(json.dumps(dataclasses.asdict(trial)) + "\n")


def fitting_sizes(
    task_class: type[Task],
    data: Sequence[str],
    valid: Sequence[str] | None,
    layers: Sequence[str],
    *,
    parameters: int | None,
    options: Mapping[str, Any],
) -> dict[str, dict[str, int]]:
    """Choose the units of each layer, in fours, so that all networks have about as many parameters.

    Args:
        task_class: The task.
        data: Files to train on.
        valid: Files to validate on; None where they are cut off the data.
        layers: Names in LAYERS.
        parameters: How many; None leaves the units to the options.
        options: Of the task and of training.

    Returns:
        For each layer the options that make it so.

    Raises:
        ConfigError: If a layer's smallest or largest network is far from it.
    """
    if parameters is None:
        return {layer: {} for layer in layers}
    config = read_configs(task_class, None, options)["model"]
    examples = task_class.read(list(data), config)
    if valid is None:
        examples, _, _ = task_class.split(examples, config)
    with tempfile.TemporaryDirectory() as place:
        task_class.prepare(examples, dataclasses.replace(config, hidden_size=8)).save_assets(Path(place))

        def count(layer: str, size: int) -> int:
            chosen = dataclasses.replace(config, layer=layer, hidden_size=size)
            return count_parameters(task_class.load_assets(Path(place), chosen).network)

        return {layer: {"hidden_size": _fitting(layer, count, parameters)} for layer in layers}


def _fitting(layer: str, count: Callable[[str, int], int], parameters: int) -> int:
    """Find the number of units, a multiple of LEAST, that comes nearest to a number of parameters."""
    below, above = 0, LEAST
    while count(layer, above) < parameters and above < LARGEST:
        below, above = above, 2 * above
    while above - below > LEAST:
        middle = (below + above) // (2 * LEAST) * LEAST
        below, above = (middle, above) if count(layer, middle) < parameters else (below, middle)
    size = min((one for one in (below, above) if one), key=lambda one: abs(count(layer, one) - parameters))
    found = count(layer, size)
    if abs(found - parameters) > CLOSE * parameters:
        nearest = f"{layer}: the nearest to {parameters:,} parameters is {found:,}, with {size:,} units"
        if size in (LEAST, LARGEST):
            raise ConfigError(f"parameters cannot be met. {nearest}, which is as far as it goes")
        _log.info(nearest)
    return size


def _judged(task_class: type[Task], trials: Sequence[Trial], home: Path) -> LayerComparison:
    metric = task_class.objective
    values: dict[str, list[float]] = {}
    failed: dict[str, list[str]] = {}
    for trial in trials:
        if trial.error is None:
            values.setdefault(trial.layer, []).append(float(trial.metrics[metric]))
        else:
            failed.setdefault(trial.layer, []).append(str(trial.seed))
    verdict = judge(values, metric=metric) if values else "Every run failed."
    if values and failed:
        which = ", ".join(f"{layer} with seed {' and '.join(seeds)}" for layer, seeds in failed.items())
        verdict += f" Failed, and left out of this: {which}."
    found = LayerComparison(task_class.name, tuple(trials), metric, verdict, home)
    if values:
        with writing(home):
            layer_comparison(values, home / "comparison.png", title=f"{task_class.name}: {metric}, each point a seed")
    return found
