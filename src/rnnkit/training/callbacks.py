"""What watches a run: a class with the `on_` methods it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from rnnkit.training.launch import TrainResult
    from rnnkit.training.trainer import Trainer


class Callback:
    """Does nothing at every point of a run; override what you want to see."""

    def on_start(self, trainer: Trainer) -> None:
        """Training begins or goes on."""

    def on_log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """A stretch of training is over: step, seconds, loss, learning_rate, gradient_norm, clipped_share, speed."""

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """A validation is over: step, seconds, the objective, and whether it is the best."""

    def on_end(self, trainer: Trainer) -> None:
        """Training is over, or was stopped."""

    def on_result(self, result: TrainResult) -> None:
        """The best state is scored: its metrics, and the baseline's. Not called where training failed."""


class ProgressBar(Callback):
    """Shows loss, speed and time left: a bar on a terminal, a line a validation elsewhere (stderr)."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[left]}"))
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.row = self.bar.add_task("training", total=1.0, left="")
        self.validated = ""

    def on_start(self, trainer: Trainer) -> None:
        """Show the bar."""
        if self.console.is_terminal:
            self.bar.start()

    def on_log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Move the bar."""
        speed = f"{record['speed']:,.0f} {trainer.task.unit}/s"
        words = f"step {record['step']:,}  loss {record['loss']:.3f}{self.validated}  {speed}"
        left = f"{trainer.progress:.0%}  {_clock(trainer.seconds_left)} left"
        self.bar.update(self.row, completed=trainer.progress, description=words, left=left)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Remember the last validation; print it where there is no bar."""
        value = record[trainer.task.objective]
        self.validated = f"  validation {value:.3f}"
        if not self.console.is_terminal:
            best = " (best)" if record["best"] else ""
            words = f"step {record['step']:,}  loss {record['loss']:.3f}{self.validated}{best}"
            speed = f"{record['speed']:,.0f} {trainer.task.unit}/s  {_clock(trainer.seconds_left)} left"
            self.console.print(f"{trainer.progress:4.0%}  {words}  {speed}", highlight=False, soft_wrap=True)

    def on_end(self, trainer: Trainer) -> None:
        """Take the bar away."""
        self.bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
