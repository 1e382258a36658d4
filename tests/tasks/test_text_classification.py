"""Classifying texts: from files to answers, several labels, other beginnings, long texts."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnnkit
from rnnkit.errors import CheckpointError, ConfigError, DataError
from rnnkit.tasks import TextClassification
from rnnkit.tasks.text_classification import TextClassificationConfig, TextLabel
from rnnkit.tasks.text_classification.text import normalise
from rnnkit.training import TrainResult, train

GOOD, BAD = ("joy", "fine", "great", "love"), ("awful", "dull", "poor", "hate")
FAST: dict[str, Any] = {"hidden_size": 16, "embedding_size": 16, "learning_rate": 0.02, "threads": 1}
FAST |= {"precision": "32-true", "minimum_count": 1, "batch_size": 8}


def sentences(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Make texts whose label is told by one word in them."""
    generator = np.random.default_rng(seed)
    filler = ["the", "film", "was", "a", "so", "plot", "and", "it"]
    found = []
    for number in range(count):
        words = list(generator.choice(filler, size=generator.integers(2, 9)))
        words.insert(generator.integers(len(words) + 1), generator.choice(GOOD if number % 2 else BAD))
        found.append((" ".join(words), "good" if number % 2 else "bad"))
    return found


def write(folder: Path, rows: Sequence[tuple[str, str]], name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("made")
    return train("sentiment", write(folder, sentences(300)), run=folder / "run", epochs=6, **FAST)


def model_of(result: TrainResult) -> TextClassification:
    assert isinstance(result.model, TextClassification)
    return result.model


def test_it_learns_which_word_tells_the_label(trained: TrainResult):
    model, unseen = model_of(trained), sentences(100, seed=5)
    found = model.predict([text for text, _ in unseen])
    assert np.mean([one.label == label for one, (_, label) in zip(found, unseen, strict=True)]) > 0.97
    assert trained.metrics["accuracy"] > 0.97


def test_the_running_answer_turns_where_the_word_is_read(trained: TrainResult):
    (result,) = model_of(trained).predict(["it was awful"])
    assert [event.token for event in result.running] == ["it", "was", "awful"]
    assert result.running[-1].label == result.label == "bad"
    assert result.running[-1].probability == pytest.approx(result.probability, rel=1e-5)
    assert result.probability > max(0.8, *(event.probability for event in result.running[:2]))


def test_probabilities_are_listed_from_the_likeliest_and_sum_to_one(trained: TrainResult):
    (result,) = model_of(trained).predict(["a plot"])
    assert sum(one.probability for one in result.candidates) == pytest.approx(1)
    assert result.candidates[0].probability >= result.candidates[1].probability
    assert len(model_of(trained).predict(["a plot"], candidates=1)[0].candidates) == 1


def test_a_model_in_training_answers_without_dropout(trained: TrainResult):
    model = model_of(trained)
    expected = model.predict(["it was a fine plot"])
    model.network.train()
    assert model.predict(["it was a fine plot"]) == expected


def test_an_empty_text_has_an_answer(trained: TrainResult):
    (result,) = model_of(trained).predict([""])
    assert result.running == ()
    assert 0.5 <= result.probability < 1


def test_unknown_words_are_counted(trained: TrainResult):
    assert model_of(trained).predict(["a zebra was here"])[0].unknown == 2


def test_the_order_of_many_texts_is_kept(trained: TrainResult):
    model, texts = model_of(trained), ["the " * length + "joy" for length in (9, 1, 30, 2, 400, 3)]
    assert [one.text for one in model.predict(texts)] == texts


def test_a_long_text_is_read_whole_and_as_the_stream_reads_it(trained: TrainResult):
    model, text = model_of(trained), "the film " * 6000 + "awful"
    (result,) = model.predict([text])
    stream = model.stream()
    events = [*stream.push(text), *stream.finish()]
    assert len(result.running) == 12_001
    assert result.label == "bad"
    assert events[-1].probability == pytest.approx(result.probability, rel=1e-4)
    assert model.predict([text], running=False)[0].probability == pytest.approx(result.probability, rel=1e-4)


def test_capital_letters_are_read_as_small_ones_in_any_chunks():
    config = TextClassificationConfig()
    text = "ÀÉ ΟΔΟΣ Straße İx"
    assert "".join(normalise(character, config) for character in text) == normalise(text, config)
    assert normalise(text, TextClassificationConfig(lowercase=False)) == text


def test_a_bidirectional_model_answers_but_cannot_stream(tmp_path: Path):
    data = write(tmp_path, sentences(60))
    model = train("sentiment", data, run=tmp_path / "run", steps=20, bidirectional=True, **FAST).model
    (result,) = model.predict(["a great film"])
    assert isinstance(result, TextLabel)
    assert result.running == ()
    with pytest.raises(ConfigError, match="bidirectional model needs the whole text"):
        model.stream()


def test_a_text_may_have_any_number_of_labels(tmp_path: Path):
    rows = []
    for number in range(240):
        labels = [name for bit, name in enumerate(("x", "y", "z")) if number >> bit & 1]
        words = " ".join(["filler", *(f"word{name}" for name in labels), "end", str(number)])
        rows.append({"text": words, "labels": labels})
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train("sentiment", path, run=tmp_path / "run", epochs=12, **FAST)
    model = model_of(result)
    assert result.metrics.keys() == {"nats", "accuracy", "micro_f1", "macro_f1", "ece"}
    assert result.metrics["micro_f1"] > 0.95
    found = model.predict(["wordx filler wordz", "filler end", "wordy"])
    assert [set(one.labels) for one in found] == [{"x", "z"}, set(), {"y"}]
    assert not (result.run / "confusion.png").exists()
    assert rnnkit.load(result.run).predict(["wordx wordz"]) == model.predict(["wordx wordz"])


def test_balanced_weights_find_a_rare_label(tmp_path: Path):
    rows = [row for row in sentences(600) if row[1] == "bad"] + [
        row for row in sentences(40, seed=3) if row[1] == "good"
    ]
    found = {}
    for weights in (None, "balanced"):
        result = train(
            "sentiment",
            write(tmp_path, rows),
            run=tmp_path / str(weights),
            steps=30,
            class_weights=weights,
            **FAST | {"learning_rate": 0.003},
        )
        probabilities = model_of(result).predict(["a great film"], candidates=2)[0].candidates
        found[weights] = {one.label: one.probability for one in probabilities}["good"]
    assert found["balanced"] > found[None]


@pytest.mark.parametrize("kind", ["character", "byte", "bpe", "unigram"])
def test_other_tokens_than_words_are_learnt_and_streamed(tmp_path: Path, kind: str):
    options = {**FAST, "vocabulary": kind, "minimum_count": None, "steps": 4}
    model = model_of(train("sentiment", write(tmp_path, sentences(80)), run=tmp_path / "run", **options))
    (result,) = model.predict(["It was a fine film."])
    stream = model.stream()
    events = [event for character in "It was a fine film." for event in stream.push(character)] + stream.finish()
    assert [event.token for event in events] == [event.token for event in result.running]
    assert events[-1].probability == pytest.approx(result.probability, rel=1e-5)


@pytest.mark.parametrize("options", [{"focal_gamma": 2.0}, {"label_smoothing": 0.1}, {"pooling": "attention"}])
def test_other_losses_and_poolings_learn_too(tmp_path: Path, options: dict[str, Any]):
    data = write(tmp_path, sentences(300))
    result = train("sentiment", data, run=tmp_path / "run", epochs=6, **FAST, **options)
    assert result.metrics["accuracy"] > 0.9


def test_longer_texts_are_cut_in_training_alone(tmp_path: Path):
    config = TextClassificationConfig(max_length=4, minimum_count=1)
    examples = TextClassification.read([write(tmp_path, sentences(40))], config)
    task = TextClassification.prepare(examples, config)
    data = task.encode(examples)
    batches = task.batches(data, batch_size=8, seed=0)
    assert max(batches.next_chunk().inputs.shape[1] for _ in range(5)) == 4
    assert data.steps.lengths.max() > 5


# What training goes on from


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("lm")
    text = folder / "text.txt"
    text.write_text("\n".join(words for words, _ in sentences(400, seed=9)))
    sizes = {"vocabulary": "word", "hidden_size": 16, "embedding_size": 12, "bptt": 16, "threads": 1}
    return train("language-model", text, run=folder / "run", steps=30, **sizes)


def test_it_goes_on_from_a_language_model(language_model: TrainResult, tmp_path: Path):
    data = write(tmp_path, [(f"{text} newword newword", label) for text, label in sentences(40)])
    before = language_model.model
    options = {"steps": 1, "learning_rate": 1e-9, "precision": "32-true", "threads": 1}
    model = train("sentiment", data, run=tmp_path / "run", start=language_model.run, **options).model
    assert isinstance(model, TextClassification)
    assert (model.config.hidden_size, model.config.embedding_size, model.config.lowercase) == (16, 12, False)
    theirs = before.network.stack.state_dict()
    assert all(
        torch.allclose(theirs[name], value, atol=1e-6) for name, value in model.network.stack.state_dict().items()
    )
    known = before.vocabulary.size
    assert torch.allclose(model.token_vectors()[:known], before.token_vectors(), atol=1e-6)
    assert model.vocabulary.size == known + 1
    assert torch.allclose(model.token_vectors()[known], before.token_vectors()[2:].mean(0), atol=1e-6)


def test_it_goes_on_from_a_classifier_with_the_labels_both_know(trained: TrainResult, tmp_path: Path):
    rows = [(text, {"good": "good", "bad": "other"}[label]) for text, label in sentences(40)]
    options = {"steps": 1, "learning_rate": 1e-9, "precision": "32-true", "threads": 1}
    model = train("sentiment", write(tmp_path, rows), run=tmp_path / "run", start=trained.run, **options).model
    ours, theirs = model.network.output.weight, trained.model.network.output.weight
    assert torch.allclose(ours[0], theirs[1], atol=1e-6)  # good
    assert not torch.allclose(ours[1], theirs[0], atol=1e-3)


def test_other_sizes_than_those_of_the_start_are_refused(language_model: TrainResult, tmp_path: Path):
    data = write(tmp_path, sentences(40))
    for option in ({"hidden_size": 8}, {"embedding_size": 8}, {"vocabulary": "character"}):
        with pytest.raises(ConfigError, match="the model to go on from"):
            train("sentiment", data, run=tmp_path / "run", start=language_model.run, steps=1, **option)


def test_a_language_model_does_not_go_on_from_a_classifier(trained: TrainResult, tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("some words\n" * 20)
    with pytest.raises(ConfigError, match="is a text-classification model; expected a language-model"):
        train("language-model", text, run=tmp_path / "run", start=trained.run, steps=1)


# Word vectors


def vectors_file(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / "words.vec"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("head", [[], ["3 2"]])
def test_word_vectors_begin_where_a_file_says(tmp_path: Path, head: list[str], caplog: pytest.LogCaptureFixture):
    logging.getLogger("rnnkit").propagate = True
    path = vectors_file(tmp_path, [*head, "film 1 2", "great -3 0.5", "zebra 0 0"])
    config = TextClassificationConfig(vectors=str(path), embedding_size=2, minimum_count=1)
    with caplog.at_level(logging.INFO, logger="rnnkit"):
        task = TextClassification.prepare(TextClassification.read([write(tmp_path, sentences(60))], config), config)
    ids = task.vocabulary.encode("film great").tolist()
    assert task.token_vectors()[ids].tolist() == [[1, 2], [-3, 0.5]]
    assert "vectors for 2 of" in caplog.text


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["film 1 2 3"], ConfigError, r"words\.vec:1: the vector has 3 numbers.*--embedding-size 3"),
        (["film 1 x"], DataError, r"words\.vec:1: .*expected 2 numbers"),
        (["a 1 2", "film nan 2"], DataError, r"words\.vec:2: the vector of 'film' is not finite"),
        (["lonely"], DataError, r"words\.vec:1: this is 'lonely'"),
        (["zebra 1 2"], DataError, "a vector for none of the"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(tmp_path: Path, lines: list[str], error: type, message: str):
    config = TextClassificationConfig(vectors=str(vectors_file(tmp_path, lines)), embedding_size=2)
    examples = TextClassification.read([write(tmp_path, sentences(60))], config)
    with pytest.raises(error, match=message):
        TextClassification.prepare(examples, config)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "sum"}, "pooling"),
        ({"focal_gamma": -1.0}, "focal_gamma is -1.0"),
        ({"delimiter": ";;"}, "delimiter is ';;'"),
        ({"valid_share": 1.0}, "valid_share is 1.0"),
        ({"vectors": "x.vec", "vocabulary": "bpe"}, "vocabulary is 'bpe'"),
        ({"max_length": 0}, "max_length is 0"),
        ({"layer": "lstmm"}, "layer is 'lstmm'"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        train("sentiment", write(tmp_path, sentences(20)), run=tmp_path / "run", steps=1, **options)


def test_a_label_unseen_in_training_is_refused_with_its_line(trained: TrainResult, tmp_path: Path):
    path = write(tmp_path, [("a fine film", "good"), ("a film", "splendid")])
    model = model_of(trained)
    with pytest.raises(DataError, match=r"data\.csv:3: the label is 'splendid'; the model knows bad, good"):
        model.encode(model.read([path], model.config))


def test_validation_data_that_does_not_fit_loses_no_earlier_run(tmp_path: Path):
    run = tmp_path / "run"
    train("sentiment", write(tmp_path, sentences(40)), run=run, steps=1, **FAST)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    bad = write(tmp_path, [("a film", "splendid")], "bad.csv")
    with pytest.raises(DataError, match=r"bad\.csv:2: the label is 'splendid'"):
        train("sentiment", write(tmp_path, sentences(40)), valid=bad, run=run, overwrite=True, steps=1, **FAST)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_two_texts_are_too_few_to_split(tmp_path: Path):
    with pytest.raises(DataError, match="2 texts are too few"):
        train("sentiment", write(tmp_path, [("a", "x"), ("b", "y")]), run=tmp_path / "run", steps=1)


@pytest.mark.parametrize("name", ["labels.json", "decision.json", "text.json"])
def test_a_damaged_model_is_refused_naming_the_file(trained: TrainResult, tmp_path: Path, name: str):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (trained.run / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).write_text("not JSON")
    with pytest.raises(CheckpointError, match=name):
        rnnkit.load(folder)
