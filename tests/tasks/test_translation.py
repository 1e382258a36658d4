"""Translators: the search says what the network says, whole or step by step, and every pair that is given counts."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnnkit
from rnnkit.data.samples import sample_path
from rnnkit.decoding.beam import Beam, beam_search
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError, DataError
from rnnkit.layers import ATTENTIONS, LAYERS
from rnnkit.tasks import Translator
from rnnkit.tasks.translation import TranslationConfig
from rnnkit.tasks.translation.batches import lay_out, padded
from rnnkit.tasks.translation.network import TranslationNetwork
from rnnkit.tasks.translation.search import NetworkScorer

TINY = {"steps": 3, "hidden_size": 8, "embedding_size": 8, "threads": 1, "device": "cpu", "precision": "32-true"}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Translator]:
    """Train on some of the bundled sentences, once for each set of options."""
    made: dict[str, Any] = {}
    path = tmp_path_factory.mktemp("sentences") / "some.tsv"
    path.write_text("".join(sample_path("sentences").read_text().splitlines(keepends=True)[:300]))

    def get(**options: Any) -> Translator:
        key = repr(sorted(options.items()))
        if key not in made:
            run = tmp_path_factory.mktemp("translator") / "run"
            made[key] = rnnkit.train("translation", path, run=run, **{**TINY, **options}).model
        return made[key]

    return get


def mirrored(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Give numbers as words, and the same backwards in capital letters."""
    generator = np.random.default_rng(seed)
    rows = [[DIGITS[digit] for digit in generator.integers(8, size=generator.integers(2, 7))] for _ in range(count)]
    return [(" ".join(row), " ".join(reversed(row)).upper()) for row in rows]


def write(path: Path, pairs: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    return path


@pytest.mark.parametrize("options", [{}, {"attention": "additive", "input_feeding": True, "layer": "gru"}])
def test_it_learns_to_say_a_sentence_backwards(options: dict[str, Any], tmp_path: Path):
    train = write(tmp_path / "train.tsv", mirrored(2000, seed=1))
    sizes = {"hidden_size": 64, "embedding_size": 32, "vocabulary": "word", "learning_rate": 0.01, "num_layers": 1}
    budget = {"steps": 250, "batch_size": 32, "validations": 2, "header": "absent", "dropout": 0.0}
    result = rnnkit.train("translation", train, run=tmp_path / "run", **{**TINY, **sizes, **budget, **options})
    fresh = mirrored(100, seed=2)
    found = result.model.translate([source for source, _ in fresh])
    assert np.mean([said == target for said, (_, target) in zip(found, fresh, strict=True)]) > 0.9


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_known_translation_is_read_whole_as_word_by_word(layer: str, feeding: bool):
    torch.manual_seed(1)
    config = TranslationConfig(layer=layer, hidden_size=12, embedding_size=10, input_feeding=feeding)
    network = TranslationNetwork(20, 20, config).double().eval()
    begun = network.encode(torch.randint(20, (3, 5)), torch.tensor([5, 2, 4]))
    tokens = torch.randint(20, (3, 6))
    whole, looked, after = network.decode(tokens, begun)
    for step in range(6):
        said, weights, begun = network.decode(tokens[:, step : step + 1], begun)
        assert torch.allclose(said[:, 0], whole[:, step], atol=1e-10)
        assert torch.allclose(weights[:, 0], looked[:, step], atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(begun.state, after.state, strict=True))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("options", [{"bidirectional": False}, {"joint": False, "tied": False}, {"num_layers": 1}])
def test_the_log_probability_of_a_translation_is_that_of_its_tokens(
    attention: str, options: dict[str, Any], translator: Callable[..., Translator]
):
    model = translator(attention=attention, **options)
    source = np.append(0, model.source_vocabulary.encode(" Where is she going?"))
    scorer = NetworkScorer([model.network.eval()])
    begun = scorer.begin(*padded([source, source[:3]]))
    for row, found in enumerate(beam_search(scorer, begun, longest=[12, 12], start=0, end=0)):
        batch = lay_out([source if row == 0 else source[:3]], [np.array([0, *found[0].tokens])])
        with torch.inference_mode():
            assert float(model.loss(batch).total) == pytest.approx(-found[0].log_probability, rel=1e-4)


def test_alternatives_are_ranked_and_differ(translator: Callable[..., Translator]):
    model = translator()
    (found,) = model.predict(["I am here."], candidates=4, beam=Beam(6))
    scores = [one.score for one in found.alternatives]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert (found.text, found.score) == (found.alternatives[0].text, scores[0])


def test_an_ensemble_of_a_model_with_itself_is_the_model(translator: Callable[..., Translator]):
    model, other = translator(), translator(seed=2)
    texts = ["I am here.", "Where is she?"]
    alone = model.predict(texts)
    for one, together in zip(alone, model.predict(texts, others=[model]), strict=True):
        assert together.text == one.text
        assert together.log_probability == pytest.approx(one.log_probability, rel=1e-4)
    mixed = model.predict(texts, others=[other])
    assert [one.log_probability for one in mixed] != [one.log_probability for one in alone]
    with pytest.raises(ConfigError, match="different vocabularies"):
        model.predict(texts, others=[translator(vocabulary_size=300)])


def test_translations_begin_and_hold_what_is_asked(translator: Callable[..., Translator]):
    model = translator()
    (found,) = model.predict(["I am here."], prefix="Je suis")
    assert found.text.startswith("Je suis")
    (found,) = model.predict(["I am here."], terms=["demain", "chez moi"])
    assert "demain" in found.text
    assert "chez moi" in found.text
    with pytest.raises(ConfigError, match="are for a search"):
        model.predict(["x"], prefix="Je", sampling=Sampling())


def test_drawn_translations_repeat_by_their_seed_whatever_is_beside_them(translator: Callable[..., Translator]):
    model = translator()
    texts = ["I am here.", "Where is she going tonight?", "No."]
    drawn = model.predict(texts, sampling=Sampling(), seed=5)
    assert model.predict(texts, sampling=Sampling(), seed=5) == drawn
    assert model.predict(texts[2:], sampling=Sampling(), seed=7)[0].text == drawn[2].text
    assert model.predict(texts, sampling=Sampling(), seed=6) != drawn


def test_an_unknown_word_is_taken_over_from_where_was_looked(tmp_path: Path):
    pairs = [(f"my name is {name}", f"je m'appelle {name}") for name in ("Ada", "Bob", "Cy", "Dee", "Eve")] * 60
    path = write(tmp_path / "a.tsv", pairs + [(f"my name is N{n}", f"je m'appelle N{n}") for n in range(300)])
    options = {
        "vocabulary": "word",
        "minimum_count": 3,
        "hidden_size": 48,
        "embedding_size": 32,
        "steps": 200,
        "embedding_dropout": 0.0,
    }
    options |= {"learning_rate": 0.01, "header": "absent", "num_layers": 1, "validations": 2, "dropout": 0.0}
    options |= {"embedding_dropout": 0.0}
    model = rnnkit.train("translation", path, run=tmp_path / "run", **{**TINY, **options}).model
    (found,) = model.predict(["my name is Zebulon"])
    assert found.text == "je m'appelle Zebulon"
    assert found.unknown == 1


def test_scheduled_sampling_and_dropped_merges_train(translator: Callable[..., Translator]):
    model = translator(scheduled_sampling=0.3, subword_dropout=0.2)
    assert np.isfinite(model.predict(["I am here."])[0].score)


def test_attention_sums_to_one_over_the_tokens_of_the_source(translator: Callable[..., Translator]):
    (short, long) = translator().predict(["No.", "Where is she going tonight, and why?"], align=True)
    for one in (short, long):
        assert one.alignment is not None
        weights = np.array(one.alignment.weights)
        assert weights.shape == (len(one.alignment.target), len(one.alignment.source))
        assert np.allclose(weights.sum(1), 1, atol=1e-5)


def test_pairs_too_long_or_too_unlike_are_left_out_and_counted(tmp_path: Path):
    pairs = [(f"word {n}", f"mot {n}") for n in range(50)] + [("a " * 300, "b " * 300), ("a", "b " * 60)]
    result = rnnkit.train("translation", write(tmp_path / "a.tsv", pairs), run=tmp_path / "run", **TINY)
    assert any("2 of" in note and "not learnt from" in note for note in result.model.notes())


def test_a_line_of_5000_words_is_translated(translator: Callable[..., Translator]):
    model = translator()
    (found,) = model.predict(["word " * 5000], beam=Beam(1))
    assert np.isfinite(found.log_probability)
    assert found.tokens > 1000


def test_a_long_text_is_translated_sentence_by_sentence(translator: Callable[..., Translator]):
    model = translator(max_length=16)
    parts = ["I am here now.", "Where is she?", "No, she is not here."]
    (together,), apart = model.predict([" ".join(parts * 4)], beam=Beam(2)), model.predict(parts, beam=Beam(2))
    assert together.log_probability == pytest.approx(4 * sum(one.log_probability for one in apart), rel=1e-4)


def test_file_standard_input_and_python_give_the_same(translator: Callable[..., Translator], tmp_path: Path):
    model = translator()
    rnnkit.checkpoint.save_model(model, tmp_path / "model")
    texts = ["I am here.", "", "Where is she?"]
    (tmp_path / "in.en").write_text("\n".join(texts) + "\n")
    expected = [one.text for one in model.predict(texts)]
    command = [sys.executable, "-m", "rnnkit", "predict", str(tmp_path / "model"), "--threads", "1"]
    subprocess.run([*command, "--file", str(tmp_path / "in.en"), "--output", str(tmp_path / "out.fr")], check=True)
    assert (tmp_path / "out.fr").read_text().split("\n") == [*expected, ""]
    piped = subprocess.run(
        [*command, "-", "--json"], input="\n".join(texts), check=True, capture_output=True, text=True
    ).stdout
    assert [json.loads(line)["text"] for line in piped.splitlines()] == expected


def test_what_does_not_fit_is_refused(translator: Callable[..., Translator]):
    with pytest.raises(ConfigError, match="hidden_size is 7; expected an even number"):
        TranslationConfig(hidden_size=7)
    with pytest.raises(ConfigError, match="subword_dropout is 1"):
        TranslationConfig(subword_dropout=1.0)
    with pytest.raises(ConfigError, match="valid_share is 0"):
        TranslationConfig(valid_share=0.0)
    with pytest.raises(ConfigError, match="needs the whole sentence"):
        translator().stream()
    with pytest.raises(ConfigError, match="DotAttention got query_size=2 and memory_size=4"):
        translator(attention="dot", layer="lstm", projection_size=2, bidirectional=True, hidden_size=8)
    with pytest.raises(DataError, match="none.en"):
        Translator.read(["none.en", "none.de"], TranslationConfig())
