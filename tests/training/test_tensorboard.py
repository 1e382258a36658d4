"""What TensorBoard reads back is what the run recorded."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rnnkit.checkpoint import Run
from rnnkit.errors import ConfigError, RunError
from rnnkit.training import Callback, TensorBoard, Trainer, resume, train, trainer

FAST: dict[str, Any] = {"hidden_size": 8, "embedding_size": 6, "bptt": 16, "batch_size": 4}
FAST |= {"threads": 1, "precision": "32-true", "device": "cpu"}

Curves = dict[str, list[tuple[int, float]]]


class StopAt(Callback):
    """Interrupts a run at its third validation."""

    seen = 0

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.seen += 1
        if self.seen == 3:
            os.kill(os.getpid(), signal.SIGINT)


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return events


def curves(run: Path) -> Curves:
    """Read every curve, the final metrics apart."""
    events = read(run)
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("result")]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def recorded(run: Path) -> Curves:
    """Gather the same from the log."""
    found: Curves = {}
    for record in Run(run).records():
        for name in record.keys() - {"kind", "step", "seconds", "epoch", "best", "layers"}:
            found.setdefault(f"{record['kind']}/{name}", []).append((record["step"], record[name]))
        for layer, measured in record.get("layers", {}).items():
            for name, value in measured.items():
                found.setdefault(f"{record['kind']}/{name} of {layer}", []).append((record["step"], value))
    return found


def assert_same(found: Curves, expected: Curves) -> None:
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
        assert [value for _, value in found[tag]] == pytest.approx([value for _, value in points], rel=1e-6)  # float32


def test_curves_are_those_of_the_log_and_results_those_of_the_run(tiny_text: Path, tmp_path: Path):
    result = train("lm", tiny_text, run=tmp_path / "run", steps=10, callbacks=[TensorBoard()], **FAST)
    assert_same(curves(result.run), recorded(result.run))
    assert {"train/loss", "train/gradient_norm", "train/speed", "validation/nats"} <= curves(result.run).keys()
    events = read(result.run)
    for name, value in result.metrics.items():
        [point] = events.Scalars(f"result {name}/model")
        assert (point.step, point.value) == (10, pytest.approx(value, rel=1e-6))
        [point] = events.Scalars(f"result {name}/n-gram")
        assert point.value == pytest.approx(result.baselines["n-gram"][name], rel=1e-6)


def test_each_layer_has_curves_of_its_own(tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer, "LOG_SECONDS", 0.0)  # so that every update is measured
    result = train("lm", tiny_text, run=tmp_path / "run", steps=3, callbacks=[TensorBoard()], **FAST)
    assert_same(curves(result.run), recorded(result.run))
    assert "train/update_ratio of stack.layers.0" in curves(result.run)


def test_the_options_are_there_as_text(tiny_text: Path, tmp_path: Path):
    run = train("lm", tiny_text, run=tmp_path / "run", steps=1, callbacks=[TensorBoard()], **FAST).run
    [event] = read(run).Tensors("config/text_summary")
    shown = event.tensor_proto.string_val[0].decode()
    assert [line.removeprefix("    ") for line in shown.splitlines()] == (run / "config.toml").read_text().splitlines()


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_resumed_run_has_each_step_once(from_the_start: bool, tiny_text: Path, tmp_path: Path):
    watchers = [TensorBoard()] if from_the_start else []
    run = train("lm", tiny_text, run=tmp_path / "run", steps=20, callbacks=[*watchers, StopAt()], **FAST).run
    with Run(run).log.open("a") as log:  # as if killed after the checkpoint
        log.write('{"kind": "train", "step": 7, "seconds": 9, "epoch": 0, "loss": 99}\n')
    resume(run, callbacks=[TensorBoard()])
    assert_same(curves(run), recorded(run))
    assert [step for step, _ in curves(run)["validation/nats"]] == list(range(2, 21, 2))


def test_time_goes_on_without_the_pause_between_the_parts(tiny_text: Path, tmp_path: Path):
    run = train("lm", tiny_text, run=tmp_path / "run", steps=20, callbacks=[StopAt()], **FAST).run
    resume(run, callbacks=[TensorBoard()])
    seconds = [record["seconds"] for record in Run(run).records() if record["kind"] == "validation"]
    times = [event.wall_time for event in read(run).Scalars("validation/nats")]
    assert [time - times[0] for time in times] == pytest.approx([one - seconds[0] for one in seconds], abs=1e-3)


def test_a_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'rnnkit\[tensorboard\]'"):
        TensorBoard()


def test_a_folder_that_cannot_be_written_fails_the_run(tiny_text: Path, tmp_path: Path):
    class Blocks(Callback):
        def on_start(self, trainer: Trainer) -> None:
            (trainer.run.folder / "tensorboard").write_text("a file stands in the way")

    with pytest.raises(RunError, match="tensorboard could not be written"):
        train("lm", tiny_text, run=tmp_path / "run", steps=2, callbacks=[Blocks(), TensorBoard()], **FAST)
