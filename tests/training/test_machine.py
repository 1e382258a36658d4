"""What is chosen for the machine, and what the process has back afterwards."""

import signal
import threading

import pytest
import torch

from rnnkit.errors import ConfigError
from rnnkit.training import TrainingConfig, machine
from rnnkit.training.interruption import signals_caught
from rnnkit.training.machine import choose_device, choose_precision, process_settings_kept, set_threads


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="device is 'cuda', but torch sees no GPU"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="device is 'tpu'; expected cpu, cuda or auto"):
        choose_device("tpu")


@pytest.mark.parametrize(("flags", "runs", "expected"), [
    ("flags : avx2 avx512_bf16 fma", True, "bf16-mixed"),
    ("flags : avx2 avx512_bf16 fma", False, "32-true"),
    ("flags : avx2 fma", True, "32-true"),
])  # fmt: skip
def test_bfloat16_is_taken_where_the_processor_multiplies_it(
    flags: str, runs: bool, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine.Path, "read_text", lambda path: flags)
    monkeypatch.setattr(machine, "_lstm_runs_in_bfloat16", lambda: runs)
    assert choose_precision(TrainingConfig(steps=1), "cpu") == expected
    assert choose_precision(TrainingConfig(steps=1, precision="32-true"), "cpu") == "32-true"


def test_trying_bfloat16_draws_no_random_number():
    before = torch.get_rng_state()
    assert machine._lstm_runs_in_bfloat16() in (True, False)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_and_threads_are_the_callers_again_afterwards():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with process_settings_kept():
        torch.manual_seed(7)
        assert set_threads(TrainingConfig(steps=1, threads=threads + 1)) == threads + 1
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_another_thread_than_the_main_one_trains_without_signals():
    caught = []

    def block() -> None:
        with signals_caught(caught.append):
            caught.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert caught == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 1.0, "steps": 5}, "minutes and steps are both given; expected one of minutes, epochs, steps"),
        ({"steps": 0}, "steps is 0; expected a number above 0"),
        ({"minutes": float("inf")}, "minutes is inf"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"clip_norm": 0.0}, r"clip_norm is 0\.0"),
        ({"validations": 0}, "validations is 0"),
        ({"warmup_share": 1.0}, r"warmup_share is 1\.0; expected a share in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"label_smoothing is -0\.1"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_value(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**options)


def test_the_budget_is_five_minutes_unless_another_is_given():
    assert TrainingConfig().budget_seconds == 300
    assert TrainingConfig(minutes=0.5).budget_seconds == 30
    assert TrainingConfig(steps=5).budget_seconds is None
    assert TrainingConfig(epochs=0.5).budget_seconds is None
