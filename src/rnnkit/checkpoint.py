"""Folders on disk: a model to load anywhere, a run to resume. Safetensors, TOML and JSON; no pickle.

runs/x/    config.toml  log.jsonl  report.md  curves.png  diagnostics.png  tokens/  baseline/  checkpoints/  model/
model/     weights.safetensors  config.toml  version  and what the task adds (a vocabulary)
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from rnnkit.config import merge, read_toml, to_toml
from rnnkit.errors import CheckpointError, ConfigError, RunError
from rnnkit.tasks import TASKS, Task

_log = logging.getLogger("rnnkit.checkpoint")

VERSION = 1
KEPT_CHECKPOINTS = 2


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder aside, flush it to disk, and rename it into place, so that it is always whole.

    Args:
        folder: Replaced if it exists.
        write: Fills the empty folder it is given.

    Raises:
        RunError: If the disk is full or cannot be written; what was there before is still there.
    """
    aside, old = folder.with_name(f".{folder.name}.new"), _replaced(folder)
    try:
        with writing(folder):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write(aside)
            for path in (*aside.rglob("*"), aside):
                _flush(path)
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.rename(old)
            aside.rename(folder)
            _flush(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replaced(folder: Path) -> Path:
    """Name where a folder stands for the moment between the two renames that replace it."""
    return folder.with_name(f".{folder.name}.old")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full or broken disk into an error that says so.

    Args:
        path: What the block writes.

    Yields:
        Once.

    Raises:
        RunError: If the block cannot write.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} could not be written: {error}; free some space or choose another --run") from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_model(task: Task, folder: str | Path) -> None:
    """Write all that is needed to use a model.

    Args:
        task: The model.
        folder: Replaced if it exists.

    Raises:
        RunError: If the folder cannot be written.
    """

    def write(aside: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in task.network.state_dict().items()}
        save_file(weights, aside / "weights.safetensors", metadata={"format": "pt"})
        (aside / "config.toml").write_text(f'task = "{task.name}"\n\n' + to_toml({"model": task.config}, comments=True))
        (aside / "version").write_text(f"{VERSION}\n")
        task.save_assets(aside)

    write_folder(Path(folder), write)


def load(path: str | Path, *, device: str = "cpu") -> Task:
    """Load a trained model.

    Args:
        path: A run folder (its best validated state is taken) or a model folder.
        device: Where to compute.

    Returns:
        The task, in eval mode.

    Raises:
        CheckpointError: If the folder is missing, damaged, of another program or of a later version.
        ConfigError: If the device is not there.
    """
    folder = model_folder(path)
    try:
        task_class, tables = read_config(folder)
        config = merge({"model": task_class.config_class}, tables, where=str(folder / "config.toml"))["model"]
        task = task_class.load_assets(folder, config)
    except ConfigError as error:
        raise CheckpointError(f"{error} Mend the file, or copy the model again.") from error
    load_weights(task, folder)
    try:
        task.network.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device is {device!r}: {str(error).splitlines()[0]}") from error
    return task


def load_baseline(task: Task, path: str | Path) -> Any:
    """Return the baseline that was fitted beside a model, or None in a model folder that was moved away from its run.

    Args:
        task: The model.
        path: A run folder.

    Returns:
        The baseline, if there is one.

    Raises:
        CheckpointError: If its file is damaged.
    """
    run = Run(Path(path))
    return task.load_baseline(run.baseline) if run.baseline_scores.is_file() else None


def model_folder(path: str | Path) -> Path:
    """Find the model in a run or model folder.

    Returns:
        The model folder.

    Raises:
        CheckpointError: If there is none, or it is of a later version.
    """
    root = Path(path)
    if not root.is_dir():
        raise CheckpointError(f"{path}: there is no such folder{_runs_hint(root)}")
    model = root / "model"
    folder = next((place for place in (model, _replaced(model)) if place.is_dir()), root)
    try:
        version = int((folder / "version").read_text())
    except (OSError, ValueError):
        unfinished = " It is a run without a model yet: resume it." if (root / "checkpoints").is_dir() else ""
        raise CheckpointError(f"{path} holds no rnnkit model: {folder / 'version'} is missing.{unfinished}") from None
    if version > VERSION:
        raise CheckpointError(f"{folder} has version {version}; this rnnkit reads up to {VERSION}: install a newer one")
    return folder


def _runs_hint(root: Path) -> str:
    try:
        names = sorted(str(run) for run in root.parent.iterdir() if (run / "config.toml").is_file())
    except OSError:
        return ""
    return f"; {root.parent} holds {', '.join(names)}" if names else ""


def read_config(folder: Path) -> tuple[type[Task], dict[str, Any]]:
    """Read the config.toml of a run or model folder.

    Returns:
        The task it names, and the tables of options.

    Raises:
        CheckpointError: If the file is missing or names no task that is known.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: the folder is damaged or not a model of rnnkit")
    tables = read_toml(path)
    name = tables.pop("task", None)
    if name not in TASKS:
        raise CheckpointError(f"{path} names the task {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name], tables


def load_weights(task: Task, folder: Path) -> None:
    """Read a model folder's weights into a task's network.

    Raises:
        CheckpointError: If the file is missing or damaged, or does not fit the config beside it.
    """
    path = folder / "weights.safetensors"
    weights = _read_tensors(path)
    expected = {name: tuple(tensor.shape) for name, tensor in task.network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path}: {name} is {found.get(name, 'missing')}; config.toml beside it expects "
                f"{expected.get(name, 'no such tensor')}: the files are not of one model"
            )
    task.network.load_state_dict(weights)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): the folder is damaged; train or copy it again"
        ) from None


@dataclass(frozen=True)
class Run:
    """The folder of one training run."""

    folder: Path

    @property
    def model(self) -> Path:
        """The best validated model."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """The last states of training."""
        return self.folder / "checkpoints"

    @property
    def tokens(self) -> Path:
        """The encoded data, and what encoded it."""
        return self.folder / "tokens"

    @property
    def baseline(self) -> Path:
        """The trivial method, fitted on the training data."""
        return self.folder / "baseline"

    @property
    def baseline_scores(self) -> Path:
        """Its metrics on the validation data; written last, so that the baseline is whole where this is."""
        return self.baseline / "scores.json"

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.folder / "log.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """Read the log; a last line that a crash cut short is left out."""
        lines = self.log.read_text().splitlines() if self.log.is_file() else []
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    def cut_log(self, *, last_step: int) -> None:
        """Drop the records after a step: they were written after the checkpoint that a resumed run goes on from."""
        kept = [record for record in self.records() if record["step"] <= last_step]
        with writing(self.log):
            aside = self.log.with_suffix(".new")
            aside.write_text("".join(json.dumps(record) + "\n" for record in kept))
            os.replace(aside, self.log)

    @property
    def begun(self) -> bool:
        """Whether there is, or was, a checkpoint: the first is written before the first line of the log."""
        return self.log.is_file() or bool(self._checkpoint_folders())

    def mend(self) -> None:
        """Put back the folders that a killed process left between the two renames of `write_folder`."""
        for parent in (self.folder, self.checkpoints):
            for old in parent.glob(".*.old"):
                whole = parent / old.name.removeprefix(".").removesuffix(".old")
                if not whole.exists():
                    old.rename(whole)

    def refuse_existing(self) -> None:
        """Make sure that nothing is lost.

        Raises:
            ConfigError: If the folder holds a run already.
        """
        if (self.folder / "config.toml").exists() or self.model.exists():
            raise ConfigError(
                f"{self.folder} holds a run already: go on with --resume {self.folder}, "
                "choose another folder with --run, or replace it with --overwrite"
            )

    def clear(self) -> None:
        """Remove an earlier run, and nothing else, from the folder."""
        for name in ("model", "checkpoints", "tokens", "baseline", "tensorboard", "evaluations", "diagnosis"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        pictures = ("curves.png", "diagnostics.png", "confusion.png", "earliness.png")
        for name in ("config.toml", "log.jsonl", "report.md", *pictures):
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second trainer off this run while the block runs; the lock ends with the process.

        Yields:
            Once.

        Raises:
            ConfigError: If another process trains here, or the folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / "lock").open("w")
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be written: {error.strerror}; choose another with --run") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"{self.folder} is being trained by another process: wait, or choose --run") from None
            yield

    def save_checkpoint(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, step: int) -> None:
        """Write a state of training and drop the oldest ones.

        Args:
            tensors: By name.
            facts: JSON-able.
            step: Names the checkpoint.

        Raises:
            RunError: If it cannot be written; the earlier ones are still there.
        """

        def write(aside: Path) -> None:
            save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, aside / "state.safetensors")
            (aside / "state.json").write_text(json.dumps({**facts, "version": VERSION}))

        newest = self.checkpoints / f"{step:09d}"
        write_folder(newest, write)
        kept = [path for path in self._checkpoint_folders() if path.name <= newest.name][-KEPT_CHECKPOINTS:]
        for stale in set(self.checkpoints.iterdir()) - set(kept):  # also what a killed process or damage left
            shutil.rmtree(stale, ignore_errors=True)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read the newest state of training that is whole.

        Returns:
            Tensors and facts.

        Raises:
            CheckpointError: If there is none.
        """
        problems = []
        for folder in reversed(self._checkpoint_folders()):
            try:
                with safe_open(folder / "state.safetensors", framework="pt") as handle:
                    tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
                facts = json.loads((folder / "state.json").read_text())
                version = int(facts["version"])
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                problems.append(f"{folder} ({error})")
                _log.warning("%s is damaged (%s): going back to the one before", folder, error)
                continue
            if version > VERSION:
                raise CheckpointError(f"{folder} has version {version}; this rnnkit reads up to {VERSION}")
            return tensors, facts
        found = f"; damaged: {', '.join(problems)}" if problems else ""
        raise CheckpointError(f"{self.checkpoints} holds no checkpoint to resume from{found}")

    def _checkpoint_folders(self) -> list[Path]:
        return sorted(path for path in self.checkpoints.glob("[0-9]*") if path.is_dir())
