"""Labelled texts and series on the command line: inspect, train, evaluate, predict, stream, and what is refused."""

import io
import json
from pathlib import Path

import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.data.samples import sample_path
from rnnkit.data.series import read_series

SMALL = ["--hidden-size", "8", "--embedding-size", "8", "--quiet", "--precision", "32-true"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "sentiment", str(sample_path("reviews")), "--run", str(folder), "--steps", "40", *SMALL]) == 0
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{text} number {n},{label}" for n in range(12) for text, label in (("fine film", "good"), ("dull", "bad"))]
    Path("data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return tmp_path


def refused(capsys, *words):
    """Run a command that must be refused; return its one message."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("rnnkit: ")]
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_training_says_what_it_found_and_reports_beside_the_baseline(place, capsys):
    assert main(["train", "sentiment", "data.csv", "--steps", "2", "--hidden-size", "8", "--embedding-size", "8"]) == 0
    captured = capsys.readouterr()
    assert "comma-separated, with a header; text from column 'text', label from column 'label'" in captured.err
    assert "10% of each label's texts, 2 in all, are kept for validation" in captured.err
    assert "texts/s" in captured.err
    assert "TF-IDF + logistic regression" in captured.out
    assert "nats a text" in captured.out
    report = Path("runs/data/report.md").read_text()
    assert "![which label was taken for which](confusion.png)" in report
    assert Path("runs/data/confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "texts a second" in report


def test_the_defaults_of_training_are_the_tasks_own(capsys):
    for task, rate in (("sentiment", "0.003"), ("language-model", "0.006")):
        assert main(["config", task]) == 0
        assert f"learning_rate = {rate}\n" in capsys.readouterr().out


def test_evaluate_measures_and_draws_into_the_run(trained, tmp_path, capsys):
    assert main(["evaluate", str(trained), str(sample_path("reviews")), "--json"]) == 0
    (report,) = lines_of(capsys)
    assert report["metrics"].keys() == {"nats", "accuracy", "macro_f1", "ece"}
    assert report["baselines"]["TF-IDF + logistic regression"]["accuracy"] > 0.9  # it has seen nearly all of them
    (picture,) = map(Path, report["pictures"])
    assert picture == trained / "evaluations" / "reviews" / "confusion.png"
    assert picture.is_file()
    assert main(["evaluate", str(trained)]) == 0
    assert "drawn: " in capsys.readouterr().out


def test_a_text_is_answered_with_the_running_score(trained, capsys):
    assert main(["predict", str(trained), "A slow start, then pure joy.", "--json"]) == 0
    (found,) = lines_of(capsys)
    (expected,) = rnnkit.load(trained).predict(["A slow start, then pure joy."])
    known = [event["token"] for event in found["running"] if event["token"] != "<unk>"]
    assert known == [word for word in ["a", "slow", "start", ",", "then", "pure", "joy", "."] if word in known]
    assert len(found["running"]) == 8
    assert found["label"] == expected.label
    assert found["probability"] == pytest.approx(expected.probability)
    assert main(["predict", str(trained), "A slow start, then pure joy."]) == 0
    shown = capsys.readouterr().out
    assert "the answer after each token" in shown
    assert f"answer: {expected.label}" in shown
    assert f"{expected.unknown} of its tokens are not in the vocabulary" in shown


@pytest.mark.parametrize("name", ["texts.csv", "texts.txt", "texts.jsonl", "-"])
def test_a_file_and_standard_input_are_answered_alike(trained, place, name, capsys, monkeypatch):
    texts = ["An awful film.", "Great, just great!"]
    Path("texts.csv").write_text('id,text\n1,"An awful film."\n2,"Great, just great!"\n')
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts) + "\n"))
    assert main(["predict", str(trained), name, "--json"]) == 0
    found = lines_of(capsys)
    expected = rnnkit.load(trained).predict(texts, running=False)
    assert [(one["text"], one["label"]) for one in found] == [(one.text, one.label) for one in expected]
    assert [one["probability"] for one in found] == pytest.approx([one.probability for one in expected], rel=1e-5)
    assert [one["running"] for one in found] == [[], []]


def test_a_file_is_shown_as_a_table(trained, place, capsys):
    assert main(["predict", str(trained), "data.csv"]) == 0
    shown = capsys.readouterr().out
    assert "texts: 24" in shown
    assert "dull number 3" in shown


def test_a_stream_says_the_score_so_far_and_ends_where_predict_does(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Not good,\nnot at all."))
    assert main(["stream", str(trained), "--json"]) == 0
    events = lines_of(capsys)
    (expected,) = rnnkit.load(trained).predict(["Not good,\nnot at all."])
    assert [event["token"] for event in events] == [event.token for event in expected.running]
    assert events[-1]["probability"] == pytest.approx(expected.probability, rel=1e-5)


def test_with_lines_a_stream_begins_anew_with_each(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("great\ngreat\n"))
    assert main(["stream", str(trained), "--lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]


def test_inspect_names_what_is_wrong(place, capsys):
    with Path("data.csv").open("a") as file:
        file.write("fine film number 0,bad\n,good\n")
    Path("valid.csv").write_text("text,label\ndull number 3,bad\nnew,good\n")
    assert main(["inspect", "sentiment", "data.csv", "--valid", "valid.csv", "--json"]) == 0
    (found,) = lines_of(capsys)
    assert found["sizes"] == {"training": 25, "validation": 2}
    assert found["conflicts"] == [["fine film number 0", ["good at data.csv:2", "bad at data.csv:26"]]]
    assert found["leaks"] == [["valid.csv:2", "data.csv:9"]]
    assert found["bad"] == [["data.csv:27", "the text is empty"]]
    assert main(["inspect", "sentiment", "data.csv"]) == 0
    assert "The same with different labels" in capsys.readouterr().out


# Series


@pytest.fixture(scope="module")
def strokes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strokes") / "run"
    words = ["train", "gesture", str(sample_path("strokes")), "--run", str(folder), "--steps", "40", "--filters", "8"]
    assert main([*words, "--hidden-size", "16", "--learning-rate", "0.02", "--quiet", "--precision", "32-true"]) == 0
    return folder


def test_series_are_evaluated_with_two_pictures(strokes, capsys):
    assert main(["evaluate", str(strokes), str(sample_path("strokes")), "--json"]) == 0
    (report,) = lines_of(capsys)
    assert report["metrics"].keys() >= {"accuracy", "accuracy_25", "accuracy_over_shares", "early_accuracy"}
    assert report["baselines"]["1-NN"]["accuracy"] > 0.9
    assert [Path(path).name for path in report["pictures"]] == ["confusion.png", "earliness.png"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in report["pictures"])
    assert "earliness.png" in (strokes / "report.md").read_text()


def test_series_of_a_file_are_answered_with_the_early_decision(strokes, capsys):
    assert main(["predict", str(strokes), str(sample_path("strokes")), "--early"]) == 0
    shown = capsys.readouterr().out
    assert "series: 160" in shown
    assert "safe after" in shown
    assert main(["predict", str(strokes), str(sample_path("strokes")), "--json"]) == 0
    found = lines_of(capsys)
    expected = rnnkit.load(strokes).predict([one.values for one in read_series([sample_path("strokes")]).examples])
    assert [(one["label"], one["early_step"]) for one in found] == [(one.label, one.early_step) for one in expected]


def test_a_series_can_be_typed(strokes, capsys):
    assert main(["predict", str(strokes), "[[1, 2, 0], [3, 4, 10], [5, 6, 20]]", "--json"]) == 0
    (found,) = lines_of(capsys)
    assert (found["steps"], len(found["running"])) == (3, 3)


def test_every_series_of_a_stream_fires_once(strokes, capsys, monkeypatch):
    lines = sample_path("strokes").read_text().splitlines(keepends=True)[:3]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(lines)))
    assert main(["stream", str(strokes), "--lines", "--json"]) == 0
    events = lines_of(capsys)
    assert sum(event["fired"] for event in events) == 3
    points = json.loads(lines[0])["xyt"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{point}\n" for point in points) + "\n"))
    assert main(["stream", str(strokes)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert sum("=>" in line for line in shown) >= 1


def test_series_are_inspected(place, capsys):
    Path("s.jsonl").write_text('{"label": "a", "v": [1, null]}\n{"label": "b", "v": [3]}\n{"label": "b", "v": [3]}\n')
    assert main(["inspect", "gesture", "s.jsonl", "--json"]) == 0
    (found,) = lines_of(capsys)
    assert found["copied"] == [["s.jsonl:3", "s.jsonl:2"]]
    assert "channel 1: 1 to 3, mean 2.333, 25.0% missing" in found["notes"]


# What is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "sentiment", "data.csv", "--text-column", "review"], "text_column is 'review'"),
        (["train", "sentiment", "data.csv", "--pooling", "sum"], "sum"),
        (["train", "sentiment", "missing.csv"], "missing.csv"),
        (["train", "sentiment", "data.csv", "--from", "nowhere"], "nowhere: there is no such folder"),
        (["inspect", "sentiment", "data.csv", "--label-column", "9"], "label_column is '9'"),
        (["train", "gesture", "data.csv"], "data.csv: no column tells the series apart"),
        (["train", "gesture", str(sample_path("strokes")), "--augment-crop", "0.6"], "augment_crop is 0.6"),
    ],
)
def test_what_does_not_fit_the_file_is_refused(place, capsys, words, said):
    assert said in refused(capsys, *words)
    assert not Path("runs").exists()


def test_verbs_of_language_models_are_refused_for_others(trained, capsys):
    assert "generate needs a language-model" in refused(capsys, "generate", trained)
    assert "--cache, --dynamic and --ngram are for a language-model" in refused(capsys, "evaluate", trained, "--cache")


def test_a_line_of_a_stream_that_is_no_point_is_refused_with_its_number(strokes, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2, 3]\n[1, 2]\n"))
    assert "expected points of 3 numbers" in refused(capsys, "stream", strokes)
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2, 3]\nnonsense\n"))
    assert "standard input, line 2: this is no JSON" in refused(capsys, "stream", strokes)


def test_empty_standard_input_is_refused(trained, strokes, capsys, monkeypatch):
    for model in (trained, strokes):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
        assert "standard input is empty" in refused(capsys, "predict", model, "-")


def test_a_series_that_is_neither_file_nor_points_is_refused(strokes, capsys):
    assert "for no file has this name: this is no JSON" in refused(capsys, "predict", strokes, "missing.jsonl")


def test_early_decisions_of_texts_are_refused(trained, capsys):
    assert "--early is for models of series" in refused(capsys, "predict", trained, "text", "--early")


def test_a_label_unknown_to_the_model_is_refused_with_its_line(trained, place, capsys):
    assert "data.csv:2: the label is 'good'; the model knows 0, 1" in refused(capsys, "evaluate", trained, "data.csv")


def test_streaming_with_a_bidirectional_model_is_refused_with_the_reason(place, capsys):
    words = ["train", "sentiment", "data.csv", "--steps", "1", "--bidirectional", "--run", "both", *SMALL]
    assert main(words) == 0
    assert "bidirectional model needs the whole text" in refused(capsys, "stream", "both")
