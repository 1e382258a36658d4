"""The training loop: fit > train_step > accumulate. What a resumed run needs is in snapshot.py."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, get_total_norm

from rnnkit.checkpoint import Run, save_model, writing
from rnnkit.errors import RunError
from rnnkit.kernels import State
from rnnkit.tasks import Task
from rnnkit.tasks.base import Loss
from rnnkit.training.averaging import Average
from rnnkit.training.callbacks import Callback
from rnnkit.training.config import TrainingConfig
from rnnkit.training.interruption import signals_caught
from rnnkit.training.layers import LayerWatch
from rnnkit.training.machine import choose_precision, keep_freed_memory, resident_megabytes, set_threads
from rnnkit.training.optimizers import make_optimizer, set_learning_rates
from rnnkit.training.processes import Agreement, agree, make_fabric
from rnnkit.training.snapshot import restore_snapshot, take_snapshot

LOG_SECONDS = 2.0
CHECKPOINT_SECONDS = 120.0
MOST_VALIDATION = 1 / 3  # of the time of a run that has some minutes


class Trainer:
    """One run of training.

    Args:
        task: The model; its network is trained in place.
        config: How to train.
        run: Where to keep the log, the checkpoints and the best model.
        train_data: Encoded.
        valid_data: Encoded.
        callbacks: Watch the run.
        fabric: The devices, launched; None takes those of the config in this process.

    Attributes:
        step: Updates made.
        best: Best validated objective.
        validations: All validated objectives.
        validation_seconds: Time spent on them.
        stopped_by: The signal that ended the run early, if one did.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        run: Run,
        *,
        train_data: Any,
        valid_data: Any,
        callbacks: Sequence[Callback] = (),
        fabric: Fabric | None = None,
    ) -> None:
        self.task, self.config, self.run, self.valid_data = task, config, run, valid_data
        self.fabric = make_fabric(config) if fabric is None else fabric
        world, rank = self.fabric.world_size, self.fabric.global_rank
        self.callbacks = callbacks if rank == 0 else ()
        self.precision = choose_precision(config, self.fabric.device.type)
        self.threads = set_threads(config, processes=world)
        keep_freed_memory()
        if rank:
            torch.manual_seed(config.seed + rank)  # dropout of its own; the weights come from the first process
        # Autocast alone, not Fabric's precision, which hands the network its carried state in bfloat16.
        optimizer = make_optimizer(task.network, config, depths=task.depths())
        self.objective, self.optimizer = self.fabric.setup(_Objective(task, config.label_smoothing), optimizer)
        self.average = Average(task.network, config)
        self.layers = LayerWatch(task.network, task.depths())
        self.batches = task.batches(train_data, batch_size=config.batch_size, seed=config.seed, part=(rank, world))
        self.carry: State | None = None
        self.step, self.validated, self.plateaus, self.since_best = 0, 0, 0, 0
        self.best, self.last_loss, self.speed = math.inf, math.nan, 0.0
        self.validations: list[float] = []
        self.spent_seconds, self.validation_seconds, self.stopped_early = 0.0, 0.0, False
        self.stopped_by: int | None = None
        self._asked_to_stop = 0
        self._began: float | None = None
        self._elapsed = 0.0
        self._checkpointed = 0.0
        self._window = _Window()

    @property
    def seconds(self) -> float:
        """Time spent in `fit`, earlier parts of a resumed run included."""
        return self.spent_seconds + (0.0 if self._began is None else time.perf_counter() - self._began)

    @property
    def progress(self) -> float:
        """Share of the run that is done as of the last step, in [0, 1]; the same in all processes."""
        config, budget = self.config, self.config.budget_seconds
        if config.steps is not None:
            return min(self.step / config.steps, 1.0)
        epochs = self.batches.epoch + self.batches.progress
        if budget is not None:
            share = 0.0 if config.max_epochs is None else epochs / config.max_epochs
            return min(max(self._elapsed / budget, share), 1.0)
        assert config.epochs is not None
        return min(epochs / config.epochs, 1.0)

    @property
    def seconds_left(self) -> float:
        """Time until the end, as far as the progress so far tells."""
        progress = self.progress
        return self.seconds * (1 - progress) / progress if progress else 0.0

    def fit(self) -> None:
        """Train until the budget is spent, validation stops improving, or a signal asks to stop; keep a checkpoint.

        Raises:
            RunError: If the loss is no longer finite, or the disk is full; the last good checkpoint is kept.
        """
        self._began = time.perf_counter()
        self._elapsed = self._checkpointed = self.fabric.broadcast(self.seconds)
        self.task.network.train()
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            with signals_caught(self._stop):
                if self.step == 0:
                    self.save_checkpoint(finished=False)  # whatever happens next, the run can be resumed
                    if self.task.begins_fitted:
                        self._validate()
                while not self._done and not self.stopped_by:
                    self.train_step()
                    self._log_and_validate()
                self._finish()
        finally:
            self.spent_seconds, self._began = self.seconds, None
            for callback in self.callbacks:
                callback.on_end(self)

    @property
    def _done(self) -> bool:
        return self.progress >= 1 or self.stopped_early

    def _stop(self, signal_number: int) -> None:
        if self._asked_to_stop:
            raise KeyboardInterrupt  # asked twice: at once
        self._asked_to_stop = signal_number

    def train_step(self) -> None:
        """Make one update.

        Raises:
            RunError: If the loss is no longer finite.
        """
        rate = set_learning_rates(self.optimizer, self.config, self.progress, plateaus=self.plateaus)
        both = self._agree(*self._accumulate())
        norm = self._clip(both.targets)
        if not math.isfinite(both.total) or not math.isfinite(norm):
            raise RunError(
                f"the loss is {both.total / both.targets:.4g} and the gradient's norm {norm:.4g} at step "
                f"{self.step + 1}: training has diverged. The last good checkpoint is kept in {self.run.checkpoints}; "
                f"start again with a lower --learning-rate (now {self.config.learning_rate}) or --clip-norm "
                f"(now {self.config.clip_norm})"
            )
        due = self._window.seconds >= LOG_SECONDS
        if due:
            self.layers.begin()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update()
        self.step += 1
        limit = self.config.clip_norm
        self._window.add(both.total, both.targets, norm, clipped=limit is not None and norm > limit)
        self._window.learning_rate = rate
        if due:
            self._window.layers = self.layers.end()

    def _agree(self, total: float = 0.0, targets: int = 0) -> Agreement:
        """Add the processes' losses up, and take over their clock and their signals."""
        both = agree(self.fabric, Agreement(total, targets, self._asked_to_stop, self.seconds))
        self._elapsed, self.stopped_by = both.seconds, both.stopped_by or None
        return both

    def _accumulate(self) -> tuple[float, int]:
        """Add up the gradients of the sums of the batches' losses; return the summed loss and its count."""
        total, count, last = 0.0, 0, self.config.accumulate - 1
        for number in range(self.config.accumulate):
            chunk = _Chunk(self.batches.next_chunk(), self.carry)
            with self.fabric.no_backward_sync(self.objective, enabled=number < last), self._autocast():
                self.fabric.backward(self.objective(chunk))
            assert chunk.loss is not None
            self.carry = chunk.loss.carry
            total, count = total + float(chunk.loss.total.detach()), count + chunk.loss.count
        return total, count

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.fabric.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def _clip(self, count: int) -> float:
        """Turn summed gradients into means over `count`, clip them, and return their norm before clipping."""
        count_here = count / self.fabric.world_size  # several processes leave the mean of their sums
        gradients = [p.grad for p in self.task.network.parameters() if p.grad is not None]
        norm = float(get_total_norm(gradients)) / count_here
        limit = self.config.clip_norm
        scale = min(1.0, limit / norm) if limit is not None and norm > 0 else 1.0
        torch._foreach_mul_(gradients, scale / count_here)
        if self.config.clip_value is not None:
            clip_grad_value_(self.task.network.parameters(), self.config.clip_value)
        return norm

    # Log, validation, checkpoints

    def _log_and_validate(self) -> None:
        if self._window.layers is not None:
            self._log()
        if self.progress >= (self.validated + 1) / self.config.validations and self._may_validate:
            self._validate()
        elif self._elapsed - self._checkpointed > CHECKPOINT_SECONDS:
            self.save_checkpoint(finished=False)

    @property
    def _may_validate(self) -> bool:
        """Whether a run of some minutes has not spent too large a share of them on validation so far."""
        budget = self.config.budget_seconds
        return budget is None or self.validation_seconds <= MOST_VALIDATION * self.progress * budget

    def _log(self) -> None:
        if not self._window.steps:
            return
        record = {"kind": "train", **self._place(), **self._window.summary(), "memory_mb": resident_megabytes()}
        self.last_loss, self.speed = record["loss"], record["speed"]
        self._window = _Window()
        self._write(record)
        for callback in self.callbacks:
            callback.on_log(self, record)

    def _validate(self) -> None:
        self._log()
        began = self.seconds
        with self.average.applied(), self._autocast():
            value = self.fabric.broadcast(self.task.quick_score(self.valid_data))
            if not math.isfinite(value):
                raise RunError(
                    f"validation gives {value} at step {self.step}: the last good model is kept in {self.run.model}"
                )
            improved = value < self.best
            if improved:
                self._save_model()
        self.validation_seconds = self.fabric.broadcast(self.validation_seconds + self.seconds - began)
        self._window = _Window()  # the time of validation is not that of the next steps
        due = int(self.progress * self.config.validations)  # 28 for 0.29 of 100: never less than what is done
        self.validated = max(self.validated + (self.step > 0), due)
        self.validations.append(value)
        if improved:
            self.best, self.since_best = value, 0
        else:
            self.since_best += 1
            self.plateaus += 1
        self.average.trigger(self.validations)
        self.stopped_early = self.config.patience is not None and self.since_best >= self.config.patience
        record = {"kind": "validation", **self._place(), self.task.objective: value, "best": improved}
        self._write(record)
        for callback in self.callbacks:
            callback.on_validation(self, {**record, "loss": self.last_loss, "speed": self.speed})
        self._agree()
        self.save_checkpoint(finished=False)

    def _finish(self) -> None:
        self._log()
        finished = self._done
        if finished and self.validated < self.config.validations and not self.stopped_early:
            self._validate()
        if not self.run.model.is_dir():
            with self.average.applied():
                self._save_model()
        self.save_checkpoint(finished=finished)
        if finished:
            self.stopped_by = None  # the signal came when there was nothing left to stop

    def _place(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "epoch": self.batches.epoch + self.batches.progress,
        }

    def _write(self, record: dict[str, Any]) -> None:
        if self.fabric.global_rank == 0:
            with writing(self.run.log), self.run.log.open("a") as log:
                log.write(json.dumps(record) + "\n")

    def _save_model(self) -> None:
        if self.fabric.global_rank == 0:
            save_model(self.task, self.run.model)

    def save_checkpoint(self, *, finished: bool) -> None:
        """Write all that `restore` needs; every process takes part, the first one writes.

        Args:
            finished: Whether the budget is spent.

        Raises:
            RunError: If the disk is full; the earlier checkpoints are still there.
        """
        tensors, facts = take_snapshot(self)
        if self.fabric.global_rank == 0:
            self.run.save_checkpoint(tensors, {**facts, "finished": finished}, step=self.step)
        self._checkpointed = self._elapsed

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on exactly where `save_checkpoint` was called.

        Args:
            tensors: As saved.
            facts: As saved.

        Raises:
            CheckpointError: If they do not fit this run.
        """
        restore_snapshot(self, tensors, facts)
        self._elapsed = self.seconds


class _Chunk:
    """One batch on its way through the objective; Fabric, which converts what it knows, leaves it as it is."""

    def __init__(self, batch: Any, carry: State | None) -> None:
        self.batch, self.carry = batch, carry
        self.loss: Loss | None = None


class _Objective(nn.Module):
    """What training lowers as a module, so that several processes can share a batch."""

    def __init__(self, task: Task, label_smoothing: float) -> None:
        super().__init__()
        self.network = task.network
        self.task, self.label_smoothing = task, label_smoothing

    def forward(self, chunk: _Chunk) -> Tensor:
        chunk.loss = loss = self.task.loss(chunk.batch, chunk.carry, label_smoothing=self.label_smoothing)
        return loss.total if loss.penalty is None else loss.total + loss.penalty


class _Window:
    """Sums since the last line of the log."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.total = self.norm = self.learning_rate = 0.0
        self.count = self.steps = self.clipped = 0
        self.layers: dict[str, dict[str, float]] | None = None
        """Of the last update, measured when the line is due."""

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, total: float, count: int, norm: float, *, clipped: bool) -> None:
        self.total, self.count, self.norm = self.total + total, self.count + count, self.norm + norm
        self.steps, self.clipped = self.steps + 1, self.clipped + clipped

    def summary(self) -> dict[str, Any]:
        measured: dict[str, Any] = {}
        if self.layers is not None:
            ratios = [one["update_ratio"] for one in self.layers.values() if "update_ratio" in one]
            measured = {"update_ratio": sum(ratios) / max(len(ratios), 1), "layers": self.layers}
        return {
            "loss": self.total / self.count,
            "gradient_norm": self.norm / self.steps,
            "clipped_share": self.clipped / self.steps,
            "learning_rate": self.learning_rate,
            "speed": self.count / self.seconds,
            **measured,
        }
