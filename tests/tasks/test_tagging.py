"""The tagger beyond the contract: offsets, confidences, schemes, causal tags, and what it begins with."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnkit.checkpoint import load, save_model
from rnnkit.data.samples import sample_path
from rnnkit.data.tagged import TaggedSentence, TaggedSentences, read_tagged
from rnnkit.errors import CheckpointError, ConfigError, DataError
from rnnkit.tasks import LanguageModel, Tagging
from rnnkit.tasks.language_model.config import LanguageModelConfig
from rnnkit.tasks.tagging import TaggingConfig
from rnnkit.tasks.tagging.features import FEATURES, WordFeatures, shape, word_features
from rnnkit.tasks.tagging.scoring import tag_metrics
from rnnkit.tasks.tagging.tags import MISSING, TagSet
from rnnkit.training import train

TINY = {"hidden_size": 6, "embedding_size": 5, "character_units": 5, "character_size": 4, "feature_size": 3}
TEXT = "Anna met Bob (U.S.) in New York.\n\n  So did Carl's friend.\n"


def sentences(*lines: str) -> TaggedSentences:
    """Make sentences of "word/TAG word/TAG" lines."""
    made = []
    for number, line in enumerate(lines, start=1):
        words, tags = zip(*(part.rsplit("/", 1) for part in line.split()), strict=True)
        made.append(TaggedSentence(words, tags, "t.conll", number))
    return TaggedSentences(tuple(made))


EXAMPLES = sentences(
    "Anna/B-PER Smith/I-PER met/O Bob/B-PER in/O New/B-LOC York/I-LOC ./O",
    "So/O did/O Carl/B-PER 's/O friend/O Bob/B-PER 's/O ./O",
)


def tagger(examples: TaggedSentences = EXAMPLES, seed: int = 0, start: Any = None, **options: Any) -> Tagging:
    """Draw a tagger whose scores are not all alike."""
    torch.manual_seed(seed)
    task = Tagging.prepare(examples, TaggingConfig(**{**TINY, **options}), start=start)
    if start is None:
        with torch.no_grad():
            for name, parameter in task.network.named_parameters():
                if name.startswith(("chain", "output", "direct")):
                    parameter.normal_(std=0.7)
    task.network.eval()
    return task


# What it answers


@pytest.mark.parametrize("bidirectional", [True, False])
def test_words_and_entities_have_their_places_in_the_text(bidirectional: bool):
    task = tagger(bidirectional=bidirectional)
    (found,) = task.predict([TEXT])
    assert [word.text for word in found.words[:7]] == ["Anna", "met", "Bob", "(", "U.S.", ")", "in"]
    assert [word.text for word in found.words[-5:]] == ["did", "Carl", "'s", "friend", "."]
    for part in (*found.words, *found.entities):
        assert found.text[part.start : part.end] == part.text
        assert 0 <= part.probability <= 1


def test_a_text_without_a_word_has_no_tags():
    assert [(one.text, one.words) for one in tagger().predict(["", " \n "])] == [("", ()), (" \n ", ())]
    assert tagger().predict([]) == []


def test_a_sentence_of_words_keeps_them_as_they_are():
    task = tagger()
    (found,) = task.predict([("New", "York.", "a b")])
    assert found.text == "New York. a b"
    assert [(word.text, word.start, word.end) for word in found.words] == [
        ("New", 0, 3),
        ("York.", 4, 9),
        ("a b", 10, 13),
    ]


def test_confidences_are_sums_over_all_taggings_of_the_sentence():
    task = tagger()
    (found,) = task.predict(["Anna met York"], candidates=4000)
    readings = found.readings
    assert sum(one.probability for one in readings) == pytest.approx(1)
    assert readings[0].tags == tuple(word.tag for word in found.words)
    for place, word in enumerate(found.words):
        share = sum(one.probability for one in readings if one.tags[place] == word.tag)
        assert word.probability <= share + 1e-9  # a tag of the file stands for one or two of the network's
    for entity in found.entities:
        share = sum(one.probability for one in readings if entity in entities_of(found, one.tags, entity.probability))
        assert entity.probability == pytest.approx(share)


def entities_of(found: Any, tags: tuple[str, ...], probability: float) -> list[Any]:
    """Read the entities of some tags as `found` would name them."""
    from rnnkit.data.schemes import read_spans
    from rnnkit.tasks.tagging import Entity

    spans = [(span.label, found.words[span.first].start, found.words[span.end - 1].end) for span in read_spans(tags)]
    return [Entity(label, found.text[start:end], start, end, probability) for label, start, end in spans]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_no_illegal_tags_come_out_of_any_weights(decoder: str, bidirectional: bool):
    for seed in range(5):
        task = tagger(seed=seed, decoder=decoder, bidirectional=bidirectional)
        for one in task.predict(["Anna met Bob in New York", "a", "Bob Bob Bob Bob New New York"]):
            for before, after in itertools.pairwise(("O", *(word.tag for word in one.words))):
                assert not after.startswith("I-") or before[2:] == after[2:], one.words


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("bio", ["B-X", "I-X", "B-X", "O", "B-X"]),
        ("iob1", ["I-X", "I-X", "B-X", "O", "I-X"]),
        ("bioes", ["B-X", "E-X", "S-X", "O", "S-X"]),
        ("bilou", ["B-X", "L-X", "U-X", "O", "U-X"]),
    ],
)
def test_tags_are_written_in_the_scheme_of_the_training_file(scheme: str, expected: list[str]):
    lines = " ".join(f"w{place}/{tag}" for place, tag in enumerate(expected))
    tags, notes = TagSet.learn(sentences(lines).examples, scheme="auto")
    assert (tags.scheme, notes) == (scheme, [])
    assert tags.names == ("O", "B-X", "E-X", "I-X", "S-X")
    numbers = tags.encode(sentences(lines).examples)
    assert [tags.names[number] for number in numbers] == ["B-X", "E-X", "S-X", "O", "S-X"]
    assert tags.write(numbers.tolist()) == expected


def test_parts_of_speech_are_tags_of_their_own():
    task = tagger(sentences("Anna/NOUN met/VERB Bob/NOUN ./PUNCT"))
    (found,) = task.predict(["Anna met."])
    assert found.entities == ()
    assert {word.tag for word in found.words} <= {"NOUN", "VERB", "PUNCT"}
    assert "/" in task.show()[-1]


# A stream


def test_a_stream_gives_the_tags_and_entities_of_predict_a_few_words_later():
    task = tagger(bidirectional=False, lag=1)
    (expected,) = task.predict([TEXT])
    stream = task.stream()
    assert [event.text for event in stream.push("Anna met Bo")] == ["Anna"]
    events = stream.push("b (U.S.)")
    assert [event.text for event in events] == ["met"][: len(events)]
    stream.reset()
    events = [event for letter in TEXT for event in stream.push(letter)] + stream.finish()
    found = [(one.text, one.start, one.end, one.tag) for one in events]
    assert found == [(one.text, one.start, one.end, one.tag) for one in expected.words]
    ended = [(one.entity, one.entity_start, one.end) for one in events if one.entity]
    assert ended == [(one.label, one.start, one.end) for one in expected.entities]


def test_a_bidirectional_model_refuses_to_stream_with_the_reason():
    with pytest.raises(ConfigError, match="needs the whole sentence.*--no-bidirectional"):
        tagger().stream()


# Numbers


def test_metrics_are_those_of_conlleval_counted_by_hand():
    tags, _ = TagSet.learn(EXAMPLES.examples, scheme="auto")
    number = {name: place for place, name in enumerate(tags.names)}
    right = np.array([number[name] for name in ("B-PER", "E-PER", "O", "S-LOC", "S-PER")])
    given = np.array([number[name] for name in ("B-PER", "E-PER", "O", "S-PER", "S-PER")])
    found = tag_metrics(tags, [given], [right], [np.array([False, False, True, True, False])])
    assert found["precision"] == pytest.approx(2 / 3)  # of three found two are right
    assert found["recall"] == pytest.approx(2 / 3)
    assert (found["f1_LOC"], found["f1_PER"]) == (0, pytest.approx(4 / 5))
    assert (found["accuracy"], found["unknown_accuracy"]) == (pytest.approx(4 / 5), 0.5)


def test_tags_that_training_has_not_seen_are_mistakes_and_too_many_are_refused(caplog: pytest.LogCaptureFixture):
    tags, _ = TagSet.learn(EXAMPLES.examples, scheme="auto")
    with pytest.raises(DataError, match=r"t.conll:1: the tag 'S-ORG' is not known.*knows LOC, PER.*--label-column"):
        tags.encode(sentences("Toyota/B-ORG grew/O").examples)
    few = sentences("Toyota/B-ORG " + "grew/O " * 99)
    numbers = tags.encode(few.examples)
    assert numbers.tolist() == [MISSING] + [0] * 99
    assert "counted as mistakes" in caplog.text
    metrics = tag_metrics(tags, [np.zeros(100, dtype=np.int64)], [numbers], [np.zeros(100, dtype=bool)])
    assert metrics["recall"] == 0
    assert metrics["accuracy"] == pytest.approx(0.99)
    task = tagger()
    assert math.isfinite(task.score(task.encode(few))["nats"])


def test_repairs_are_said_with_their_place():
    _, notes = TagSet.learn(sentences("a/B-X b/I-X c/B-Y", "a/O b/I-X c/B-Y d/B-Y").examples, scheme="auto")
    assert "1 of the tags do not fit the scheme bio, the first is I-X of 'b' in the sentence at t.conll:2" in notes[0]


def test_a_scheme_that_the_tags_are_not_of_is_refused():
    with pytest.raises(ConfigError, match="scheme is 'bio', and the tags are NOUN, VERB"):
        TagSet.learn(sentences("a/NOUN b/VERB").examples, scheme="bio")
    tags, _ = TagSet.learn(EXAMPLES.examples, scheme="plain")
    assert tags.scheme is None
    with pytest.raises(DataError, match=r"t.conll: the only tag is 'O'"):
        TagSet.learn(sentences("a/O b/O").examples, scheme="auto")


def test_the_temperature_makes_validation_likeliest_and_leaves_the_tags():
    task = tagger()
    data = task.encode(EXAMPLES)
    before = task.score(data)
    assert task.calibrate(data)
    after = task.score(data)
    assert after["nats"] <= before["nats"] + 1e-6
    assert after["f1"] == before["f1"]
    assert task.quick_score(data) == pytest.approx(after["nats"], abs=0.05)


def test_class_weights_make_rare_tags_more_likely_and_even_ones_change_nothing():
    task = tagger()
    batch = task.encode(EXAMPLES).batch(np.array([0, 1]), device=task.device)
    plain = task.loss(batch).total.item()
    even = replace(task.tags, counts=(1,) * len(task.tags))
    task.config, task.tags = replace(task.config, class_weights="balanced"), even
    assert task.loss(batch).total.item() == pytest.approx(plain)
    shares = []
    for class_weights in (None, "balanced"):
        run = tagger(class_weights=class_weights, word_dropout=0.0, dropout=0.0, input_dropout=0.0)
        run.network.train()
        optimizer = torch.optim.Adam(run.network.parameters(), lr=0.01)
        for _ in range(8):
            optimizer.zero_grad()
            run.loss(run.encode(EXAMPLES).batch(np.array([0, 1]), device=run.device)).total.backward()
            optimizer.step()
        scores = next(iter(run.scored(run.encode(EXAMPLES)))).scores
        shares.append(scores.softmax(2)[..., 0].mean().item())
    assert shares[1] < shares[0]  # less weight on O, the most frequent


# What it sees of a word


def test_features_of_a_word():
    assert [shape(word) for word in ("McDonald's", "B-52", "NATO", "X", "")] == ["XxXx'x", "X-0", "XX", "X", ""]
    assert len(word_features("Running")) == len(FEATURES)
    assert {"word=running", "shape=Xx", "begin3=run", "end4=ning"} <= set(word_features("Running"))
    words = WordFeatures.learn(["Bob", "bob", "1999", "2001"], minimum_count=2, size=None)
    assert (words.words, words.counts) == (("bob", "0000"), (2, 2))
    found = words.encode(["BOB", "x", "1848", "a" * 5000])
    assert found.ids.tolist() == [1, 0, 2, 0]
    assert found.lengths.tolist()[:2] == [5, 3]
    assert found.characters.shape == (4, 32)  # a long word is read at its ends


def test_unknown_words_and_characters_are_read_by_their_form():
    task = tagger()
    one, other = (task.predict([text])[0] for text in ("Zyx met Q.", "☃☃ met Q."))
    assert [word.probability for word in one.words] != [word.probability for word in other.words]


# What it begins with


def language_model() -> LanguageModel:
    torch.manual_seed(5)
    config = LanguageModelConfig(hidden_size=7, embedding_size=4)
    model = LanguageModel.prepare(LanguageModel.read([sample_path("shakespeare")], config), config)
    model.network.eval()
    return model


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_language_model_reads_along_offline_live_and_after_saving(bidirectional: bool, tmp_path: Path):
    start = language_model()
    task = tagger(start=start, bidirectional=bidirectional)
    assert task.network.reader is not None
    save_model(task, tmp_path / "model")
    (expected,) = task.predict([TEXT])
    assert load(tmp_path / "model").predict([TEXT]) == [expected]
    words = ["Anna", "met", "Bob"]
    (said,) = task.network.reader.read([words])
    with torch.inference_mode():
        outputs, _ = start.network.read(torch.tensor([[0, *start.vocabulary.encode("Anna met Bob").tolist()]]))
    assert np.allclose(said, outputs[0, [4, 8, 12]].numpy(), atol=1e-5)
    if not bidirectional:
        stream = task.stream()
        events = [event for letter in TEXT[:20] for event in stream.push(letter)]
        again = task.stream()
        again.restore(stream.state())
        events += again.push(TEXT[20:]) + again.finish()
        found = [one.probability for one in events]
        assert found == pytest.approx([one.probability for one in expected.words], abs=1e-5)


def test_the_language_model_stays_as_it_is_in_training(tmp_path: Path):
    save_model(language_model(), tmp_path / "lm")
    lines = sample_path("entities").read_text().split("\n\n")[:20]
    (tmp_path / "few.conll").write_text("\n\n".join(lines))
    result = train("ner", tmp_path / "few.conll", start=tmp_path / "lm", run=tmp_path / "run", steps=2, **TINY)
    before = language_model().network.stack.state_dict()
    after = result.model.network.reader.stack.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_language_model_of_words_is_refused():
    config = LanguageModelConfig(hidden_size=4, embedding_size=4, vocabulary="word")
    model = LanguageModel.prepare(LanguageModel.read([sample_path("shakespeare")], config), config)
    with pytest.raises(ConfigError, match="tokens of kind 'word'.*--vocabulary character"):
        tagger(start=model)


def test_a_tagger_goes_on_with_new_words_and_tags():
    start = tagger()
    again = tagger(start=start)
    data = [TEXT, "Anna met Bob"]
    assert [one.entities for one in again.predict(data)] == [one.entities for one in start.predict(data)]
    more = sentences("Toyota/B-ORG grew/O in/O Nagoya/B-LOC ./O", "Toyota/B-ORG met/O Bob/B-PER ☃/O")
    grown = Tagging.prepare(more, start.config, start=start)
    assert set(start.words.words) < set(grown.words.words)
    assert grown.tags.types == ("LOC", "ORG", "PER")
    row, before = grown.words.words.index("york") + 1, start.words.words.index("york") + 1
    assert torch.equal(grown.network.front.embedding.weight[row], start.network.front.embedding.weight[before])
    ours, theirs = grown.tags.names.index("B-PER"), start.tags.names.index("B-PER")
    assert torch.equal(grown.network.output.weight[ours], start.network.output.weight[theirs])
    with pytest.raises(ConfigError, match="leave out the options"):
        tagger(start=start, hidden_size=9)


def test_word_vectors_make_more_words_known(tmp_path: Path):
    path = tmp_path / "v.vec"
    path.write_text("3 5\nBob 1 2 3 4 5\nNagoya 5 4 3 2 1\nbob 0 0 0 0 0\n")
    task = tagger(vectors=str(path))
    assert task.words.words[-1] == "nagoya"
    weight = task.network.front.embedding.weight
    assert weight[task.words.words.index("nagoya") + 1].tolist() == [5, 4, 3, 2, 1]
    assert weight[task.words.words.index("bob") + 1].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match=r"v.vec:2: the vector has 5 numbers.*--embedding-size 5"):
        tagger(vectors=str(path), embedding_size=6)


# Options and damage


@pytest.mark.parametrize(
    ("option", "value"),
    [("lag", -1), ("word_dropout", -0.1), ("valid_share", 1.0), ("embedding_size", 0), ("character_units", 0)],
)
def test_options_outside_their_range_are_refused(option: str, value: Any):
    with pytest.raises(ConfigError, match=option):
        TaggingConfig(**{option: value})


def test_direct_scores_need_features():
    with pytest.raises(ConfigError, match="feature_size is 0"):
        TaggingConfig(feature_size=0)
    assert tagger(feature_size=0, direct=False).network.direct is None


@pytest.mark.parametrize("name", ["tags.json", "words.json", "text.json", "temperature.json"])
def test_a_damaged_file_of_a_model_is_named(name: str, tmp_path: Path):
    save_model(tagger(), tmp_path / "model")
    (tmp_path / "model" / name).write_text("{")
    with pytest.raises(CheckpointError, match="copy the model again"):
        load(tmp_path / "model")


@pytest.mark.parametrize("characters", ["rnn", None])
def test_characters_can_be_read_by_layers_or_not_at_all(characters: str | None, tmp_path: Path):
    task = tagger(characters=characters)
    one, together = task.predict(["Anna met"]), task.predict(["Anna met", "Bob " * 9])
    assert [word.tag for word in one[0].words] == [word.tag for word in together[0].words]
    sure = [word.probability for word in one[0].words]
    assert sure == pytest.approx([word.probability for word in together[0].words], abs=1e-5)


def test_the_bundled_sample_is_read_whole():
    found = read_tagged([Tagging.demo_data()])
    assert (len(found), found.bad) == (530, ())
