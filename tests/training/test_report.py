"""The report says what the run's files and results say, however the run ended."""

import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from rnnkit.checkpoint import Run, load
from rnnkit.errors import RunError
from rnnkit.tasks import LanguageModel
from rnnkit.training import Callback, Trainer, TrainResult, report, resume, train

FAST: dict[str, Any] = {"hidden_size": 8, "embedding_size": 6, "bptt": 16, "batch_size": 4}
FAST |= {"precision": "32-true"}


class StopAt(Callback):
    """Interrupts a run at a validation."""

    def __init__(self, validation: int) -> None:
        self.left = validation

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def finished(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Train to the end on a file whose name needs quoting."""
    folder = tmp_path_factory.mktemp("a folder")
    text = folder / "my text.txt"
    text.write_text(tiny_text.read_text())
    return train("lm", text, run=folder / "run", steps=6, validations=3, **FAST)


def report_of(run: Path) -> str:
    return (run / "report.md").read_text()


def tables(text: str) -> list[list[list[str]]]:
    """Read the Markdown tables: rows of cells, without the line of dashes."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[line.strip("| ").split(" | ") for line in table.splitlines()] for table in found]
    return [[table[0], *table[2:]] for table in rows]


def test_metrics_stand_beside_those_of_the_baseline(finished: TrainResult):
    table = {row[0]: row[1:] for row in tables(report_of(finished.run))[0]}
    baseline = finished.baselines["n-gram"]
    assert table["nats a token"] == [f"{finished.metrics['nats']:.4f}", f"{baseline['nats']:.4f}"]
    assert len(table) == 1 + len(finished.metrics)


def test_the_best_validation_is_that_of_the_log(finished: TrainResult):
    records = [record for record in Run(finished.run).records() if record["kind"] == "validation"]
    best = min(records, key=lambda record: record["nats"])
    expected = f"The best of 3 validations gave {best['nats']:.4f} nats a token, as estimated in training: at step "
    assert f"{expected}{best['step']}," in report_of(finished.run)


def test_sizes_are_those_of_the_data(finished: TrainResult):
    table = {row[0]: row[1:] for row in tables(report_of(finished.run))[1]}
    for column, part in enumerate(("train", "valid")):
        size = json.loads((finished.run / "tokens" / part / "size.json").read_text())
        for name in ("documents", "characters", "bytes", "words"):
            assert table[name][column] == f"{size[name]:,}"
    parameters = sum(p.numel() for p in load(finished.run).network.parameters())
    assert f"of {parameters:,} parameters" in report_of(finished.run)


def test_only_options_that_differ_from_their_defaults_are_listed(finished: TrainResult):
    rows = {row[1]: row for row in tables(report_of(finished.run))[2][1:]}
    given = {*FAST, "steps", "validations"}
    assert rows.keys() == {f"`{name}`" for name in given}
    assert rows["`steps`"] == ["training", "`steps`", "`6`", "unset"]


def test_the_command_that_repeats_the_run_ends_in_the_same_model(finished: TrainResult):
    from rnnkit.cli import main

    (command,) = re.findall(r"^rnnkit train .*$", report_of(finished.run), re.MULTILINE)
    assert main([*shlex.split(command)[1:], "--quiet"]) == 0
    again = finished.run.with_name("run-again")
    weights = [folder / "model" / "weights.safetensors" for folder in (finished.run, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_that_went_on_from_a_model_says_from_which(finished: TrainResult, tiny_text: Path, tmp_path: Path):
    run = train("lm", tiny_text, run=tmp_path / "run", start=finished.run, steps=2, batch_size=4).run
    assert f"- went on from: `{finished.run}`" in report_of(run)
    (command,) = re.findall(r"^rnnkit train .*$", report_of(run), re.MULTILINE)
    words = shlex.split(command)
    assert words[words.index("--from") + 1] == str(finished.run)


def test_the_pictures_of_a_report_are_there(finished: TrainResult):
    names = re.findall(r"!\[.+?\]\((.+?)\)", report_of(finished.run))
    assert names == ["curves.png", "diagnostics.png"]
    assert all((finished.run / name).is_file() for name in names)


def test_an_interrupted_run_says_so_and_a_resumed_one_says_it_is_finished(tiny_text: Path, tmp_path: Path):
    stopped = train("lm", tiny_text, run=tmp_path / "run", steps=40, callbacks=[StopAt(2)], **FAST)
    assert "**interrupted** by SIGTERM at 20% of its budget; `rnnkit train --resume" in report_of(stopped.run)
    assert "8 steps" in report_of(stopped.run)
    resume(stopped.run)
    assert "40 steps. It is finished." in report_of(stopped.run)
    assert "**interrupted**" not in report_of(stopped.run)


def test_a_failed_run_says_what_ended_it(tiny_text: Path, tmp_path: Path):
    with pytest.raises(RunError) as caught:
        train("lm", tiny_text, run=tmp_path / "run", steps=50, learning_rate=1e30, clip_norm="none", **FAST)
    text = report_of(tmp_path / "run")
    assert f"**The run failed**: {caught.value}" in text
    assert "The model was not scored" in text
    assert tables(text)[0][0][-1] == "n-gram"


def test_a_run_by_time_does_not_promise_the_same_bits(tiny_text: Path, tmp_path: Path):
    text = report_of(train("lm", tiny_text, run=tmp_path / "run", minutes=0.002, **FAST).run)
    assert "| budget | 0.1 seconds |" in text
    assert "same bits" not in text


def test_update_ratio_and_memory_are_told_where_they_were_logged(tiny_text: Path, tmp_path: Path, monkeypatch: Any):
    run = train("lm", tiny_text, run=tmp_path / "run", steps=40, callbacks=[StopAt(1)], **FAST).run
    log = Run(run).log
    log.write_text("".join(json.dumps({**record, "memory_mb": 12345.6}) + "\n" for record in Run(run).records()))
    monkeypatch.setattr(Run, "cut_log", lambda *_, **__: None)
    resume(run)
    assert "| most memory of the log | 12,346 MB |" in report_of(run)


def test_what_was_noticed_in_the_files_is_in_the_report(finished: TrainResult):
    assert isinstance(finished.model, LanguageModel)
    assert all(f"- {note}" in report_of(finished.run) for note in finished.model.notes())


TIMES = {0.04: "0.0 seconds", 119.9: "119.9 seconds", 180: "3.0 minutes", 7199: "120.0 minutes"}
TIMES |= {7200: "2 h 0 min", 10799: "3 h 0 min"}


@pytest.mark.parametrize(("seconds", "words"), TIMES.items())
def test_a_time_is_said_as_a_person_says_it(seconds: float, words: str):
    assert report._duration(seconds) == words


def test_a_bar_inside_a_cell_does_not_end_it():
    assert report._table(("a", "b"), [("x", "`|`")]).splitlines()[-1] == r"| x | `\|` |"


def test_a_failed_write_keeps_the_earlier_report(tiny_text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = train("lm", tiny_text, run=tmp_path / "run", steps=40, callbacks=[StopAt(1)], **FAST).run
    before = report_of(run)
    (run / ".report.md.part").mkdir()
    assert resume(run).steps == 40
    assert "report.md could not be written: " in caplog.text
    assert report_of(run) == before
