"""Layers trained beside one another, for real, in processes of their own."""

import dataclasses
import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rnnkit.comparing import Trial, compare, comparison
from rnnkit.comparing.trials import Work, count_parameters
from rnnkit.errors import ConfigError, DataError
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig

SMALL: dict[str, Any] = {"steps": 3, "batch_size": 2, "bptt": 16, "embedding_size": 8, "hidden_size": 8, "threads": 1}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Answer trials without a process, and count them."""
    asked: list[Work] = []

    def answer(work: Work) -> Trial:
        asked.append(work)
        layer, seed = work.options["layer"], work.options["seed"]
        if layer == "rnn":
            return Trial(layer, seed, error="it broke")
        return Trial(layer, seed, metrics={"nats": len(layer) + seed / 100}, parameters=10, hidden_size=4)

    monkeypatch.setattr(comparison, "run_trial", answer)
    return asked


def test_real_trials_are_measured_and_kept(tiny_text: Path, tmp_path: Path):
    folder = tmp_path / "runs"
    found = compare("lm", tiny_text, layers=["lstm", "mingru"], seeds=1, folder=folder, projection_size=4, **SMALL)
    lstm, mingru = found.trials
    assert (lstm.layer, lstm.seed, lstm.steps, lstm.error) == ("lstm", 1, 3, None)
    assert lstm.metrics["nats"] < 5
    assert lstm.parameters > 8 * 8
    assert lstm.step_microseconds is not None
    assert lstm.step_microseconds > 1
    assert lstm.memory_megabytes > 50
    assert lstm.file_bytes > 4 * lstm.parameters
    assert mingru.error is not None
    assert "projection_size" in mingru.error
    assert found.verdict.startswith("lstm has the lowest nats")
    assert (folder / "comparison.png").stat().st_size > 1000
    assert len((folder / "comparison.jsonl").read_text().splitlines()) == 2
    assert (folder / "lstm-1" / "report.md").is_file()


def test_it_goes_on_where_it_was(tiny_text: Path, tmp_path: Path, counted: list[Work]):
    options: dict[str, Any] = {"seeds": 2, "folder": tmp_path / "runs", **SMALL}
    first = compare("lm", tiny_text, layers=["gru", "rnn"], **options)
    assert [(work.options["layer"], work.options["seed"]) for work in counted] == [
        ("gru", 1),
        ("rnn", 1),
        ("gru", 2),
        ("rnn", 2),
    ]
    assert first.by_layer().keys() == {"gru"}
    counted.clear()
    again = compare("lm", tiny_text, layers=["gru", "lstm", "rnn"], **options)
    done = [(work.options["layer"], work.options["seed"]) for work in counted]
    assert done == [("lstm", 1), ("rnn", 1), ("lstm", 2), ("rnn", 2)]  # what failed is tried again
    assert [trial.layer for trial in again.trials if trial.error is None].count("gru") == 2


def test_parameters_are_evened_out(tiny_text: Path, tmp_path: Path, counted: list[Work]):
    compare("lm", tiny_text, layers=["lstm", "gru", "mingru"], seeds=1, parameters=40_000, folder=tmp_path, **SMALL)
    sizes = {work.options["layer"]: work.options["hidden_size"] for work in counted}
    assert sizes["lstm"] < sizes["gru"] < sizes["mingru"]
    names = [field.name for field in dataclasses.fields(LanguageModelConfig)]
    for work in counted:
        config = LanguageModelConfig(**{name: value for name, value in work.options.items() if name in names})
        found = count_parameters(LanguageModel.prepare(LanguageModel.read([tiny_text], config), config).network)
        assert found == pytest.approx(40_000, rel=0.1)


@pytest.mark.parametrize("parameters", [100, 10**10])
def test_parameters_that_no_size_gives_are_refused(
    tiny_text: Path, tmp_path: Path, counted: list[Work], parameters: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(comparison, "LARGEST", 16)
    with pytest.raises(ConfigError, match="lstm: the nearest to .* parameters is .*, with (4|16) units"):
        compare("lm", tiny_text, layers=["lstm"], parameters=parameters, folder=tmp_path, **SMALL)
    assert not counted


def test_what_cannot_be_read_is_refused_before_anything_is_trained(tmp_path: Path, counted: list[Work]):
    with pytest.raises(DataError, match="missing.txt"):
        compare("lm", tmp_path / "missing.txt", layers=["gru"], folder=tmp_path / "runs", **SMALL)
    with pytest.raises(ConfigError, match="no data file is given"):
        compare("lm", [], layers=["gru"], folder=tmp_path / "runs", **SMALL)
    assert not counted
    assert not (tmp_path / "runs").exists()


def test_a_line_that_a_crash_cut_short_is_trained_again(tiny_text: Path, tmp_path: Path, counted: list[Work]):
    compare("lm", tiny_text, layers=["gru", "lstm"], seeds=1, folder=tmp_path, **SMALL)
    kept = tmp_path / "comparison.jsonl"
    kept.write_text(kept.read_text()[:-20])
    options = dict(reversed(SMALL.items()))  # in another order they are the same
    compare("lm", tiny_text, layers=["gru", "lstm"], seeds=1, folder=tmp_path, **options)
    assert [work.options["layer"] for work in counted] == ["gru", "lstm", "lstm"]
    again = compare("lm", tiny_text, layers=["gru", "lstm"], seeds=1, folder=tmp_path, **options)
    assert len(counted) == 3
    assert [trial.layer for trial in again.trials] == ["gru", "lstm"]


def test_what_failed_is_named_in_the_verdict(tiny_text: Path, tmp_path: Path, counted: list[Work]):
    found = compare("lm", tiny_text, layers=["gru", "rnn"], seeds=2, folder=tmp_path, **SMALL)
    assert found.verdict.endswith("Failed, and left out of this: rnn with seed 1 and 2.")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_it_alone_ends_its_trial_too(tiny_text: Path, tmp_path: Path, number: int, code: int):
    program = [sys.executable, "-m", "rnnkit", "compare", "lm", str(tiny_text), "--layers", "gru", "--minutes", "9"]
    compared = subprocess.Popen([*program, "--run", str(tmp_path / "runs"), "--threads", "1"], start_new_session=True)
    log = tmp_path / "runs" / "gru-1" / "log.jsonl"
    while not log.is_file():
        assert compared.poll() is None
        time.sleep(0.1)
    compared.send_signal(number)
    assert compared.wait(60) == code
    with (tmp_path / "runs" / "gru-1" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody trains there any more


def test_a_folder_of_another_comparison_is_refused(tiny_text: Path, tmp_path: Path, counted: list[Work]):
    compare("lm", tiny_text, layers=["gru"], seeds=1, folder=tmp_path, **SMALL)
    with pytest.raises(ConfigError, match="holds a comparison of something else"):
        compare("lm", tiny_text, layers=["gru"], seeds=1, folder=tmp_path, **{**SMALL, "hidden_size": 9})
    kept = [json.loads(line) for line in (tmp_path / "comparison.jsonl").read_text().splitlines()]
    assert len(kept) == len(counted) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["gruu"]}, "layers are gruu; expected some of rnn"),
        ({"layers": []}, "layers are none"),
        ({"layers": ["gru"], "seeds": 0}, "seeds is 0; expected 1 or more"),
        ({"layers": ["gru"], "seed": 3}, "seed are what is compared|seed is what is compared"),
        ({"layers": ["gru"], "hidden_sice": 3}, "hidden_sice"),
        ({"layers": ["gru"], "devices": 2}, "devices is 2; expected 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(tiny_text: Path, tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        compare("lm", tiny_text, folder=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_a_stopped_comparison_keeps_what_is_done(
    tiny_text: Path, tmp_path: Path, counted: list[Work], monkeypatch: pytest.MonkeyPatch
):
    answer = comparison.run_trial

    def stop(work: Work) -> Trial:
        if len(counted) == 1:
            raise KeyboardInterrupt
        return answer(work)

    monkeypatch.setattr(comparison, "run_trial", stop)
    with pytest.raises(KeyboardInterrupt):
        compare("lm", tiny_text, layers=["gru", "lstm"], seeds=1, folder=tmp_path, **SMALL)
    assert len((tmp_path / "comparison.jsonl").read_text().splitlines()) == 1
