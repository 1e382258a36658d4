"""Translations on the command line: files of them, pictures of the attention, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.data.samples import sample_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translations")
    pairs = folder / "pairs.tsv"
    pairs.write_text("\n".join(sample_path("sentences").read_text().splitlines()[:60]))
    small = {"hidden_size": 8, "embedding_size": 8, "threads": 1, "device": "cpu", "precision": "32-true"}
    rnnkit.train("translate", pairs, run=folder / "run", steps=1, vocabulary="word", **small)
    return folder / "run"


def test_a_file_is_translated_line_by_line_into_a_file(run: Path, tmp_path: Path, capsys: Any):
    (tmp_path / "some.en").write_text("He is my brother.\n\nWhere are you going?\n")
    words = ["predict", str(run), "--file", str(tmp_path / "some.en"), "--beam", "2"]
    assert main([*words, "--json"]) == 0
    said = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert main([*words, "--output", str(tmp_path / "some.fr")]) == 0
    assert (tmp_path / "some.fr").read_text().splitlines() == said
    assert said[1] == ""


def test_the_attention_is_drawn(run: Path, tmp_path: Path):
    assert main(["predict", str(run), "He is here.", "--alignment", str(tmp_path / "a.png"), "--quiet"]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "nowhere/a.fr"], "--output is nowhere/a.fr, but there is no folder nowhere"),
        (["--alignment", "nowhere/a.png"], "--alignment is nowhere/a.png, but there is no folder nowhere"),
        (["--beam", "0"], "the beam's size is 0; expected 1 or more"),
        (["--length-penalty", "-1"], "the beam's length_penalty is -1.0; expected 0 or more"),
    ],
)
def test_what_cannot_be_done_is_said_before_it_is_tried(words: list[str], message: str, run: Path, capsys: Any):
    assert main(["predict", str(run), "He is here.", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out
