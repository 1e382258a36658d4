"""Recognisers: what training varies, when segments end, what language models say, what is refused."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnnkit
from rnnkit.checkpoint import load_baseline
from rnnkit.data.audio import log_mel
from rnnkit.data.ragged import Ragged
from rnnkit.data.samples import sample_path
from rnnkit.data.vocabulary import build_vocabulary
from rnnkit.decoding.hypotheses import Said
from rnnkit.errors import ConfigError, DataError, StreamError
from rnnkit.tasks import LanguageModel, SpeechRecognition
from rnnkit.tasks.speech import Endpoints, Search
from rnnkit.tasks.speech.config import SpeechConfig
from rnnkit.tasks.speech.data import lay_out, learnable
from rnnkit.tasks.speech.features import Level, mask, vary
from rnnkit.tasks.speech.fusion import NetworkContinuations, NGramContinuations, language_fusion
from rnnkit.tasks.speech.text import words

RATE = 8_000
SMALL: dict[str, Any] = {"threads": 1, "device": "cpu", "precision": "32-true"}
NEVER = Endpoints(float("inf"), float("inf"), float("inf"))


def train(run: Path, **options: Any) -> SpeechRecognition:
    """Train on the sample."""
    model = rnnkit.train("speech", sample_path("digits"), run=run, **SMALL, **options).model
    assert isinstance(model, SpeechRecognition)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechRecognition:
    """A model that knows some digits."""
    options = {"steps": 500, "hidden_size": 48, "filters": 48, "num_layers": 1, "batch_size": 12, "layer": "gru"}
    plain = {"mask_bands": 0, "mask_time": 0.0, "augment_noise": 0.0, "dropout": 0.1, "learning_rate": 0.01}
    plain |= {"augment_join": 0.5, "augment_speed": 0.05}
    return train(tmp_path_factory.mktemp("speech") / "run", **options, **plain, validations=2)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Eight digits, one after the other, some with a second and a half of silence behind them."""
    found = rnnkit.data.recordings.read_recordings([sample_path("digits")]).examples[::5]
    quiet = np.random.default_rng(1).normal(scale=1e-3, size=12_000).astype(np.float32)
    parts = [part for place, one in enumerate(found) for part in (one.samples(RATE), quiet[: 12_000 * (place % 2)])]
    return np.concatenate(parts)


# Streams


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.floats(0, 1), max_size=12),
    beam=st.sampled_from([1, 4]),
    ends=st.sampled_from([NEVER, Endpoints(), Endpoints(0.3, 0.5, 0.9)]),
)
def test_final_texts_depend_on_no_cut_and_survive_a_move(
    model: SpeechRecognition, sound: np.ndarray, cuts: list[float], beam: int, ends: Endpoints
):
    def finals(stream: Any, events: list[Any]) -> list[Any]:
        return [event for event in [*events, *stream.finish()] if event.kind == "final"]

    search = Search(beam=beam)
    whole = model.stream(search=search, endpoints=ends)
    expected = finals(whole, whole.push(sound))
    stream, events = model.stream(search=search, endpoints=ends), []
    for chunk in np.split(sound, sorted(round(cut * len(sound)) for cut in cuts)):
        events += stream.push(chunk)
        moved = model.stream(search=search, endpoints=ends)
        moved.restore(stream.state())
        stream = moved
    found = finals(stream, events)
    assert [(one.text, one.start, one.end, one.reason) for one in found] == [
        (one.text, one.start, one.end, one.reason) for one in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        assert [(one.text, one.start, one.end) for one in ours.words] == [
            (one.text, one.start, one.end) for one in theirs.words
        ]
    if ends is NEVER:
        assert " ".join(one.text for one in found) == model.predict([sound], search=search)[0].text


def test_segments_joined_are_the_text_of_the_whole(model: SpeechRecognition, sound: np.ndarray):
    live = model.stream()
    finals = [event for event in [*live.push(sound), *live.finish()] if event.kind == "final"]
    assert len(finals) > 1
    assert {one.reason for one in finals[:-1]} == {"silence"}
    whole = model.predict([sound])[0].text
    assert "".join(one.text for one in finals).replace(" ", "") == whole.replace(" ", "")
    assert all(first.end <= second.start for first, second in pairwise(finals))


@pytest.mark.parametrize("beam", [1, 4])
def test_what_is_stable_is_not_taken_back(model: SpeechRecognition, sound: np.ndarray, beam: int):
    live, stable, changes = model.stream(search=Search(beam=beam)), "", 0
    for first in range(0, len(sound), 160):
        for event in live.push(sound[first : first + 160]):
            assert event.text.startswith(stable)
            stable = "" if event.kind == "final" else event.text[: event.stable]
            changes += event.kind == "partial"
            if beam == 1 and event.kind == "partial":
                assert stable == event.text
    assert changes > 5


def test_a_long_segment_ends_between_tokens(model: SpeechRecognition, sound: np.ndarray):
    live = model.stream(endpoints=Endpoints(float("inf"), float("inf"), 0.5))
    finals = [event for event in [*live.push(sound), *live.finish()] if event.kind == "final"]
    assert {one.reason for one in finals} <= {"length", "the end"}
    assert all(one.end - one.start >= 0.5 for one in finals[:-1])


def test_silence_has_no_text_and_no_event(model: SpeechRecognition):
    model_events = model.stream(endpoints=Endpoints(empty_seconds=0.5))
    quiet = np.zeros(3 * RATE, dtype=np.float32)
    assert all(event.kind == "partial" or event.text for event in [*model_events.push(quiet), *model_events.finish()])
    assert model.predict([np.empty(0, dtype=np.float32)])[0].words == ()


def test_a_state_of_another_search_is_refused(model: SpeechRecognition):
    with pytest.raises(StreamError, match="of another search"):
        model.stream(search=Search(beam=3)).restore(model.stream().state())


def test_a_finished_stream_takes_no_more_and_a_strange_chunk_is_refused(model: SpeechRecognition):
    live = model.stream()
    with pytest.raises(DataError, match=r"sound of the shape \(2, 3\)"):
        live.push(np.zeros((2, 3)))
    with pytest.raises(DataError, match="a sample that is not finite"):
        live.push([0.0, float("nan")])
    live.finish()
    assert live.finish() == []
    with pytest.raises(StreamError, match="push after finish"):
        live.push([0.0])
    live.reset()
    assert live.push(np.zeros(100)) == []


def test_a_long_recording_is_read_in_pieces_and_says_the_same(
    model: SpeechRecognition, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    (whole,) = model.predict([sound])
    monkeypatch.setattr("rnnkit.tasks.speech.transcribing.LONG_SECONDS", 1.0)
    (pieces,) = model.predict([sound])
    assert pieces.text == whole.text
    assert [(one.text, one.start, one.end) for one in pieces.words] == [
        (one.text, one.start, one.end) for one in whole.words
    ]


def test_a_bidirectional_model_predicts_and_refuses_to_stream(tmp_path: Path, sound: np.ndarray):
    both = train(tmp_path / "run", steps=1, hidden_size=4, filters=4, bidirectional=True)
    assert both.predict([sound, sound[:3000]])
    with pytest.raises(ConfigError, match="bidirectional, so it needs the whole recording"):
        both.stream()


def test_a_transducer_learns_streams_and_predicts_alike(tmp_path: Path, sound: np.ndarray):
    options = {"steps": 60, "hidden_size": 32, "filters": 32, "num_layers": 1, "batch_size": 12, "layer": "gru"}
    said = train(tmp_path / "run", head="transducer", joiner_size=32, learning_rate=0.01, validations=1, **options)
    before = train(tmp_path / "one", head="transducer", joiner_size=32, **{**options, "steps": 1})
    valid = said.load_data(tmp_path / "run" / "tokens" / "valid")
    assert said.score(valid)["nats"] < 0.7 * before.score(valid)["nats"]
    again = rnnkit.load(tmp_path / "run")
    for beam in (1, 3):
        search = Search(beam=beam)
        (whole,) = said.predict([sound], search=search)
        assert again.predict([sound], search=search) == [whole]
        stream, events = said.stream(search=search, endpoints=NEVER), []
        for chunk in np.split(sound, [300, 301, 20_000, 50_000]):
            events += stream.push(chunk)
            moved = said.stream(search=search, endpoints=NEVER)
            moved.restore(stream.state())
            stream = moved
        finals = [one.text for one in [*events, *stream.finish()] if one.kind == "final"]
        assert " ".join(finals) == whole.text


# Sound


def test_a_running_level_is_the_same_in_pieces():
    frames = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    level = Level(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]))
    whole, _ = level.apply(frames, level.begin(), running=True)
    state, parts = level.begin(), []
    for chunk in np.split(frames, [3, 3, 20, 49]):
        placed, state = level.apply(chunk, state, running=True)
        parts.append(placed)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    mean, expected = level.means.copy(), []
    for frame in frames.astype(np.float64):
        mean = mean + (frame - mean) / 300
        expected.append((frame - mean) / level.deviations)
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-6)


def test_a_faster_tone_is_shorter_and_higher():
    times = np.arange(RATE) / RATE
    config = SpeechConfig(augment_gain=0.0, augment_noise=0.0, augment_speed=0.3)
    plain = log_mel(0.3 * np.sin(2 * np.pi * 1000 * times), RATE)
    for seed in range(5):
        speed = np.random.default_rng(seed).uniform(0.7, 1.3)
        found = vary(plain, config, np.random.default_rng(seed), sample_rate=RATE)
        expected = log_mel(0.3 * np.sin(2 * np.pi * 1000 * speed * times[: round(RATE / speed)]), RATE)
        assert abs(len(found) - len(plain) / speed) <= 1
        assert abs(int(found.mean(0).argmax()) - int(expected.mean(0).argmax())) <= 1


def test_noise_adds_energy_and_masks_hide_it():
    frames = np.random.default_rng(1).normal(size=(100, 40)).astype(np.float32)
    noisy = vary(
        frames,
        SpeechConfig(augment_gain=0.0, augment_speed=0.0, augment_noise=0.999),
        np.random.default_rng(2),
        sample_rate=RATE,
    )
    assert (noisy >= frames).all()
    hidden = mask(frames, SpeechConfig(mask_bands=10, mask_time=0.3), np.random.default_rng(3))
    assert 0.05 < (hidden == 0).mean() < 0.7
    assert (hidden[hidden != 0] == frames[hidden != 0]).all()


def test_the_tail_stands_behind_every_recording():
    batch = lay_out([np.ones((5, 2), np.float32), np.ones((3, 2), np.float32)], [np.array([2]), np.array([3, 3])])
    assert batch.lengths.tolist() == [25, 23]
    assert batch.frames.sum((1, 2)).tolist() == [10, 6]
    assert batch.tokens.tolist() == [[2, 0], [3, 3]]


def test_recordings_too_short_for_their_text_are_not_learnt_from():
    tokens = [np.array([2, 2, 2, 2, 2, 2, 2]), np.array([2, 3]), np.array([], dtype=np.int64)]
    found = learnable(
        np.array([4, 4, 90]), Ragged.join(tokens, like=np.empty(0, np.int64)), SpeechConfig(subsampling=2)
    )
    assert found.tolist() == [False, True, False]


def test_they_are_named_and_counted(tmp_path: Path):
    sample = sample_path("digits")
    rows = sample.read_text().splitlines()
    rows = [f"{sample.parent}/{row}" for row in rows[1:]]
    rows[3] = rows[3].split("\t")[0] + "\t" + "a text that nobody can say in half a second, or in a whole one\tx"
    (tmp_path / "list.tsv").write_text("\n".join(["path\ttext\tspeaker", *rows]))
    result = rnnkit.train(
        "speech", tmp_path / "list.tsv", valid=sample, run=tmp_path / "run", steps=1, hidden_size=4, filters=4, **SMALL
    )
    (note,) = [one for one in result.model.notes() if "too short" in one]
    assert note.startswith("1 of 40 recordings are too short for their text")
    assert "list.tsv:5" in note


def test_the_level_and_the_vocabulary_are_those_of_training(model: SpeechRecognition):
    assert model.sample_rate == RATE
    assert model.vocabulary.size == 18  # two special ones, 15 letters, and a space for texts that are joined
    assert "heard at 8,000 samples a second in 40 mel bands" in model.notes()


# Words


def test_words_have_the_times_of_their_tokens():
    vocabulary = build_vocabulary("character", ["ab c"], size=None, minimum_count=1)
    said = [Said(int(token), 10 * place, 10 * place + 3, -0.5) for place, token in enumerate(vocabulary.encode("ab c"))]
    found = words(vocabulary, said, step_seconds=0.02)
    assert [(one.text, one.start, one.end) for one in found] == [("ab", 0.0, 0.28), ("c", 0.6, 0.68)]
    assert found[0].confidence == pytest.approx(np.exp(-0.5))
    assert words(vocabulary, said, step_seconds=0.02, most=0.65)[1].end == 0.65


@pytest.mark.parametrize("kind", ["word", "bpe", "byte"])
def test_words_are_found_in_any_vocabulary(kind: str):
    text = "the cat sat on the mat the cat sat"
    vocabulary = build_vocabulary(kind, [text] * 30, size=None, minimum_count=1)
    said = [Said(int(token), place, place, 0.0) for place, token in enumerate(vocabulary.encode(text))]
    assert [one.text for one in words(vocabulary, said, step_seconds=1.0)] == text.split()


# Language models


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, LanguageModel, Path]:
    """Language models of digits in words: by characters, by words, and the run of the first."""
    folder = tmp_path_factory.mktemp("language")
    generator = np.random.default_rng(1)
    names = [row.split("\t")[1] for row in sample_path("digits").read_text().splitlines()[1:]]
    lines = [" ".join(generator.choice(names, 4)) for _ in range(200)]
    (folder / "text.txt").write_text("\n".join(lines))
    options = {"hidden_size": 16, "embedding_size": 16, "document_separator": "\n", **SMALL}
    made = [
        rnnkit.train("lm", folder / "text.txt", run=folder / kind, steps=60, vocabulary=kind, **options).model
        for kind in ("character", "word")
    ]
    return made[0], made[1], folder / "character"  # type: ignore[return-value]


def nats_of(model: LanguageModel, text: str) -> float:
    """What a language model says of a text and its end, in nats."""
    tokens = torch.tensor([[0, *model.vocabulary.encode(text).tolist()]])
    with torch.inference_mode():
        logits, _ = model.network(tokens)
    rows = logits[0].double().log_softmax(-1)
    wanted = [*tokens[0, 1:].tolist(), 0]
    return -float(rows[torch.arange(len(wanted)), wanted].sum())


@pytest.mark.parametrize("kind", [0, 1])
def test_fusion_adds_what_the_language_model_says_of_the_whole(
    model: SpeechRecognition, language: tuple[LanguageModel, LanguageModel, Path], kind: int
):
    other = language[kind]
    assert isinstance(other, LanguageModel)
    fusion = language_fusion(NetworkContinuations(other), other.vocabulary, model.vocabulary, weight=0.7, bonus=0.25)
    text = "seven one six"
    state, total = fusion.begin(), 0.0
    for token in model.vocabulary.encode(text).tolist():
        total += float(fusion.scores([state])[0, token])
        (state,) = fusion.advance([state], [token])
    judged = len(text) if kind == 0 else len(text.split())
    assert total + float(fusion.ends([state])[0]) == pytest.approx(
        -0.7 * nats_of(other, text) + 0.25 * judged, abs=1e-4
    )


def test_an_ngram_has_its_say(
    model: SpeechRecognition, language: tuple[LanguageModel, LanguageModel, Path], sound: np.ndarray
):
    character, _, run = language
    ngram = load_baseline(character, run)
    continuations = NGramContinuations(ngram)
    history = character.vocabulary.encode("sev").tolist()
    state = continuations.begin()
    for token in history:
        (state,) = continuations.advance([state], [token])
    np.testing.assert_allclose(continuations.log_probabilities([state])[0], np.log(ngram.distribution(history)))
    for search in (Search(8, character), Search(8, character, ngram=ngram), Search(8, language[1], bonus=1.0)):
        assert model.predict([sound], search=search)[0].text


def test_a_hot_word_is_heard_more_often(model: SpeechRecognition, sound: np.ndarray):
    def count(**options: Any) -> int:
        return model.predict([sound], search=Search(beam=8, **options))[0].text.count("nine")

    assert count(hot_words=("nine",), hot_weight=6.0) > count()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "the beam's size is 0"),
        ({"hot_words": ("x",)}, "hot words needs a beam"),
        ({"beam": 2, "hot_weight": -1.0}, "hot_weight is -1.0"),
        ({"beam": 2, "bonus": float("nan")}, "bonus is nan"),
    ],
)
def test_searches_that_cannot_be_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Search(**options)


def test_a_hot_word_of_other_letters_is_refused(model: SpeechRecognition):
    with pytest.raises(ConfigError, match="the hot word 'q9' cannot be spelt"):
        model.stream(search=Search(beam=2, hot_words=("q9",)))


@pytest.mark.parametrize("name", ["silence_seconds", "empty_seconds", "longest_seconds"])
def test_end_points_need_times(name: str):
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        Endpoints(**{name: 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsampling": 5}, "subsampling is 5; expected one of 1, 2, 3, 4, 6, 8"),
        ({"mask_bands": 40}, "mask_bands is 40; expected fewer than the bands, 40"),
        ({"valid_share": 1.0}, "valid_share is 1.0"),
        ({"sample_rate": 100}, "sample_rate is 100"),
        ({"bidirectional": True, "hidden_size": 5}, "hidden_size is 5; expected an even number"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SpeechConfig(**options)


def test_a_damaged_level_is_named(model: SpeechRecognition, tmp_path: Path):
    model.save_assets(tmp_path)
    facts = json.loads((tmp_path / "sound.json").read_text())
    facts["level"]["means"] = [1.0]
    (tmp_path / "sound.json").write_text(json.dumps(facts))
    with pytest.raises(rnnkit.errors.CheckpointError, match="sound.json cannot be read"):
        SpeechRecognition.load_assets(tmp_path, model.config)
