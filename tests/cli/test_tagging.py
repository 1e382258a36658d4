"""Tagged sentences on the command line: inspect, train, evaluate, predict, stream, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.data.samples import sample_path

SMALL = ["--hidden-size", "8", "--embedding-size", "8", "--character-units", "8", "--quiet", "--precision", "32-true"]
TEXT = "Anna Smith left Toyota, it's said.\nSo she did.\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train a model that reads both ways, and one that streams."""
    folder = tmp_path_factory.mktemp("trained")
    sentences = sample_path("entities").read_text().split("\n\n")
    (folder / "few.conll").write_text("\n\n".join(sentences[:60]))
    runs = {}
    for name, options in (("both", []), ("live", ["--no-bidirectional", "--lag", "1"])):
        runs[name] = folder / name
        words = ["train", "ner", str(folder / "few.conll"), "--run", str(runs[name]), "--steps", "12", *SMALL, *options]
        assert main(words) == 0
    return runs


def refused(capsys: Any, *words: Any) -> str:
    """Run a command that must be refused; return its one message."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("rnnkit: ")]
    assert len(lines) == 1, captured.err
    return lines[0]


def lines_of(capsys: Any) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_evaluate_measures_whole_entities_and_draws(trained: dict[str, Path], capsys: Any):
    data = trained["both"].parent / "few.conll"
    assert main(["evaluate", str(trained["both"]), str(data), "--json"]) == 0
    (report,) = lines_of(capsys)
    assert {"nats", "f1", "precision", "recall", "f1_PER", "accuracy", "ece"} <= report["metrics"].keys()
    assert 0.5 < report["baselines"]["most frequent tag"]["f1"] < 1
    (picture,) = map(Path, report["pictures"])
    assert picture == trained["both"] / "evaluations" / "few" / "confusion.png"
    assert main(["evaluate", str(trained["both"])]) == 0
    assert "F1 of PER" in capsys.readouterr().out


def test_a_text_is_tagged_with_places_and_other_readings(trained: dict[str, Path], capsys: Any):
    line = TEXT.split("\n", maxsplit=1)[0]
    assert main(["predict", str(trained["both"]), line, "--json", "--candidates", "3"]) == 0
    (found,) = lines_of(capsys)
    (expected,) = rnnkit.load(trained["both"]).predict([line], candidates=3)
    assert [word["tag"] for word in found["words"]] == [word.tag for word in expected.words]
    assert [line[word["start"] : word["end"]] for word in found["words"]] == [word["text"] for word in found["words"]]
    assert len(found["readings"]) == 3
    assert main(["predict", str(trained["both"]), line]) == 0
    shown = capsys.readouterr().out
    assert f"words: {len(expected.words)}" in shown
    assert "Toyota" in shown


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl", "-"])
def test_a_file_and_standard_input_are_tagged_alike(
    trained: dict[str, Path], tmp_path: Path, name: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    texts = TEXT.splitlines()
    Path("t.txt").write_text(TEXT)
    Path("t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert main(["predict", str(trained["both"]), name, "--json"]) == 0
    found = lines_of(capsys)
    expected = rnnkit.load(trained["both"]).predict(texts)
    assert [one["text"] for one in found] == texts
    assert [[word["tag"] for word in one["words"]] for one in found] == [
        [word.tag for word in one.words] for one in expected
    ]
    assert [one["readings"] for one in found] == [[], []]


def test_a_file_of_words_is_shown_with_its_entities_in_brackets(trained: dict[str, Path], capsys: Any):
    assert main(["predict", str(trained["both"]), str(trained["both"].parent / "few.conll")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 60
    found = rnnkit.load(trained["both"]).predict([shown[0].split()])
    assert bool(found[0].entities) == (" | " in shown[0])


def test_a_stream_says_each_tag_and_ends_where_predict_does(
    trained: dict[str, Path], capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert main(["stream", str(trained["live"]), "--json"]) == 0
    events = lines_of(capsys)
    (expected,) = rnnkit.load(trained["live"]).predict([TEXT])
    assert [(one["text"], one["start"], one["tag"]) for one in events] == [
        (word.text, word.start, word.tag) for word in expected.words
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert main(["stream", str(trained["live"])]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(f"Anna\t{expected.words[0].tag}\t")


def test_a_model_that_reads_both_ways_refuses_to_stream(trained: dict[str, Path], capsys: Any):
    assert "--no-bidirectional" in refused(capsys, "stream", trained["both"])


def test_inspect_says_scheme_entities_and_what_splits_share(trained: dict[str, Path], capsys: Any):
    data = str(trained["both"].parent / "few.conll")
    assert main(["inspect", "ner", data, "--valid", data]) == 0
    shown = capsys.readouterr().out
    assert "tags: scheme bio" in shown
    assert "In validation and in training: 60" in shown
    assert main(["inspect", "ner", data, "--json"]) == 0
    (report,) = lines_of(capsys)
    assert report["task"] == "tagging"
    assert set(report["labels"]) <= {"PER", "LOC", "ORG", "MISC"}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("Anna\nran\n", [], "bad.conll:1: this is 'Anna'; expected a word and its tag a line"),
        ("Anna O\nran O\n\nSo O\n\n", [], "bad.conll: the only tag is 'O'"),
        ("Anna B-PER\nran O\n", [], "1 sentences are too few to keep some for validation"),
        ("Anna B-PER\nran O\n\nSo O\n", ["--label-column", "3"], "label_column is '3'"),
        ("Anna NN\nran VB\n\nSo RB\n", ["--scheme", "bio"], "scheme is 'bio', and the tags are NN"),
        ("Anna B-PER\nran O\n\nSo O\n", ["--lag", "-1"], "lag is -1"),
        ("Anna B-PER\nran O\n\nSo O\n", ["--vectors", "no.vec"], "no.vec: there is no such file"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_message(
    tmp_path: Path, capsys: Any, content: str, options: list[str], message: str
):
    (tmp_path / "bad.conll").write_text(content)
    run = tmp_path / "run"
    assert message in refused(capsys, "train", "ner", tmp_path / "bad.conll", "--run", run, "--steps", 1, *options)
    assert not {path.name for path in run.glob("*")} - {"lock"}  # the folder is still free
