"""The training loop: fit > train_step > accumulate, with everything a resumed run needs in one place."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.utils import clip_grad_value_, get_total_norm

from rnnkit.checkpoint import Run, save_model, writing
from rnnkit.errors import CheckpointError, RunError
from rnnkit.kernels import State
from rnnkit.tasks import Task
from rnnkit.training.callbacks import Callback
from rnnkit.training.config import TrainingConfig
from rnnkit.training.interruption import signals_caught
from rnnkit.training.machine import choose_device, choose_precision, keep_freed_memory, set_threads
from rnnkit.training.optimizers import learning_rate, make_optimizer

_log = logging.getLogger("rnnkit.training")

LOG_SECONDS = 2.0
CHECKPOINT_SECONDS = 120.0


class Trainer:
    """One run of training.

    Args:
        task: The model; its network is trained in place.
        config: How to train.
        run: Where to keep the log, the checkpoints and the best model.
        train_data: Encoded.
        valid_data: Encoded.
        callbacks: Watch the run.

    Attributes:
        step: Updates made.
        best: Best validated objective.
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
    ) -> None:
        self.task, self.config, self.run, self.valid_data, self.callbacks = task, config, run, valid_data, callbacks
        device = choose_device(config.device)
        self.precision, self.threads = choose_precision(config, device), set_threads(config)
        keep_freed_memory()
        # Autocast alone, not Fabric's precision, which hands the network its carried state in bfloat16.
        self.fabric = Fabric(accelerator=device, devices=1)
        self.network, self.optimizer = self.fabric.setup(task.network, make_optimizer(task.network, config))
        self.batches = task.batches(train_data, batch_size=config.batch_size, seed=config.seed)
        self.carry: State | None = None
        self.step, self.validated, self.plateaus, self.since_best = 0, 0, 0, 0
        self.best, self.last_loss, self.speed = math.inf, math.nan, 0.0
        self.spent_seconds, self.stopped_early = 0.0, False
        self.stopped_by: int | None = None
        self._began: float | None = None
        self._checkpointed = time.perf_counter()
        self._window = _Window()

    @property
    def seconds(self) -> float:
        """Time spent in `fit`, earlier parts of a resumed run included."""
        return self.spent_seconds + (0.0 if self._began is None else time.perf_counter() - self._began)

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        config, budget = self.config, self.config.budget_seconds
        if budget is not None:
            return min(self.seconds / budget, 1.0)
        if config.steps is not None:
            return min(self.step / config.steps, 1.0)
        assert config.epochs is not None
        return min((self.batches.epoch + self.batches.progress) / config.epochs, 1.0)

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
        self.network.train()
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            with signals_caught(self._stop):
                if self.step == 0:
                    self.save_checkpoint(finished=False)  # whatever happens next, the run can be resumed
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
        if self.stopped_by:
            raise KeyboardInterrupt  # asked twice: at once
        self.stopped_by = signal_number

    def train_step(self) -> None:
        """Make one update."""
        rate = learning_rate(self.config, self.progress, plateaus=self.plateaus)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, count = self._accumulate()
        norm = self._clip(count)
        if not math.isfinite(total) or not math.isfinite(norm):
            raise RunError(
                f"the loss is {total / count:.4g} and the gradient's norm {norm:.4g} at step {self.step + 1}: training "
                f"has diverged. The last good checkpoint is kept in {self.run.checkpoints}; start again with a lower "
                f"--learning-rate (now {self.config.learning_rate}) or --clip-norm (now {self.config.clip_norm})"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        limit = self.config.clip_norm
        self._window.add(total, count, norm, clipped=limit is not None and norm > limit)

    def _accumulate(self) -> tuple[float, int]:
        """Add up the gradients of the sums of the batches' losses; return the summed loss and its count."""
        total, count = 0.0, 0
        for _ in range(self.config.accumulate):
            batch = self.batches.next_chunk()
            with self._autocast():
                loss = self.task.loss(self.network, batch, self.carry, label_smoothing=self.config.label_smoothing)
            self.fabric.backward(loss.total)
            self.carry = loss.carry
            total, count = total + float(loss.total.detach()), count + loss.count
        return total, count

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.fabric.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def _clip(self, count: int) -> float:
        """Turn summed gradients into means over `count`, clip them, and return their norm before clipping."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = float(get_total_norm(gradients)) / count
        limit = self.config.clip_norm
        scale = min(1.0, limit / norm) if limit is not None and norm > 0 else 1.0
        torch._foreach_mul_(gradients, scale / count)
        if self.config.clip_value is not None:
            clip_grad_value_(self.network.parameters(), self.config.clip_value)
        return norm

    def _log_and_validate(self) -> None:
        if self._window.seconds >= LOG_SECONDS:
            self._log()
        if self.progress >= (self.validated + 1) / self.config.validations:
            self._validate()
        elif time.perf_counter() - self._checkpointed > CHECKPOINT_SECONDS:
            self.save_checkpoint(finished=False)

    def _log(self) -> None:
        if not self._window.steps:
            return
        record = {"kind": "train", **self._place(), **self._window.summary()}
        record["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self.last_loss, self.speed = record["loss"], record["speed"]
        self._window = _Window()
        self._write(record)
        for callback in self.callbacks:
            callback.on_log(self, record)

    def _validate(self) -> None:
        self._log()
        with self._autocast():
            value = self.task.quick_score(self.network, self.valid_data)
        self._window = _Window()  # the time of validation is not that of the next steps
        if not math.isfinite(value):
            raise RunError(
                f"validation gives {value} at step {self.step}: the last good model is kept in {self.run.model}"
            )
        due = int(self.progress * self.config.validations)  # 28 for 0.29 of 100: never less than what is done
        self.validated = max(self.validated + 1, due)
        improved = value < self.best
        if improved:
            self.best, self.since_best = value, 0
            save_model(self.task, self.run.model)
        else:
            self.since_best += 1
            self.plateaus += 1
        self.stopped_early = self.config.patience is not None and self.since_best >= self.config.patience
        record = {"kind": "validation", **self._place(), self.task.objective: value, "best": improved}
        self._write(record)
        for callback in self.callbacks:
            callback.on_validation(self, {**record, "loss": self.last_loss, "speed": self.speed})
        self.save_checkpoint(finished=False)

    def _finish(self) -> None:
        self._log()
        finished = self._done
        if finished and self.validated < self.config.validations and not self.stopped_early:
            self._validate()
        if not self.run.model.is_dir():
            save_model(self.task, self.run.model)
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
        with writing(self.run.log), self.run.log.open("a") as log:
            log.write(json.dumps(record) + "\n")

    # Checkpoints

    def save_checkpoint(self, *, finished: bool) -> None:
        """Write all that `restore` needs.

        Args:
            finished: Whether the budget is spent.

        Raises:
            RunError: If the disk is full; the earlier checkpoints are still there.
        """
        optimizer = self.optimizer.state_dict()
        tensors = {f"network.{name}": tensor for name, tensor in self.task.network.state_dict().items()}
        tensors["random"] = torch.get_rng_state()
        if self.fabric.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        for index, values in optimizer["state"].items():
            tensors.update({f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)})
        for index, part in enumerate(self.carry or ()):
            tensors[f"carry.{index}"] = part
        facts = {name: getattr(self, name) for name in _FACTS}
        facts |= {"best": None if math.isinf(self.best) else self.best, "seconds": self.seconds, "finished": finished}
        facts |= {"batches": self.batches.state_dict(), "threads": self.threads, "precision": self.precision}
        self.run.save_checkpoint(tensors, facts, step=self.step)
        self._checkpointed = time.perf_counter()

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on exactly where `save_checkpoint` was called.

        Args:
            tensors: As saved.
            facts: As saved.

        Raises:
            CheckpointError: If they do not fit this run.
        """
        try:
            self.task.network.load_state_dict(_part(tensors, "network."))
            self._restore_optimizer(_part(tensors, "optimizer."))
            carry = _part(tensors, "carry.")
            self.carry = tuple(carry[str(i)].to(self.fabric.device) for i in range(len(carry))) or None
            self.batches.load_state_dict(facts["batches"])
            for name in _FACTS:
                setattr(self, name, facts[name])
            self.best = math.inf if facts["best"] is None else facts["best"]
            self.spent_seconds = facts["seconds"]
            torch.set_rng_state(tensors["random"])
            if "random.cuda" in tensors and self.fabric.device.type == "cuda":
                torch.cuda.set_rng_state(tensors["random.cuda"])
        except (KeyError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"{self.run.checkpoints} does not fit this run ({reason}): start a new one"
            ) from error
        for name in ("threads", "precision"):
            before, now = facts.get(name), getattr(self, name)
            if before != now:
                _log.warning(
                    "this run had %s %s and goes on with %s: its numbers may differ in the last bits", name, before, now
                )

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


_FACTS = ("step", "validated", "plateaus", "since_best", "last_loss", "speed")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class _Window:
    """Sums since the last line of the log."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.total = self.norm = 0.0
        self.count = self.steps = self.clipped = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, total: float, count: int, norm: float, *, clipped: bool) -> None:
        self.total, self.count, self.norm = self.total + total, self.count + count, self.norm + norm
        self.steps, self.clipped = self.steps + 1, self.clipped + clipped

    def summary(self) -> dict[str, float]:
        return {
            "loss": self.total / self.count,
            "gradient_norm": self.norm / self.steps,
            "clipped_share": self.clipped / self.steps,
            "speed": self.count / self.seconds,
        }
