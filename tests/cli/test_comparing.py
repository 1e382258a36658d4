"""Comparisons on the command line: one JSON object, the table, and exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnnkit.cli import main
from rnnkit.comparing import Trial, comparison
from rnnkit.comparing.trials import Work

COMMAND = ["compare", "lm", "input.txt", "--layers", "gru,rnn", "--seeds", "2", "--run", "runs"]


@pytest.fixture(autouse=True)
def folder(tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a text, and answer trials without training."""
    (tmp_path / "input.txt").write_bytes(tiny_text.read_bytes())
    monkeypatch.chdir(tmp_path)

    def answer(work: Work) -> Trial:
        layer, seed = work.options["layer"], work.options["seed"]
        if layer == "rnn" or work.options["steps"] == 1:
            return Trial(layer, seed, error="it broke")
        return Trial(layer, seed, metrics={"nats": 2 + seed / 100}, parameters=10, hidden_size=4, seconds=3.0)

    monkeypatch.setattr(comparison, "run_trial", answer)
    return tmp_path


def test_a_comparison_is_one_object(capsys: Any):
    assert main([*COMMAND, "--steps", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["metric"], found["folder"], found["seconds"]) == ("language-model", "nats", "runs", 6)
    assert [(one["layer"], one["seed"], one["error"]) for one in found["trials"]] == [
        ("gru", 1, None),
        ("rnn", 1, "it broke"),
        ("gru", 2, None),
        ("rnn", 2, "it broke"),
    ]
    assert found["verdict"].startswith("gru has the lowest nats")


def test_a_comparison_is_a_table_and_a_sentence(capsys: Any):
    assert main([*COMMAND, "--steps", "3"]) == 0
    shown = capsys.readouterr().out
    for words in ("2.015 ± 0.064", "rnn, seed 1, failed: it broke", "gru has the lowest nats", "comparison.png"):
        assert words in shown


def test_a_comparison_of_which_nothing_came_fails(capsys: Any):
    assert main([*COMMAND, "--steps", "1"]) == 3
    assert "Every run failed." in capsys.readouterr().out
