"""Diagnoses on the command line: what is printed, drawn and refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.training import trainer


@pytest.fixture(scope="module")
def run(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {"hidden_size": 8, "embedding_size": 8, "steps": 2, "threads": 1, "device": "cpu", "precision": "32-true"}
    folder = tmp_path_factory.mktemp("diagnosed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "LOG_SECONDS", 0.0)  # so that every update is measured
        rnnkit.train("lm", tiny_text, run=folder, **small)
    return folder


def test_a_diagnosis_is_one_object_and_two_pictures(run: Path, capsys: Any):
    assert main(["diagnose", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["gradients"]["stack"]["norms"]) > 50
    assert found["advice"]
    assert {gate["name"] for gate in found["layers"][0]["gates"]} == {"input gate", "forget gate", "output gate"}
    assert [Path(path).name for path in found["pictures"]] == ["gradients.png", "layers.png"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in found["pictures"])


def test_any_text_can_be_looked_at(run: Path, tmp_path: Path, capsys: Any):
    text = r"pay $5 (10% off) or $6 \alpha"  # what matplotlib would read as a formula
    assert main(["diagnose", str(run), "--text", text, "--output", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["steps"]) == len(text)
    assert all(Path(path).parent == tmp_path for path in found["pictures"])


def test_the_demonstration_is_one_object(tmp_path: Path, capsys: Any):
    command = ["diagnose", "--demo", "--layers", "rnn,mingru", "--length", "4", "--steps", "2", "--json"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["problem"], one["layer"]) for one in found["problems"]] == [
        (problem, layer) for problem in ("adding", "copying") for layer in ("rnn", "mingru")
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no model is named; expected a run's folder, or --demo"),
        (["--demo", "--text", "some"], "--demo needs no model and no text"),
        (["--demo", "--layers", "gruu"], "gruu"),
        (["RUN", "--layers", "gru"], "--layers is for --demo"),
        (["RUN", "input.txt", "--text", "some"], "--text and files are both given"),
        (["RUN", "missing.txt"], "missing.txt"),
        (["nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str, run: Path, capsys: Any):
    assert main(["diagnose", *(str(run) if word == "RUN" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
