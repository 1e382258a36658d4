"""The loop: resumed runs equal uninterrupted ones bit for bit, and every way to end keeps what was won."""

import errno
import json
import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnkit import checkpoint
from rnnkit.checkpoint import load
from rnnkit.errors import CheckpointError, RunError
from rnnkit.tasks import LanguageModel
from rnnkit.training import Callback, Trainer
from rnnkit.training import trainer as trainer_module

MakeTrainer = Callable[..., Trainer]


class Recorder(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.logs: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []

    def on_start(self, trainer: Trainer) -> None:
        self.events.append("start")

    def on_log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.logs.append(record)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.validations.append(record)

    def on_end(self, trainer: Trainer) -> None:
        self.events.append("end")


class InterruptAt(Callback):
    """Sends this process a signal at a validation."""

    def __init__(self, validation: int, number: int = signal.SIGINT) -> None:
        self.left, self.number = validation, number

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class Poisoned(Trainer):
    """Finds a weight that is NaN after `good` updates."""

    good = 2

    def train_step(self) -> None:
        if self.step == self.good:
            with torch.no_grad():
                next(self.task.network.parameters()).flatten()[0] = math.nan
        super().train_step()


class PoisonedAtOnce(Poisoned):
    good = 0


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Gather all that the next step depends on."""
    optimizer = trainer.optimizer.state_dict()["state"]
    return {
        "network": trainer.task.network.state_dict(),
        "optimizer": {f"{i}.{k}": v for i, values in optimizer.items() for k, v in values.items()},
        "carry": dict(enumerate(trainer.carry or ())),
        "average": dict(trainer.average.values),
        "random": {"cpu": torch.get_rng_state()},
        "place": trainer.batches.state_dict(),
        "counts": (trainer.step, trainer.validated, trainer.plateaus, trainer.since_best, trainer.best),
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for part, values in expected.items():
        if not isinstance(values, dict) or part == "place":
            assert found[part] == values, part
            continue
        assert found[part].keys() == values.keys(), part
        for name, value in values.items():
            same = torch.equal(found[part][name], value) if isinstance(value, Tensor) else found[part][name] == value
            assert same, f"{part} {name}"


RUNS: dict[str, dict[str, Any]] = {
    "steps": {"steps": 20},
    "epochs": {"epochs": 2.5},
    "weight dropout": {"steps": 20, "model": {"weight_dropout": 0.3, "zoneout": 0.1, "embedding_dropout": 0.1}},
    "accumulate": {"steps": 10, "accumulate": 2},
    "plateau": {"steps": 20, "schedule": "plateau", "learning_rate": 0.3, "patience": 9},
    "sgd": {"steps": 20, "optimizer": "sgd", "learning_rate": 0.5, "clip_value": 0.1, "weight_decay": 0.01},
    "two layers": {"steps": 20, "model": {"num_layers": 2, "layer": "gru", "learn_initial_state": True}},
    "smoothing": {"steps": 20, "label_smoothing": 0.1, "schedule": "cosine"},
    "exponential average": {"steps": 20, "averaging": "ema", "average_decay": 0.9},
    "triggered average": {
        "steps": 20,
        "optimizer": "sgd",
        "learning_rate": 3.0,
        "averaging": "triggered",
        "trigger_patience": 2,
        "validations": 20,
    },
    "unfreezing": {"steps": 20, "rate_decay": 0.4, "unfreeze_share": 0.5, "model": {"num_layers": 2}},
    "penalties": {"steps": 20, "model": {"activation_penalty": 2.0, "change_penalty": 1.0}},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(name: str, make_trainer: MakeTrainer):
    whole = make_trainer("whole", **RUNS[name])
    whole.fit()
    expected = state_of(whole)

    first = make_trainer("cut", callbacks=[InterruptAt(3)], **RUNS[name])
    first.fit()
    assert first.stopped_by == signal.SIGINT
    assert 0 < first.step < whole.step

    torch.manual_seed(12345)  # another process would have other random numbers
    second = make_trainer("cut", **RUNS[name])
    torch.manual_seed(54321)
    second.restore(*second.run.load_checkpoint())
    second.fit()
    assert_same(state_of(second), expected)
    if name == "plateau":
        assert second.plateaus > 0
    if name == "triggered average":
        assert second.average.count > 3
    weights = [load(run.model).network.state_dict() for run in (whole.run, second.run)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_another_seed_is_another_run(make_trainer: MakeTrainer):
    one, other = make_trainer("one", steps=3), make_trainer("other", steps=3, seed=2)
    one.fit()
    other.fit()
    assert one.best != other.best


# Gradients


class Frozen(Trainer):
    """Keeps the gradients of the first update as they reach the optimiser."""

    gradients: list[Tensor]

    def _clip(self, count: int) -> float:
        norm = super()._clip(count)
        self.gradients = [p.grad.clone() for p in self.task.network.parameters() if p.grad is not None]
        return norm


def mean_gradients(trainer: Trainer, batches: int) -> list[Tensor]:
    """Differentiate the mean loss over all valid targets of the first batches at once."""
    task, carry, total, count = trainer.task, None, torch.zeros(()), 0
    for _ in range(batches):
        loss = task.loss(trainer.batches.next_chunk(), carry, label_smoothing=0.0)
        total, count, carry = total + loss.total, count + loss.count, loss.carry
    return list(torch.autograd.grad(total / count, list(task.network.parameters())))


PLAIN = {"model": {"dropout": 0.0}, "clip_norm": None}


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_accumulated_gradients_are_those_of_the_mean_over_all_valid_targets(accumulate: int, make_trainer: MakeTrainer):
    trainer = make_trainer("in parts", steps=1, accumulate=accumulate, trainer_class=Frozen, **PLAIN)
    whole = make_trainer("whole", steps=1, **PLAIN)
    trainer.train_step()
    for found, wanted in zip(trainer.gradients, mean_gradients(whole, accumulate), strict=True):
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-7)


def norm_of(gradients: list[Tensor]) -> float:
    return math.sqrt(sum(float(gradient.double().pow(2).sum()) for gradient in gradients))


def test_a_long_gradient_is_cut_to_the_norm_and_a_short_one_is_not(make_trainer: MakeTrainer):
    free = make_trainer("free", steps=1, trainer_class=Frozen, **PLAIN)
    free.train_step()
    length = norm_of(free.gradients)
    for name, limit in (("short", length / 3), ("long", length * 3)):
        clipped = make_trainer(name, steps=1, trainer_class=Frozen, model={"dropout": 0.0}, clip_norm=limit)
        clipped.train_step()
        assert norm_of(clipped.gradients) == pytest.approx(min(limit, length), rel=1e-5)
        scale = min(limit, length) / length
        for found, wanted in zip(clipped.gradients, free.gradients, strict=True):
            assert torch.allclose(found, wanted * scale, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("limit", "share"), [(1e-6, 1.0), (1e6, 0.0), (None, 0.0)])
def test_the_share_of_clipped_steps_is_logged(limit: float | None, share: float, make_trainer: MakeTrainer):
    trainer = make_trainer(steps=4, clip_norm=limit, validations=1)
    trainer.fit()
    [record] = [record for record in trainer.run.records() if record["kind"] == "train"]
    assert record["clipped_share"] == share
    assert record["gradient_norm"] > 1e-3  # before clipping


def test_clip_value_cuts_every_entry(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=1, trainer_class=Frozen, model={"dropout": 0.0}, clip_norm=None, clip_value=1e-3)
    trainer.train_step()
    assert max(float(gradient.abs().max()) for gradient in trainer.gradients) == pytest.approx(1e-3)


def test_label_smoothing_raises_the_loss_that_is_trained_and_not_the_one_validated(make_trainer: MakeTrainer):
    sharp, smooth = make_trainer("sharp", steps=1), make_trainer("smooth", steps=1, label_smoothing=0.5)
    before = [one.task.quick_score(one.valid_data) for one in (sharp, smooth)]
    assert before[0] == before[1]
    sharp.fit()
    smooth.fit()
    assert sharp.last_loss != smooth.last_loss


# When to stop


def test_training_stops_when_validation_no_longer_improves(make_trainer: MakeTrainer):
    recorder = Recorder()
    trainer = make_trainer(
        steps=500, validations=100, patience=3, learning_rate=1.0, schedule="constant", callbacks=[recorder]
    )
    trainer.fit()
    assert trainer.stopped_early
    assert trainer.stopped_by is None
    assert trainer.step < 500
    assert [record["best"] for record in recorder.validations[-3:]] == [False] * 3
    assert trainer.run.load_checkpoint()[1]["finished"]


def test_a_run_by_time_ends_on_time_with_its_learning_rate_near_zero(make_trainer: MakeTrainer):
    recorder = Recorder()
    trainer = make_trainer(minutes=2 / 60, validations=2, callbacks=[recorder], learning_rate=0.01)
    trainer.fit()
    assert 2.0 <= trainer.seconds < 2.6  # the last step and validation, on a busy machine
    assert recorder.logs[-1]["learning_rate"] < 0.001
    ended = trainer.seconds
    time.sleep(0.05)
    assert trainer.seconds == ended  # the clock stands still afterwards


def test_a_resumed_run_by_time_spends_what_is_left(make_trainer: MakeTrainer):
    first = make_trainer(minutes=2 / 60, validations=4, callbacks=[InterruptAt(3)])
    first.fit()
    assert 1.5 <= first.seconds < 2.0
    second = make_trainer(minutes=2 / 60, validations=4)
    second.restore(*second.run.load_checkpoint())
    assert second.seconds == pytest.approx(first.seconds, abs=0.1)
    assert second.progress == pytest.approx(first.seconds / 2, abs=0.05)
    second.fit()
    assert 2.0 <= second.seconds < 2.6


def test_a_run_by_time_does_not_spend_it_on_validation(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch):
    recorder = Recorder()
    trainer = make_trainer(minutes=2 / 60, validations=100, callbacks=[recorder])
    score = trainer.task.quick_score

    def slowly(data: Any) -> float:
        time.sleep(0.2)
        return score(data)

    monkeypatch.setattr(trainer.task, "quick_score", slowly)
    trainer.fit()
    assert 2 <= len(recorder.validations) <= 5  # not ten, and one at the end
    assert recorder.validations[-1]["step"] == trainer.step
    assert trainer.validation_seconds == pytest.approx(0.2 * len(recorder.validations), abs=0.2)


@pytest.mark.parametrize(("steps", "validations"), [(1000, 100), (10, 10), (7, 3), (3, 10), (5, 1)])
def test_there_are_as_many_validations_as_asked_for(
    steps: int, validations: int, make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
):
    recorder = Recorder()
    trainer = make_trainer(steps=steps, validations=validations, callbacks=[recorder])
    monkeypatch.setattr(trainer, "_accumulate", lambda: (1.0, 1))
    monkeypatch.setattr(trainer, "_clip", lambda count: 1.0)
    monkeypatch.setattr(trainer, "save_checkpoint", lambda finished: None)
    monkeypatch.setattr(trainer.task, "quick_score", lambda data: 1.0)
    trainer.fit()
    assert len(recorder.validations) == min(steps, validations)
    assert recorder.validations[-1]["step"] == steps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(number: int, make_trainer: MakeTrainer):
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    recorder = Recorder()
    trainer = make_trainer(steps=50, callbacks=[InterruptAt(2, number), recorder])
    trainer.fit()
    assert trainer.stopped_by == number
    assert trainer.step == 10
    facts = trainer.run.load_checkpoint()[1]
    assert (facts["step"], facts["finished"]) == (10, False)
    assert recorder.events == ["start", "end"]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_signal_stops_at_once(make_trainer: MakeTrainer):
    class Twice(Callback):
        def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    trainer = make_trainer(steps=50, callbacks=[Twice()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.run.load_checkpoint()[1]["step"] == 0


def test_a_signal_after_the_last_step_does_not_make_the_run_unfinished(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=10, validations=1, callbacks=[InterruptAt(1)])
    trainer.fit()
    assert trainer.stopped_by is None
    assert trainer.run.load_checkpoint()[1]["finished"]


# When it goes wrong


def test_a_loss_that_is_no_number_names_the_step_and_keeps_checkpoint_and_model(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=20, trainer_class=Poisoned, learning_rate=0.004)
    with pytest.raises(RunError, match=r"loss is nan .*at step 3: .*diverged.*checkpoints.*0\.004") as caught:
        trainer.fit()
    assert caught.value.exit_code == 3
    tensors, facts = trainer.run.load_checkpoint()
    assert all(torch.isfinite(tensor).all() for name, tensor in tensors.items() if tensor.is_floating_point())
    assert facts["step"] == 2
    assert math.isfinite(load(trainer.run.folder).score(trainer.valid_data)["nats"])


def test_a_run_that_diverges_at_once_still_has_a_checkpoint(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=20, trainer_class=PoisonedAtOnce)
    with pytest.raises(RunError, match="at step 1"):
        trainer.fit()
    assert trainer.run.load_checkpoint()[1]["step"] == 0


def test_a_validation_that_is_no_number_stops_the_run(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch):
    trainer = make_trainer(steps=20)
    monkeypatch.setattr(trainer.task, "quick_score", lambda data: math.inf)
    with pytest.raises(RunError, match="validation gives inf at step 2"):
        trainer.fit()
    assert not trainer.run.model.exists()


def test_a_full_disk_fails_the_run_and_keeps_the_earlier_checkpoint(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
):
    trainer, saved = make_trainer(steps=20), []
    save_file = checkpoint.save_file

    def fills_up(*arguments: Any, **options: Any) -> None:
        saved.append(arguments)
        if len(saved) > 5:  # the first checkpoint, and two models with theirs
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(*arguments, **options)

    monkeypatch.setattr(checkpoint, "save_file", fills_up)
    with pytest.raises(RunError, match="could not be written: .*No space left") as caught:
        trainer.fit()
    assert caught.value.exit_code == 3
    assert trainer.run.load_checkpoint()[1]["step"] == 4
    assert load(trainer.run.folder).predict(["the cat"])


def test_a_log_that_cannot_be_written_fails_the_run(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=5)
    trainer.run.log.mkdir()
    with pytest.raises(RunError, match=r"log\.jsonl could not be written: .*Is a directory"):
        trainer.fit()


def test_the_end_is_told_when_training_fails(make_trainer: MakeTrainer):
    recorder = Recorder()
    trainer = make_trainer(steps=5, callbacks=[recorder])
    trainer.run.log.mkdir()
    with pytest.raises(RunError):
        trainer.fit()
    assert recorder.events == ["start", "end"]


# Checkpoints


def interrupted(make_trainer: MakeTrainer, **options: Any) -> Trainer:
    trainer = make_trainer(steps=20, callbacks=[InterruptAt(2)], **options)
    trainer.fit()
    return trainer


def test_a_checkpoint_of_another_network_is_refused(make_trainer: MakeTrainer):
    state = interrupted(make_trainer).run.load_checkpoint()
    other = make_trainer("other", steps=20, model={"hidden_size": 9})
    with pytest.raises(CheckpointError, match="does not fit this run .*size mismatch"):
        other.restore(*state)


def test_a_checkpoint_of_other_batches_is_refused_with_both_numbers(make_trainer: MakeTrainer):
    state = interrupted(make_trainer).run.load_checkpoint()
    with pytest.raises(CheckpointError, match="batch 4, this run has 5"):
        make_trainer("other", steps=20, batch_size=5).restore(*state)


def test_facts_that_are_missing_are_named(make_trainer: MakeTrainer):
    tensors, facts = interrupted(make_trainer).run.load_checkpoint()
    del facts["plateaus"]
    with pytest.raises(CheckpointError, match="does not fit this run .*plateaus"):
        make_trainer("other", steps=20).restore(tensors, facts)


def test_other_threads_and_precision_are_warned_of(make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture):
    tensors, facts = interrupted(make_trainer).run.load_checkpoint()
    make_trainer("same", steps=20).restore(tensors, facts)
    assert not caplog.records
    make_trainer("other", steps=20, threads=2, precision="bf16-mixed").restore(tensors, facts)
    assert "threads 1 and goes on with 2" in caplog.text
    assert "precision 32-true and goes on with bf16-mixed" in caplog.text


def test_a_long_stretch_without_validation_keeps_a_checkpoint(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
    trainer = make_trainer(steps=10, validations=1)
    steps = []
    save = trainer.save_checkpoint
    monkeypatch.setattr(
        trainer, "save_checkpoint", lambda finished: (steps.append(trainer.step), save(finished=finished))
    )
    trainer.fit()
    assert steps == [*range(11), 10]  # at the end with the validation, and once more as finished


# What is written


def test_the_log_has_a_line_for_each_stretch_and_validation(make_trainer: MakeTrainer):
    recorder = Recorder()
    trainer = make_trainer(steps=10, validations=2, callbacks=[recorder])
    trainer.fit()
    records = [json.loads(line) for line in trainer.run.log.read_text().splitlines()]
    assert [(record["kind"], record["step"]) for record in records] == [
        ("train", 5), ("validation", 5), ("train", 10), ("validation", 10),
    ]  # fmt: skip
    place = {"kind", "step", "seconds", "epoch"}
    measured = {"loss", "gradient_norm", "clipped_share", "speed", "learning_rate", "memory_mb"}
    assert all(record.keys() == place | measured for record in records[::2])
    assert all(record.keys() == place | {"nats", "best"} for record in records[1::2])
    assert [record["seconds"] for record in records] == sorted(record["seconds"] for record in records)
    assert recorder.logs == records[::2]
    assert records[-1]["nats"] == pytest.approx(trainer.task.quick_score(trainer.valid_data))


def test_the_model_kept_is_the_best_validated_one(make_trainer: MakeTrainer):
    recorder = Recorder()
    trainer = make_trainer(steps=40, validations=20, learning_rate=0.5, schedule="constant", callbacks=[recorder])
    trainer.fit()
    values = [record["nats"] for record in recorder.validations]
    assert min(values) < values[-1]
    assert trainer.best == min(values)
    model = load(trainer.run.folder)
    assert isinstance(model, LanguageModel)
    assert model.quick_score(trainer.valid_data) == pytest.approx(min(values), rel=1e-6)


def test_bfloat16_is_not_announced_by_the_library_below(make_trainer: MakeTrainer, capfd: pytest.CaptureFixture[str]):
    trainer = make_trainer(steps=1, precision="bf16-mixed")
    trainer.fit()
    assert capfd.readouterr() == ("", "")


def test_under_bfloat16_the_network_is_given_its_state_in_its_own_precision(make_trainer: MakeTrainer):
    trainer = make_trainer(steps=3, precision="bf16-mixed")
    seen: list[torch.dtype] = []
    trainer.task.network.stack.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1][0].dtype))
    trainer.fit()
    assert set(seen) == {torch.float32}
