"""From files to a run folder, from a run folder on, and every refusal on the way."""

import errno
import json
import logging
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import rnnkit
from rnnkit import checkpoint
from rnnkit.checkpoint import Run
from rnnkit.config import read_toml
from rnnkit.errors import CheckpointError, ConfigError, DataError, RunError
from rnnkit.tasks import LanguageModel
from rnnkit.training import Callback, Trainer, launch, resume, train
from rnnkit.training.config import TrainingConfig
from rnnkit.training.launch import read_configs

FAST: dict[str, Any] = {"hidden_size": 8, "embedding_size": 6, "bptt": 16, "batch_size": 4}
FAST |= {"threads": 1, "precision": "32-true", "device": "cpu"}


class StopAt(Callback):
    """Interrupts a run at its first validation."""

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def finished(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train to the end."""
    return train("language-model", tiny_text, run=tmp_path_factory.mktemp("runs") / "x", steps=4, **FAST).run


@pytest.fixture
def stopped(tiny_text: Path, tmp_path: Path) -> Path:
    """Train and stop at the first of ten validations."""
    return train("lm", tiny_text, run=tmp_path / "stopped", steps=20, callbacks=[StopAt()], **FAST).run


# Go on from another model


def test_going_on_from_a_model_begins_where_it_is_and_grows_its_vocabulary(finished: Path, tmp_path: Path):
    before = rnnkit.load(finished)
    assert isinstance(before, LanguageModel)
    other = tmp_path / "other.txt"
    other.write_text("the caf\u00e9 \u20ac \u20ac is open. " * 60)
    result = train("lm", other, run=tmp_path / "on", start=finished, steps=1, learning_rate=1e-9, device="cpu")
    after = result.model
    assert isinstance(after, LanguageModel)
    assert after.config == before.config
    known, size = before.vocabulary.size, after.vocabulary.size
    assert size - known == len({*other.read_text()} - {before.vocabulary.piece(i) for i in range(known)} - {" "})
    assert after.vocabulary.encode("the").tolist() == before.vocabulary.encode("the").tolist()
    rows = [model.network.state_dict()["embedding.weight"] for model in (before, after)]
    assert torch.allclose(rows[0], rows[1][:known], atol=1e-6)
    assert torch.allclose(rows[1][known:], rows[0][2:].mean(0), atol=1e-6)
    assert read_toml(result.run / "config.toml")["data"]["start"] == str(finished)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 9}, r"is \(36, 6\) here and \(32, 6\) in the model to go on from"),
        ({"vocabulary": "byte"}, "vocabulary is 'byte'; expected 'character', as the model"),
    ],
)
def test_options_that_do_not_fit_the_model_to_go_on_from_are_refused(
    options: dict[str, Any], message: str, finished: Path, tiny_text: Path, tmp_path: Path
):
    with pytest.raises(ConfigError, match=message):
        train("lm", tiny_text, run=tmp_path / "on", start=finished, steps=1, **options)
    assert not (tmp_path / "on" / "config.toml").exists()


def test_a_run_that_went_on_from_a_model_and_has_no_checkpoint_does_not_begin_without_it(
    finished: Path, tiny_text: Path, tmp_path: Path
):
    run = train("lm", tiny_text, run=tmp_path / "on", start=finished, steps=1).run
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "log.jsonl").unlink()
    with pytest.raises(CheckpointError, match="ended before its first checkpoint, without the weights"):
        resume(run)


def test_a_missing_model_to_go_on_from_is_named(tiny_text: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere: there is no such folder"):
        train("lm", tiny_text, run=tmp_path / "on", start=tmp_path / "nowhere", steps=1)


# Begin and go on


def test_a_run_folder_holds_what_the_design_says(finished: Path):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names == {
        "config.toml",
        "log.jsonl",
        "curves.png",
        "diagnostics.png",
        "report.md",
        "lock",
        "baseline/ngram.npz",
        "baseline/scores.json",
        "checkpoints/000000003/state.json",
        "checkpoints/000000003/state.safetensors",
        "checkpoints/000000004/state.json",
        "checkpoints/000000004/state.safetensors",
        "model/config.toml",
        "model/text.json",
        "model/version",
        "model/vocabulary.json",
        "model/weights.safetensors",
        "tokens/text.json",
        "tokens/vocabulary.json",
        *(f"tokens/{part}/{name}" for part in ("train", "valid") for name in ("size.json", "starts.npy", "tokens.npy")),
    }


def test_the_curves_are_a_picture(finished: Path):
    picture = (finished / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_the_config_of_a_run_repeats_it_bit_for_bit(finished: Path, tiny_text: Path, tmp_path: Path):
    again = train("lm", tiny_text, run=tmp_path / "again", config=finished / "config.toml").run
    for name in ("model/weights.safetensors", "baseline/ngram.npz"):
        assert (again / name).read_bytes() == (finished / name).read_bytes()


def test_the_config_of_a_run_says_where_its_data_came_from(finished: Path, tiny_text: Path):
    tables = read_toml(finished / "config.toml")
    assert tables["task"] == "language-model"
    assert tables["data"] == {"train": [str(tiny_text)], "valid": []}
    assert tables["training"]["steps"] == 4
    assert tables["model"]["hidden_size"] == 8


def test_the_result_is_what_the_folder_says(tiny_text: Path, tmp_path: Path):
    result = train("lm", [tiny_text], valid=tiny_text, run=tmp_path / "run", steps=5, **FAST)
    model = rnnkit.load(result.run)
    assert isinstance(model, LanguageModel)
    data = model.load_data(result.run / "tokens" / "valid")
    assert data.size.bytes == tiny_text.stat().st_size
    assert result.metrics == model.score(data)
    assert result.baselines == {"n-gram": json.loads((result.run / "baseline" / "scores.json").read_text())}
    assert (result.steps, result.stopped_by) == (5, None)
    assert result.best == min(record["nats"] for record in Run(result.run).records() if "nats" in record)
    assert 0 < result.seconds < 30


def test_an_interrupted_run_goes_on_to_the_same_model(stopped: Path, tiny_text: Path, tmp_path: Path):
    whole = train("lm", tiny_text, run=tmp_path / "whole", steps=20, **FAST)
    result = resume(stopped)
    assert (result.steps, result.stopped_by) == (20, None)
    assert result.metrics == whole.metrics
    assert result.best == whole.best
    places = [[record["step"] for record in Run(run).records()] for run in (stopped, whole.run)]
    assert places[0] == places[1]


def test_an_interrupted_run_has_a_model_and_says_what_stopped_it(tiny_text: Path, tmp_path: Path):
    result = train("lm", tiny_text, run=tmp_path / "run", steps=20, callbacks=[StopAt()], **FAST)
    assert result.stopped_by == signal.SIGINT
    assert result.steps == 2
    assert rnnkit.load(result.run).predict(["the"])


def test_records_after_the_checkpoint_are_dropped_when_a_run_goes_on(stopped: Path):
    with Run(stopped).log.open("a") as log:
        log.write('{"kind": "train", "step": 3, "seconds": 9, "epoch": 0, "loss": 99}\n{"kind": "tr')
    resume(stopped)
    steps = [record["step"] for record in Run(stopped).records()]
    assert steps == sorted(steps)
    assert all(record.get("loss") != 99 for record in Run(stopped).records())


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(stopped: Path, caplog: pytest.LogCaptureFixture):
    newest = max((stopped / "checkpoints").iterdir()) / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert resume(stopped).steps == 20
    assert "is damaged" in caplog.text


def test_a_run_killed_before_its_first_checkpoint_begins_where_it_was_resumed(
    finished: Path, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """Ends a run as a signal that nothing can catch does."""

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "fit_baseline", killed)
        with pytest.raises(Killed):
            train("lm", tiny_text, run=tmp_path / "run", steps=4, **FAST)
    assert not (tmp_path / "run" / "log.jsonl").exists()
    assert resume(tmp_path / "run").steps == 4
    for name in ("model/weights.safetensors", "checkpoints/000000004/state.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_folders_left_between_two_renames_are_put_back(stopped: Path, tiny_text: Path):
    newest = max((stopped / "checkpoints").iterdir())
    for folder in (newest, stopped / "model"):
        folder.rename(folder.with_name(f".{folder.name}.old"))
    assert Run(stopped).load_checkpoint()[1]["step"] == 0
    Run(stopped).mend()
    assert Run(stopped).load_checkpoint()[1]["step"] == 2
    assert (stopped / "model" / "weights.safetensors").is_file()
    assert resume(stopped).steps == 20


def test_a_folder_that_was_replaced_is_not_put_back(stopped: Path):
    weights = (stopped / "model" / "weights.safetensors").read_bytes()
    (stopped / ".model.old").mkdir()
    Run(stopped).mend()
    assert (stopped / "model" / "weights.safetensors").read_bytes() == weights


def test_training_leaves_the_callers_random_numbers_and_threads_alone(tiny_text: Path, tmp_path: Path):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train("lm", tiny_text, run=tmp_path / "run", steps=1, **{**FAST, "threads": threads + 1})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_what_is_noticed_is_said_in_the_log(tiny_text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="rnnkit"):
        train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST)
    assert "the last 10% of the text is kept for validation" in caplog.text
    assert " tokens (character)" in caplog.text
    assert "parameters on cpu, 32-true, 1 threads" in caplog.text


def test_the_default_folder_is_named_after_the_file(tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert train("lm", tiny_text, steps=1, **FAST).run == Path("runs/tiny")


# Refusals


def test_an_existing_run_is_refused_naming_the_ways_out(finished: Path, tiny_text: Path):
    before = (finished / "model" / "weights.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=f"{finished} holds a run already: .*--resume .*--run.*--overwrite"):
        train("lm", tiny_text, run=finished, steps=1, **FAST)
    assert (finished / "model" / "weights.safetensors").read_bytes() == before


def test_overwrite_replaces_a_run_and_leaves_nothing_of_it(stopped: Path, tiny_text: Path):
    train("lm", tiny_text, run=stopped, overwrite=True, steps=1, **FAST)
    assert {record["step"] for record in Run(stopped).records()} == {1}
    assert sorted(path.name for path in (stopped / "checkpoints").iterdir()) == ["000000000", "000000001"]


def test_overwrite_does_not_touch_a_run_in_training(stopped: Path, tiny_text: Path):
    with Run(stopped).locked(), pytest.raises(ConfigError, match="stopped is being trained by another process"):
        train("lm", tiny_text, run=stopped, overwrite=True, steps=1, **FAST)
    assert resume(stopped).steps == 20


def test_overwrite_with_options_that_do_not_fit_keeps_the_old_run(stopped: Path, tiny_text: Path):
    with pytest.raises(ConfigError, match="vocabulary size 2"):
        train("lm", tiny_text, run=stopped, overwrite=True, steps=1, **{**FAST, "vocabulary_size": 2})
    assert resume(stopped).steps == 20


def test_a_second_trainer_of_one_run_is_refused(stopped: Path):
    with Run(stopped).locked(), pytest.raises(ConfigError, match="stopped is being trained by another process"):
        resume(stopped)


def test_a_finished_run_does_not_go_on(finished: Path):
    with pytest.raises(ConfigError, match="is finished after 4 steps"):
        resume(finished)


def test_a_folder_without_a_run_does_not_go_on(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"holds no run: .*config\.toml is missing"):
        resume(tmp_path / "absent")


def test_a_run_without_a_checkpoint_does_not_go_on(stopped: Path):
    for path in (stopped / "checkpoints").iterdir():
        path.rename(stopped / path.name)
    with pytest.raises(CheckpointError, match="holds no checkpoint to resume from"):
        resume(stopped)


def test_a_run_of_an_unknown_task_does_not_go_on(stopped: Path):
    path = stopped / "config.toml"
    path.write_text(path.read_text().replace('"language-model"', '"poetry"'))
    with pytest.raises(CheckpointError, match="names the task 'poetry'; expected one of language-model"):
        resume(stopped)


def test_a_run_whose_config_has_a_typo_does_not_go_on(stopped: Path):
    path = stopped / "config.toml"
    path.write_text(path.read_text().replace("\nlearning_rate =", "\nlerning_rate ="))
    with pytest.raises(ConfigError, match=r"config\.toml.*lerning_rate.*did you mean learning_rate\?"):
        resume(stopped)


def test_a_folder_that_cannot_be_made_is_refused(tiny_text: Path):
    with pytest.raises(
        ConfigError, match=r"tiny\.txt/run cannot be written: Not a directory; choose another with --run"
    ):
        train("lm", tiny_text, run=tiny_text / "run", steps=1, **FAST)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\x7fELF\x02\x01\x01\x00\x00\x00"])
def test_a_file_without_text_is_refused_by_name(content: bytes, tmp_path: Path):
    (tmp_path / "odd.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.txt"):
        train("lm", tmp_path / "odd.txt", run=tmp_path / "run", steps=1, **FAST)


def test_no_file_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no data file is given"):
        train("lm", [], run=tmp_path / "run")


def test_a_text_of_one_line_trains(tmp_path: Path):
    (tmp_path / "line.txt").write_text("one line, and no more of it")
    assert train("lm", tmp_path / "line.txt", run=tmp_path / "run", steps=2, **FAST).steps == 2


def test_a_full_disk_before_training_is_a_failed_run(tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LanguageModel, "save_baseline", full)
    with pytest.raises(RunError, match="baseline could not be written: .*No space left"):
        train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST)


def test_a_disk_that_fills_up_with_tokens_leaves_nothing_that_looks_whole(
    tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_header = np.lib.format.write_array_header_1_0

    def full(file: Any, header: dict[str, Any]) -> None:
        if header["shape"] != (0,):  # the tokens are written, their number is not
            raise OSError(errno.ENOSPC, "No space left on device")
        write_header(file, header)

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", full)
        with pytest.raises(RunError, match="run could not be written: .*No space left"):
            train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST)
    with pytest.raises(CheckpointError, match="holds no run"):
        resume(tmp_path / "run")
    assert train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST).steps == 1


def test_a_large_text_keeps_a_limited_part_for_validation(
    tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for module in ("rnnkit.data.documents", "rnnkit.tasks.language_model.task"):
        monkeypatch.setattr(f"{module}.VALID_CHARACTERS", 1000)
    with caplog.at_level(logging.INFO, logger="rnnkit"):
        result = train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST)
    assert "the last 1,000 characters of the text are kept for validation" in caplog.text
    assert isinstance(result.model, LanguageModel)
    assert 1000 <= result.model.load_data(result.run / "tokens" / "valid").size.characters < 1100


def test_pictures_and_a_report_that_cannot_be_written_do_not_hide_what_failed(
    tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    for name in ("training_curves", "training_diagnostics", "write_report"):
        monkeypatch.setattr(launch, name, full)
    with pytest.raises(RunError, match="checkpoints/000000000 could not be written"):
        train("lm", tiny_text, run=tmp_path / "run", steps=1, **FAST)
    for name in ("curves.png", "diagnostics.png", "report.md"):
        assert f"{name} could not be written: [Errno 28] No space left" in caplog.text


# Options


def options_of(path: Path | None = None, **options: Any) -> dict[str, Any]:
    return read_configs(LanguageModel, path, options)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "lm.toml"
    path.write_text('task = "language-model"\nhidden_size = 32\n[training]\nminutes = 3\nclip_norm = 0.5\n')
    return path


def test_given_options_override_the_file_and_the_file_the_defaults(config_file: Path):
    configs = options_of(config_file, hidden_size=16, seed=9)
    assert (configs["model"].hidden_size, configs["model"].embedding_size) == (16, 64)
    assert (configs["training"].minutes, configs["training"].clip_norm, configs["training"].seed) == (3, 0.5, 9)


def test_a_given_budget_replaces_the_one_of_the_file(config_file: Path):
    training = options_of(config_file, steps=7)["training"]
    assert (training.minutes, training.steps) == (None, 7)


@pytest.mark.parametrize("word", [None, "none"])
def test_an_option_can_be_unset(word: str | None, config_file: Path):
    assert options_of(config_file, clip_norm=word)["training"].clip_norm is None
    assert options_of(clip_norm=word)["training"].clip_norm is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hiden_size": 3}, r"hiden_size is not an option; did you mean hidden_size\?"),
        ({"hidden_size": "many"}, 'hidden_size got "many", expected an integer'),
        ({"steps": 1, "minutes": 1.0}, "minutes and steps are both given"),
        ({"learning_rate": float("nan")}, "learning_rate got nan"),
        ({"training": {"steps": 3}}, "training is a section of options"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        options_of(**options)


def test_a_typo_in_the_file_is_named_with_the_file(tmp_path: Path):
    (tmp_path / "lm.toml").write_text("[training]\nlearning_rat = 0.1\n")
    with pytest.raises(ConfigError, match=r"lm\.toml.*learning_rat .*did you mean learning_rate\?"):
        options_of(tmp_path / "lm.toml")


def test_the_config_of_another_task_is_refused(tmp_path: Path):
    (tmp_path / "lm.toml").write_text('task = "tagging"\n')
    with pytest.raises(ConfigError, match=r"lm\.toml is for another task than language-model"):
        options_of(tmp_path / "lm.toml")


# Other processes

SCRIPT = """
import sys, rnnkit
options = dict(hidden_size=8, embedding_size=6, bptt=16, batch_size=4, threads=1, precision="32-true", device="cpu")
result = rnnkit.train("lm", sys.argv[1], run=sys.argv[2], steps=int(sys.argv[3]), validations=int(sys.argv[4]),
                      **options, overwrite=True)
print(result.stopped_by, result.steps)
"""


def begin(text: Path, run: Path, *, steps: int, validations: int) -> subprocess.Popen[str]:
    """Train in another process, and come back when it has validated."""
    command = [sys.executable, "-c", SCRIPT, str(text), str(run), str(steps), str(validations)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (run / "model").is_dir() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_from_outside_ends_cleanly_and_the_run_goes_on(number: int, tiny_text: Path, tmp_path: Path):
    process = begin(tiny_text, tmp_path / "run", steps=2000, validations=200)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    stopped_by, steps = map(int, output.split())
    assert stopped_by == number
    assert 0 < steps < 2000
    assert errors == ""
    assert Run(tmp_path / "run").load_checkpoint()[1]["step"] == steps
    result = resume(tmp_path / "run", callbacks=[StopAt()])
    assert result.steps > steps


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_earlier_checkpoint_and_model(tiny_text: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(RunError, match="could not be written: .*No space left") as caught:
            train("lm", tiny_text, run=disk / "run", steps=40, callbacks=[FillAt(disk)], **FAST)
        assert caught.value.exit_code == 3
        assert Run(disk / "run").load_checkpoint()[1]["step"] >= 4
        assert rnnkit.load(disk / "run").predict(["the"])
        (disk / "ballast").unlink()
        assert resume(disk / "run").steps == 40
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # its files are still mapped


class FillAt(Callback):
    """Fills a disk after the second validation."""

    def __init__(self, disk: Path) -> None:
        self.disk, self.seen = disk, 0

    def on_log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.seen += 1
        if self.seen == 3:
            free = os.statvfs(self.disk).f_bavail * os.statvfs(self.disk).f_bsize
            (self.disk / "ballast").write_bytes(bytes(free))


class LimitAt(Callback):
    """Lets no file grow beyond a size from the third validation on."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.seen += 1
        if self.seen == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


def test_a_limit_on_the_size_of_files_keeps_the_earlier_checkpoint_and_model(
    tiny_text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = tmp_path / "run"
    try:
        with pytest.raises(RunError, match="checkpoints/000000006 could not be written: .*too large"):
            train("lm", tiny_text, run=run, steps=20, callbacks=[LimitAt(2000)], **FAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert "curves.png could not be written" in caplog.text
    assert Run(run).load_checkpoint()[1]["step"] == 4
    assert rnnkit.load(run).predict(["the"])
    assert resume(run).steps == 20


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write from a folder; root, who may always, steps down to nobody."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_run_that_may_only_be_read_is_used_but_not_trained(stopped: Path, tiny_text: Path):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # pytest's own folders are closed to others
        run = shutil.copytree(stopped, Path(place) / "run")
        text = shutil.copy(tiny_text, place)
        with read_only(run):
            refusal = pytest.raises(ConfigError, match="run cannot be written: Permission denied; choose another with")
            with refusal:
                resume(run)
            with refusal:
                train("lm", text, run=run, overwrite=True, steps=1, **FAST)
            model = rnnkit.load(run)
            assert model.predict(["the"])
            assert math.isfinite(model.score(model.load_data(run / "tokens" / "valid"))["nats"])
        assert resume(run).steps == 20


def test_a_full_disk_is_recognised_in_the_words_of_safetensors(tmp_path: Path):
    """Its errors carry no errno: they are recognised by their class."""
    with pytest.raises(RunError, match="x could not be written"), checkpoint.writing(tmp_path / "x"):
        save_file({"a": torch.zeros(3)}, tmp_path / "absent" / "x.safetensors")


LARGE = """
import sys, rnnkit
from rnnkit.baselines import ngram
from rnnkit.data import subwords
ngram.FIT_TOKENS = 100_000  # its counts, at most 1.4 GB, would hide what the text takes
subwords.TRAINING_BYTES = 8_000_000
options = dict(hidden_size=8, embedding_size=6, bptt=16, batch_size=4, threads=1, precision="32-true", device="cpu")
rnnkit.train("lm", sys.argv[1], run=sys.argv[2], steps=2, vocabulary="bpe", vocabulary_size=2000, overwrite=True,
             document_separator=sys.argv[3] or None, **options)
# not getrusage's number, which begins with the most that the process which started this one has held
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("separator", ["", "<|end|>"])
def test_a_hundred_times_the_text_takes_hardly_more_memory(separator: str, tmp_path: Path):
    words = [f"{chr(0x3B1 + number % 24)}{number * 7919 % 100_003}" for number in range(20_000)]
    page = "".join(" ".join(words[start : start + 40]) + (separator or "\n") for start in range(0, len(words), 40))
    peaks = []
    for size in (1_500_000, 150_000_000):
        text = tmp_path / f"{size}.txt"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(page for _ in range(size // len(page.encode())))
        command = [sys.executable, "-c", LARGE, str(text), str(tmp_path / "run"), separator]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 200_000_000  # as one str the text alone is 280 MB, its tokens as int32 400 MB


def test_passes_can_end_a_run_before_its_time_is_over(tiny_text: Path, tmp_path: Path):
    timed = train("lm", tiny_text, run=tmp_path / "timed", minutes=5, max_epochs=1, **FAST)
    counted = train("lm", tiny_text, run=tmp_path / "counted", epochs=1, **FAST)
    assert timed.seconds < 100
    assert timed.steps == counted.steps
    with pytest.raises(ConfigError, match="max_epochs is 0"):
        TrainingConfig(max_epochs=0)
