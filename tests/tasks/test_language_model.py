"""The language model's numbers against loops written out here, and everything it can be asked to do."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.checkpoint import load, save_model
from rnnkit.data.batching import Lanes
from rnnkit.data.readers import Corpus, Document
from rnnkit.decoding.search import Sampling
from rnnkit.errors import CheckpointError, ConfigError
from rnnkit.layers import LAYERS
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig, scoring
from rnnkit.tasks.language_model.corpus import TokenCorpus

DOCUMENT, UNKNOWN = 0, 1
TEXT = "the cat sat on the mat. the dog sat on the log!\n" * 6
TEXTS = ("a first document", "b", "and a third one, longer than the others are", "the end")
TINY = {"hidden_size": 6, "embedding_size": 5, "dropout": 0.0, "bptt": 8}


def corpus(*texts: str) -> Corpus:
    return Corpus(tuple(Document(text, "made up") for text in texts), ())


def make(*texts: str, **options: Any) -> LanguageModel:
    """Prepare a small untrained model whose predictions are far from even."""
    torch.manual_seed(3)
    model = LanguageModel.prepare(corpus(*(texts or (TEXT,))), LanguageModelConfig(**{**TINY, **options}))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(2).add_(0.1 * torch.randn_like(parameter))
    model.network.eval()
    return model


def naive_nats(model: LanguageModel, texts: tuple[str, ...]) -> list[float]:
    """Score token by token in float64, a document after the other: the definition."""
    network = model.network.double()
    nats = []
    for number, text in enumerate(texts):
        boundary = [DOCUMENT] if number + 1 < len(texts) else []
        state, previous = None, DOCUMENT
        for token in [*model.vocabulary.encode(text).tolist(), *boundary]:
            with torch.no_grad():
                logits, state = network(torch.tensor([[previous]]), state)
            nats.append(-float(logits[0, 0].log_softmax(-1)[token]))
            previous = token
    model.network.float()
    return nats


def train_briefly(model: LanguageModel, data: TokenCorpus, steps: int = 3) -> list[float]:
    """Make a few plain updates; return the mean losses."""
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.1)
    batches, carry, losses = model.batches(data, batch_size=2, seed=0), None, []
    model.network.train()
    for _ in range(steps):
        loss = model.loss(batches.next_chunk(), carry, label_smoothing=0.0)
        carry = loss.carry
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
        losses.append(float(loss.total.detach()) / loss.count)
    model.network.eval()
    return losses


# Scoring


@pytest.mark.parametrize(
    ("longest", "logits", "rows"), [(2048, 4_000_000, 16), (1, 4_000_000, 16), (5, 100, 3), (7, 1, 1)]
)
def test_scores_equal_a_float64_loop_whatever_the_chunks(
    longest: int, logits: int, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scoring, "LONGEST_CHUNK", longest)
    monkeypatch.setattr(scoring, "MOST_LOGITS", logits)
    monkeypatch.setattr(scoring, "ROWS", rows)
    model = make(*TEXTS)
    found = scoring.score_tokens(model.network, model.encode(corpus(*TEXTS)).stream)
    assert found == pytest.approx(naive_nats(model, TEXTS), rel=1e-5, abs=1e-5)  # float32 against float64


def test_every_boundary_between_documents_is_a_target_and_the_last_end_is_not():
    model = make(*TEXTS)
    found = scoring.score_tokens(model.network, model.encode(corpus(*TEXTS)).stream)
    assert len(found) == sum(map(len, TEXTS)) + len(TEXTS) - 1


def test_metrics_divide_the_total_by_what_their_names_say():
    model = make("añb b\n", "añ")
    texts = ("añb ñ b", "bb")  # 9 characters and 1 boundary; 11 bytes; 4 words
    total = sum(naive_nats(model, texts))
    metrics = model.score(model.encode(corpus(*texts)))
    expected = {
        "nats": total / 10,
        "nats_per_character": total / 9,
        "perplexity": math.exp(total / 10),
        "word_perplexity": math.exp(total / 4),
        "bits_per_character": total / 9 / math.log(2),
        "bits_per_byte": total / 11 / math.log(2),
        "unknown_share": 0.0,
    }
    assert metrics == pytest.approx(expected, rel=1e-5)


def test_unknown_tokens_are_counted_as_a_share():
    model = make("ab")
    assert model.score(model.encode(corpus("abxaby☃z")))["unknown_share"] == 4 / 8


def test_the_score_of_one_document_is_the_sum_of_its_predicted_tokens():
    model = make()
    text = "the dog sat on the cat.\n"
    [result] = model.predict([text])
    metrics = model.score(model.encode(corpus(text)))
    assert result.nats == pytest.approx(sum(naive_nats(model, (text,))), rel=1e-5)
    assert metrics["nats"] * len(text) == pytest.approx(result.nats, rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(result.perplexity, rel=1e-6)
    assert metrics["bits_per_character"] == pytest.approx(result.bits_per_character, rel=1e-6)


def test_predict_lists_probabilities_that_are_those_of_the_network():
    model = make()
    [result] = model.predict(["the c"], candidates=4)
    ids = torch.tensor([[DOCUMENT, *model.vocabulary.encode("the c").tolist()]])
    with torch.no_grad():
        probabilities = model.network.double()(ids)[0][0, -1].softmax(-1)
    values, best = probabilities.topk(4)
    assert [candidate.token for candidate in result.next] == [model.vocabulary.piece(i) for i in best.tolist()]
    assert [candidate.probability for candidate in result.next] == pytest.approx(values.tolist(), rel=1e-5)
    assert result.tokens[0].probability == pytest.approx(math.exp(-result.tokens[0].nats))


def test_an_empty_text_and_a_broken_surrogate_have_a_score():
    model = make()
    empty, broken = model.predict(["", "a\ud800"])
    assert (empty.tokens, empty.nats, len(empty.next)) == ((), 0.0, 10)
    assert broken.unknown == 1


# Training loss


def test_state_is_reset_between_documents_so_that_the_loss_is_that_of_separate_rows():
    model = make(*TEXTS)
    data = model.encode(corpus(*TEXTS))
    batches, carry, total, count = Lanes(data.stream, batch=1, time=8, seed=0), None, 0.0, 0
    while batches.epoch == 0:
        loss = model.loss(batches.next_chunk(), carry, label_smoothing=0.0)
        total, count, carry = total + float(loss.total.detach()), count + loss.count, loss.carry
    assert count == data.stream.targets
    assert total == pytest.approx(sum(naive_nats(model, TEXTS)), rel=1e-5)


def test_the_state_is_carried_over_chunks_without_its_gradient():
    model = make()
    batches = model.batches(model.encode(corpus(TEXT)), batch_size=2, seed=0)
    first = model.loss(batches.next_chunk(), None, label_smoothing=0.0)
    assert first.carry is not None
    assert not any(part.requires_grad for part in first.carry)
    chunk = batches.next_chunk()
    carried = float(model.loss(chunk, first.carry, label_smoothing=0.0).total.detach())
    forgotten = float(model.loss(chunk, None, label_smoothing=0.0).total.detach())
    assert carried != pytest.approx(forgotten, rel=1e-4)


# Writing


def write(model: LanguageModel, prompt: str = "the ", **options: Any) -> list[str]:
    """Join the pieces of each sample."""
    texts: dict[int, str] = {}
    for row, piece in model.write(prompt, **options):
        texts[row] = texts.get(row, "") + piece
    return [texts.get(row, "") for row in range(options.get("samples", 1))]


def test_a_seed_repeats_a_text_and_another_does_not():
    model = make()
    assert model.generate("the ", seed=5, max_tokens=40) == model.generate("the ", seed=5, max_tokens=40)
    assert model.generate("the ", seed=5, max_tokens=40) != model.generate("the ", seed=6, max_tokens=40)
    assert model.generate("the ", max_tokens=40) != model.generate("the ", max_tokens=40)


def test_sample_i_of_several_is_what_its_seed_gives_alone():
    model = make()
    together = write(model, samples=4, seed=7, max_tokens=25)
    assert together == [model.generate("the ", seed=7 + i, max_tokens=25) for i in range(4)]


def test_temperature_zero_takes_the_likeliest_token_each_time():
    model = make()
    ids, expected = [DOCUMENT, *model.vocabulary.encode("the ").tolist()], []
    for _ in range(20):
        with torch.no_grad():
            logits = model.network(torch.tensor([ids]))[0][0, -1]
        logits[[DOCUMENT, UNKNOWN]] = -math.inf
        ids.append(int(logits.argmax()))
        expected.append(ids[-1])
    assert model.generate("the ", temperature=0, max_tokens=20) == model.vocabulary.decode(expected)


@given(stop=st.lists(st.text("the catsondgml.!\n", min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=30)
def test_a_stop_string_ends_a_text_and_is_not_part_of_it(stop: list[str]):
    model = make()
    whole = model.generate("the ", seed=2, max_tokens=60)
    ends = sorted((whole.find(one) + len(one), whole.find(one)) for one in stop if one in whole)
    expected = whole[: ends[0][1]] if ends else whole
    assert model.generate("the ", seed=2, max_tokens=60, stop=stop) == expected


def favour(model: LanguageModel, token: int) -> LanguageModel:
    """Make one token by far the likeliest everywhere."""
    assert model.network.output_bias is not None
    with torch.no_grad():
        model.network.output_bias[token] += 30
    return model


def test_the_unknown_token_is_never_written():
    model = favour(make(), UNKNOWN)
    assert "\ufffd" not in model.generate("the ", seed=1, max_tokens=100)
    assert len(model.generate("the ", seed=1, max_tokens=100)) == 100


def test_a_document_ends_a_text_if_the_model_has_learnt_from_several():
    assert favour(make(*TEXTS), DOCUMENT).generate("a", seed=1) == ""
    assert len(favour(make(TEXT), DOCUMENT).generate("a", seed=1, max_tokens=50)) == 50


def test_samples_that_end_early_leave_the_others_writing():
    model = make(*TEXTS)
    assert model.network.output_bias is not None
    with torch.no_grad():
        model.network.output_bias[DOCUMENT] += 2
    lengths = {len(text) for text in write(model, samples=8, seed=1, max_tokens=60)}
    assert len(lengths) > 2
    assert write(model, samples=8, seed=1, max_tokens=60)[5] == model.generate("the ", seed=6, max_tokens=60)


def test_an_empty_prompt_begins_a_document():
    model = make()
    with torch.no_grad():
        logits = model.network(torch.tensor([[DOCUMENT]]))[0][0, -1]
    logits[[DOCUMENT, UNKNOWN]] = -math.inf
    assert model.generate(temperature=0, max_tokens=1) == model.vocabulary.decode([int(logits.argmax())])


def test_unknown_characters_of_a_prompt_are_named_once_each():
    assert make().unknown_in("the ☃ and the Ω ☃") == ["☃", "Ω"]
    assert make(vocabulary="byte").unknown_in("☃") == []
    assert make(vocabulary="word").unknown_in("the unicorn sat") == ["unicorn"]
    assert len(make().generate("☃", seed=1, max_tokens=10)) == 10


@pytest.mark.parametrize("option", [{"samples": 0}, {"max_tokens": -3}])
def test_a_count_below_one_is_refused(option: dict[str, int]):
    [(name, value)] = option.items()
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        list(make().write("a", **option))


def test_sampling_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"top_p got 1\.5"):
        make().generate("a", top_p=1.5)


def test_each_token_costs_one_step_however_long_the_text():
    model, steps = make(), []
    model.network.stack.register_forward_pre_hook(lambda _, inputs: steps.append(inputs[0].shape[1]))
    model.generate("the cat ", max_tokens=30, seed=1)
    assert steps == [8, *[1] * 30]  # DOCUMENT and all but the last of the prompt at once, then a step a token


def test_a_pause_between_pieces_leaves_the_callers_gradients_on():
    pieces = make().write("the ", max_tokens=20, seed=1)
    next(pieces)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_writing_leaves_the_callers_random_numbers_alone():
    model, before = make(), torch.get_rng_state()
    model.generate("the ", max_tokens=5)
    assert torch.equal(torch.get_rng_state(), before)


# Options


OPTIONS: list[dict[str, Any]] = [
    *({"vocabulary": kind, "vocabulary_size": size} for kind, size in
      [("character", None), ("character", 12), ("byte", None), ("word", None), ("bpe", 300), ("unigram", 300)]),
    *({"layer": layer} for layer in LAYERS),
    {"tied": False},
    {"tied": True, "hidden_size": 5},
    {"zoneout": 0.3},
    {"weight_dropout": 0.3},
    {"variational_dropout": 0.3},
    {"dropout": 0.3, "input_dropout": 0.2, "embedding_dropout": 0.2},
    {"projection_size": 3},
    {"residual": True, "norm": "layer", "num_layers": 2, "embedding_size": 6},
    {"norm": "rms", "num_layers": 3, "tied": False},
    {"learn_initial_state": True},
    {"checkpoint_every": 3},
    {"initialization": "uniform", "forget_bias": 2.0},
    {"minimum_count": 7},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()))
def test_every_option_trains_and_round_trips(options: dict[str, Any], tmp_path: Path):
    config = LanguageModelConfig(**{**TINY, **options})
    model = LanguageModel.prepare(corpus(TEXT), config)
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    losses = train_briefly(model, model.encode(corpus(TEXT)))
    assert all(map(math.isfinite, losses))
    same = [name for name, tensor in model.network.state_dict().items() if torch.equal(tensor, before[name])]
    assert not same, "a parameter does not learn"
    save_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert isinstance(again, LanguageModel)
    assert again.config == config
    assert again.predict(["the dog sat"]) == model.predict(["the dog sat"])
    assert again.generate("the ", seed=1, max_tokens=10) == model.generate("the ", seed=1, max_tokens=10)


@pytest.mark.parametrize("options", [{"layer": "gru"}, {"num_layers": 2, "norm": "rms"}, {"projection_size": 3}])
def test_scores_of_other_networks_equal_the_float64_loop(options: dict[str, Any]):
    model = make(*TEXTS, **options)
    found = scoring.score_tokens(model.network, model.encode(corpus(*TEXTS)).stream)
    assert found == pytest.approx(naive_nats(model, TEXTS), rel=1e-5, abs=1e-5)


def test_tied_weights_are_one_and_untied_are_two():
    tied, untied = make(hidden_size=5).network, make(hidden_size=5, tied=False).network
    size = sum(p.numel() for p in tied.embedding.parameters())
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "lsmt"}, "layer is 'lsmt'.*lstm"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"bptt": -1}, "bptt is -1"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"valid_share": 0.0}, r"valid_share is 0\.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        LanguageModelConfig(**options)


def test_an_option_the_layer_lacks_is_refused_by_name():
    with pytest.raises(ConfigError, match="forget_bias"):
        make(layer="gru", forget_bias=1.0)


# Files


def test_tokens_survive_their_folder(tmp_path: Path):
    model = make(*TEXTS)
    data = model.encode(corpus(*TEXTS), tmp_path)
    again = LanguageModel.load_data(tmp_path)
    assert again.size == data.size
    assert again.stream.tokens.tolist() == data.stream.tokens.tolist()


@pytest.mark.parametrize("content", ["{", '{"documents": 1}', "[]", '{"words": 1, "letters": 2}'])
def test_a_damaged_size_is_named(content: str, tmp_path: Path):
    make().encode(corpus(TEXT), tmp_path)
    (tmp_path / "size.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"size\.json"):
        LanguageModel.load_data(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"documents": "many", "notes": []}'])
def test_damaged_facts_are_named(content: str, tmp_path: Path):
    model = make()
    model.save_assets(tmp_path)
    (tmp_path / "text.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"text\.json"):
        LanguageModel.load_assets(tmp_path, model.config)


def test_the_default_sampling_is_the_models_own_distribution():
    assert Sampling() == Sampling(temperature=1.0, top_k=None, top_p=None, min_p=None)
