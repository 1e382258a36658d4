"""A run that is killed again and again, at any moment, ends in the same bits as one that never was."""

import json
import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnkit
from rnnkit.checkpoint import Run

STEPS, EVERY = 2400, 2  # steps, and steps from one save of the model and checkpoint to the next
MOST_KILLS, FEWEST_KILLS = 160, 100

# Forks a process for each line it reads: "RUN STEPS SECONDS" trains or goes on, and is killed after so many seconds,
# or never. The packages are imported once.
NURSERY = """
import os, pathlib, signal, sys, time, traceback
import lightning_fabric, torch
from rnnkit.training import resume, train

OPTIONS = dict(hidden_size=8, embedding_size=6, bptt=16, batch_size=4, weight_dropout=0.2, threads=1,
               precision="32-true", device="cpu")


def work(run, steps):
    if (run / "config.toml").is_file():
        resume(run)
    else:
        train("lm", sys.argv[1], run=run, steps=steps, validations=steps // int(sys.argv[2]), **OPTIONS)


for line in sys.stdin:
    run, steps, seconds = line.split()
    child = os.fork()
    if not child:
        try:
            work(pathlib.Path(run), int(steps))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds != "never":
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def nursery(text: Path) -> Iterator[subprocess.Popen[str]]:
    """Begin the process that forks others."""
    command = [sys.executable, "-c", NURSERY, str(text), str(EVERY)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate()


def work(process: subprocess.Popen[str], run: Path, seconds: float | None) -> int:
    """Train, or go on, for so many seconds; return the exit code, -9 where it was killed."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{run} {STEPS} {'never' if seconds is None else seconds}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def last_validated(run: Run) -> int:
    return max((record["step"] for record in run.records() if record["kind"] == "validation"), default=0)


def state_of(run: Run) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the checkpoint without what tells of the time it took."""
    tensors, facts = run.load_checkpoint()
    timed = ("seconds", "validation_seconds", "speed", "last_loss")
    return tensors, {name: value for name, value in facts.items() if name not in timed}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_a_hundred_times_equals_one_that_never_was(
    tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Most of the time goes into saving, so most kills hit a save; what they leave behind shows how many did."""
    monkeypatch.setattr(logging.getLogger("rnnkit"), "propagate", True)
    run, whole = Run(tmp_path / "killed"), Run(tmp_path / "whole")
    moments, kills, in_saves, step = random.Random(1), 0, 0, 0
    with nursery(tiny_text) as process:
        began = time.monotonic()
        assert work(process, whole.folder, None) == 0
        longest = 0.1 + (time.monotonic() - began) / 80  # a process begins in about 0.1 s: 160 kills get nearly through
        while kills < MOST_KILLS and step < STEPS - EVERY:
            pace = 0.5 if step * MOST_KILLS > STEPS * kills else 1.0  # the machine may have become quicker
            assert work(process, run.folder, moments.uniform(0, pace * longest)) == -signal.SIGKILL
            kills += 1
            in_saves += any(run.folder.rglob(".*.new")) or any(run.folder.rglob(".*.old"))
            if run.begun:
                run.mend()
                before, step = step, run.load_checkpoint()[1]["step"]
                assert step >= before
                assert last_validated(run) - EVERY <= step
            if last_validated(run) > EVERY:
                assert rnnkit.load(run.folder).predict(["the"])
        finished = run.load_checkpoint()[1]["finished"]  # the last kill may come after the last save
        assert work(process, run.folder, None) == (1 if finished else 0)  # what is finished is refused
    print(f"{kills} kills up to step {step}, {in_saves} of them in a save, each after up to {longest:.2f} s")
    assert kills >= FEWEST_KILLS
    assert in_saves >= FEWEST_KILLS / 5
    assert "is damaged" not in caplog.text
    (tensors, facts), (expected, expected_facts) = state_of(run), state_of(whole)
    assert facts == expected_facts
    assert facts["finished"]
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)
    names = ("model/weights.safetensors", "baseline/ngram.npz", "tokens/vocabulary.json")
    assert all((run.folder / name).read_bytes() == (whole.folder / name).read_bytes() for name in names)
    steps = [[record["step"] for record in one.records() if record["kind"] == "validation"] for one in (run, whole)]
    assert steps[0] == steps[1] == list(range(EVERY, STEPS + 1, EVERY))
    assert not [path for path in run.folder.rglob(".*") if path.suffix in (".new", ".old")]
    json.loads((run.folder / "baseline" / "scores.json").read_text())
