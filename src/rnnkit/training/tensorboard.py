"""A run as TensorBoard shows it: the log's records as curves, the options as text, the final metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnkit.checkpoint import writing
from rnnkit.errors import ConfigError
from rnnkit.training.callbacks import Callback

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from rnnkit.training.launch import TrainResult
    from rnnkit.training.trainer import Trainer

_log = logging.getLogger("rnnkit.training")

FOLDER = "tensorboard"  # inside the run's
PLACE = {"kind", "step", "seconds", "epoch", "best"}  # of a record: where it belongs, not what was measured


class TensorBoard(Callback):
    """Writes a run's curves to the folder `tensorboard` in it, for `tensorboard --logdir RUN`.

    The log of the run is what counts: on resume the curves are written again from it, so none has a step twice.

    Raises:
        ConfigError: If the package tensorboard is missing.

    Example:
        >>> from rnnkit.training import train
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "text.txt").write_text("a small text " * 20)
        >>> run = train("lm", folder / "text.txt", run=folder / "run", steps=1, callbacks=[TensorBoard()]).run
        >>> len(list((run / "tensorboard").glob("events.*")))
        2
    """

    def __init__(self) -> None:
        self.writer_class = _writer_class()
        self.writer: SummaryWriter | None = None
        self.began = 0.0

    def on_start(self, trainer: Trainer) -> None:
        """Write what the log holds already, and the options."""
        folder = trainer.run.folder / FOLDER
        self.began = time.time() - trainer.seconds
        with writing(folder):
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            self.writer = self.writer_class(str(folder), purge_step=0)  # also for one who is watching
            options = (trainer.run.folder / "config.toml").read_text().splitlines()
            self.writer.add_text("config", "\n".join(f"    {line}" for line in options), 0)  # a block of code
            for record in trainer.run.records():
                self._add(record)
            self.writer.flush()

    def on_log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Add a stretch of training."""
        self._show(trainer, record)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Add a validation."""
        self._show(trainer, {name: record[name] for name in (*PLACE, trainer.task.objective)})

    def on_end(self, trainer: Trainer) -> None:
        """Close the file; a disk that is full must not hide what ended the run."""
        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            _log.warning("%s could not be written: %s", trainer.run.folder / FOLDER, error)
        self.writer = None

    def on_result(self, result: TrainResult) -> None:
        """Add the final metrics, the baseline's beside them."""
        folder = result.run / FOLDER
        with writing(folder):
            writer = self.writer_class(str(folder))
            for owner, metrics in {"model": result.metrics, **result.baselines}.items():
                for name, value in metrics.items():
                    writer.add_scalar(f"result {name}/{owner}", value, result.steps)
            writer.close()

    def _show(self, trainer: Trainer, record: Mapping[str, Any]) -> None:
        assert self.writer is not None
        with writing(trainer.run.folder / FOLDER):
            self._add(record)
            self.writer.flush()  # what a killed process has shown is then what its log holds

    def _add(self, record: Mapping[str, Any]) -> None:
        assert self.writer is not None
        for name, value in curves(record).items():
            wall_time = self.began + record["seconds"]
            self.writer.add_scalar(f"{record['kind']}/{name}", value, record["step"], wall_time)


def curves(record: Mapping[str, Any]) -> dict[str, float]:
    """Return what a record of the log measured, one number a curve: of a layer "gradient_norm of stack.layers.0"."""
    found = {name: value for name, value in record.items() if name not in PLACE}
    for layer, measured in found.pop("layers", {}).items():
        found |= {f"{name} of {layer}": value for name, value in measured.items()}
    return found


def _writer_class() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"curves for TensorBoard need a package that is missing ({error}): pip install 'rnnkit[tensorboard]'"
        ) from error
    return SummaryWriter
