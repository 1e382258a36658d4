"""Two processes train one model: the same as one process with the same batches, and whole after any end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rnnkit.checkpoint import Run
from rnnkit.errors import ConfigError
from rnnkit.training import TrainingConfig
from rnnkit.training import train as train_here
from rnnkit.training.processes import make_fabric

TEXT = "".join(f"{number} sheep and {number * number} stars, said number {number % 7}.\n" for number in range(300))
SMALL = ("--hidden-size", "12", "--embedding-size", "8", "--bptt", "16", "--batch-size", "4", "--threads", "1")
FIXED = (*SMALL, "--precision", "32-true", "--device", "cpu")
EXACT = (*FIXED, "--dropout", "0")
TORCHRUN = "torch.distributed.run"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "sheep.txt"
    path.write_text(TEXT)
    return path


def command(*words: str | Path, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-m", *launcher, *(() if launcher else ("rnnkit",)), *map(str, words)]


def train(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run(command("train", *words), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(Run(run).model / "weights.safetensors")


def assert_close(first: Path, second: Path) -> None:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-5)


def test_two_processes_equal_one_with_the_same_global_batch(text: Path, tmp_path: Path):
    options = {"hidden_size": 12, "embedding_size": 8, "bptt": 16, "batch_size": 4, "threads": 1, "dropout": 0.0}
    train_here("lm", text, run=tmp_path / "1", steps=50, precision="32-true", device="cpu", **options)
    said = train("lm", text, *EXACT, "--steps", "50", "--devices", "2", "--run", tmp_path / "2")
    assert said.count("trained for 50 steps") == 1  # one process reports
    assert "2 processes" in said
    assert_close(tmp_path / "1", tmp_path / "2")
    records = [[r for r in Run(tmp_path / n).records() if r["kind"] == "validation"] for n in ("1", "2")]
    assert [r["step"] for r in records[0]] == [r["step"] for r in records[1]]


@pytest.mark.slow
def test_two_processes_go_on_where_they_were_stopped(text: Path, tmp_path: Path):
    options = (*FIXED, "--devices", "2", "--dropout", "0.3", "--averaging", "ema", "--validations", "20")
    train("lm", text, *options, "--steps", "400", "--run", tmp_path / "whole")
    run = tmp_path / "parts"
    process = subprocess.Popen(
        command("train", "lm", text, *options, "--steps", "400", "--run", run),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(run, 40)
    os.kill(process.pid, signal.SIGTERM)  # only the first process is told
    said = "".join(process.communicate(timeout=60))
    assert process.returncode == 143, said
    assert "go on with" in said
    train("--resume", run)
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, weights(tmp_path / "whole")[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_lost_process_ends_the_run_with_its_checkpoint(text: Path, tmp_path: Path):
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("train", "lm", text, *EXACT, "--devices", "2", "--steps", "100000", "--run", run),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(run, 0)
    time.sleep(1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    other = next(child for child in children if "rnnkit" in Path(f"/proc/{child}/cmdline").read_text())
    os.kill(int(other), signal.SIGKILL)
    said = "".join(process.communicate(timeout=60))
    assert process.returncode in (3, -signal.SIGKILL), said  # the launcher gives the rest five seconds
    assert Run(run).load_checkpoint()[1]["step"] >= 0


@pytest.mark.slow
def test_torchrun_gives_the_same(text: Path, tmp_path: Path):
    train("lm", text, *EXACT, "--steps", "50", "--run", tmp_path / "one")
    launcher = (
        TORCHRUN,
        "--nproc-per-node",
        "2",
        "--master-port",
        "29571",
        "-m",
        "--",
        "rnnkit",
    )  # --run would be its --run-path
    words = command("train", "lm", text, *EXACT, "--steps", "50", "--run", tmp_path / "two", launcher=launcher)
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_accumulated_batches_in_two_processes_equal_one(text: Path, tmp_path: Path):
    for devices in ("1", "2"):
        options = ("--steps", "30", "--accumulate", "3", "--devices", devices)
        train("lm", text, *EXACT, *options, "--run", tmp_path / devices)
    assert_close(tmp_path / "1", tmp_path / "2")


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match="batch_size is 4; expected a multiple of devices, 3"):
        TrainingConfig(steps=1, batch_size=4, devices=3)


def test_a_program_that_cannot_be_started_again_is_refused(monkeypatch: pytest.MonkeyPatch):
    """A line of `python -c` is one; pytest itself could be."""
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    with pytest.raises(ConfigError, match="devices is 2, for which this program must start again"):
        make_fabric(TrainingConfig(steps=1, devices=2, device="cpu"))


def wait_for_step(run: Path, step: int) -> None:
    """Wait until a checkpoint of this step or a later one is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [int(path.name) for path in Run(run).checkpoints.glob("[0-9]*")]
        if found and max(found) >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"{run} has no checkpoint of step {step}")
