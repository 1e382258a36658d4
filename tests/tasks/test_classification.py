"""What classifiers share: labels and their split, losses, temperature, thresholds, the network as it reads."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from rnnkit.data.holdout import divide
from rnnkit.errors import CheckpointError, DataError
from rnnkit.layers import POOLINGS
from rnnkit.tasks.classification import ClassifierNetwork, Decision, Labels
from rnnkit.tasks.classification import network as network_module
from rnnkit.tasks.classification.decision import best_temperature
from rnnkit.tasks.classification.losses import classification_loss
from rnnkit.tasks.text_classification import TextClassificationConfig
from rnnkit.tasks.text_classification.network import make_network

# Labels


def test_labels_are_in_order_numbers_by_size():
    labels = Labels.learn([("10",), ("b",), ("2",), ("10",)], where="t.csv")
    assert (labels.names, labels.counts, labels.multi_label) == (("2", "10", "b"), (1, 2, 1), False)
    assert labels.encode([(("b",), "t:1"), (("2",), "t:2")]).tolist() == [2, 0]


def test_several_or_no_labels_make_it_multi_label():
    labels = Labels.learn([("a", "b"), (), ("b",)], where="t.csv")
    assert labels.multi_label
    assert labels.encode([(("b", "a"), "t:1"), ((), "t:2")]).tolist() == [[True, True], [False, False]]


def test_a_single_label_is_refused():
    with pytest.raises(DataError, match=r"t\.csv: the only label is 'x'"):
        Labels.learn([("x",), ("x",)], where="t.csv")


def test_an_unknown_label_is_refused_with_its_place():
    labels = Labels.learn([("a",), ("b",)], where="t.csv")
    with pytest.raises(DataError, match=r"v\.csv:7: the label is 'c'; the model knows a, b"):
        labels.encode([(("c",), "v.csv:7")])


def test_balanced_weights_make_labels_count_the_same():
    labels = Labels.learn([("a",)] * 6 + [("b",)] * 2, where="t")
    weights = labels.weights()
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 4])
    assert float(weights @ np.array(labels.counts)) == pytest.approx(8)


def test_saved_labels_are_loaded_and_damage_is_refused(tmp_path: Path):
    labels = Labels.learn([("ä",), ("b",)], where="t")
    labels.save(tmp_path)
    assert Labels.load(tmp_path) == labels
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"labels\.json"):
        Labels.load(tmp_path)


@given(
    texts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=2, max_size=120),
    share=st.floats(0.05, 0.9),
)
def test_a_split_keeps_equal_examples_together_and_leaves_every_label_in_training(
    texts: list[tuple[int, int]], share: float
):
    keys, labels = [str(text).encode() for text, _ in texts], [(str(label),) for _, label in texts]
    chosen = divide(keys, labels, valid_share=share)
    for label in set(labels):
        members = [bool(kept) for kept, own in zip(chosen, labels, strict=True) if own == label]
        assert not all(members)
    sides: dict[tuple[bytes, tuple[str, ...]], set[bool]] = {}
    for key, label, kept in zip(keys, labels, chosen, strict=True):
        sides.setdefault((key, label), set()).add(bool(kept))
    assert all(len(side) == 1 for side in sides.values())


def test_a_split_takes_its_share_of_every_label_whatever_the_order():
    keys = [str(number).encode() for number in range(1000)]
    labels = [("rare" if number % 10 == 0 else "common",) for number in range(1000)]
    chosen = divide(keys, labels, valid_share=0.2)
    assert [int(sum(chosen[i] for i in range(1000) if labels[i] == (name,))) for name in ("rare", "common")] == [
        20,
        180,
    ]
    backwards = divide(keys[::-1], labels[::-1], valid_share=0.2)
    assert np.array_equal(chosen, backwards[::-1])


# Losses


def test_the_plain_loss_is_the_cross_entropy():
    scores, targets = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    found = classification_loss(scores, targets, weights=None, focal_gamma=0, label_smoothing=0.1)
    assert torch.allclose(found, cross_entropy(scores, targets, reduction="none", label_smoothing=0.1))


def test_focal_loss_and_weights_multiply_each_example():
    scores, targets, weights = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1.0, 2.0, 3.0])
    plain = cross_entropy(scores, targets, reduction="none")
    found = classification_loss(scores, targets, weights=weights, focal_gamma=2, label_smoothing=0)
    assert torch.allclose(found, weights[targets] * (1 - torch.exp(-plain)) ** 2 * plain, atol=1e-6)


def test_labels_of_their_own_add_up():
    scores = torch.tensor([[0.3, -1.2]])
    found = classification_loss(scores, torch.tensor([[1, 0]]), weights=None, focal_gamma=0, label_smoothing=0)
    expected = -math.log(1 / (1 + math.exp(-0.3))) - math.log(1 - 1 / (1 + math.exp(1.2)))
    assert float(found) == pytest.approx(expected, rel=1e-6)


# Decision


def test_the_temperature_is_the_one_that_made_the_scores_too_sure():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20_000, 3)) * 2
    odds = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    targets = np.array([generator.choice(3, p=row) for row in odds])
    temperature, nats = best_temperature(scores * 4, targets)
    assert temperature == pytest.approx(4, rel=0.03)
    assert nats == pytest.approx(float(-np.log(odds[np.arange(len(targets)), targets]).mean()), abs=1e-3)
    decision = Decision.fit(scores * 4, targets)
    before = Decision().metrics(Decision().probabilities(scores * 4, multi_label=False), targets)
    after = decision.metrics(decision.probabilities(scores * 4, multi_label=False), targets)
    assert after["ece"] < 0.02 < before["ece"]
    assert after["accuracy"] == before["accuracy"]


def test_thresholds_have_the_best_f1_of_all():
    generator = np.random.default_rng(1)
    targets = generator.random((200, 2)) < 0.2
    scores = np.where(targets, 0.0, -1.5) + generator.normal(size=targets.shape)
    decision = Decision.fit(scores, targets)
    probabilities = decision.probabilities(scores, multi_label=True)

    def f1(label: int, threshold: float) -> float:
        chosen = probabilities[:, label] >= threshold
        return 2 * (chosen & targets[:, label]).sum() / (chosen.sum() + targets[:, label].sum())

    for label in range(2):
        best = max(f1(label, threshold) for threshold in probabilities[:, label])
        assert f1(label, decision.thresholds[label]) == pytest.approx(best)


def test_a_label_that_never_holds_keeps_the_usual_threshold():
    assert Decision.fit(np.zeros((3, 1)), np.zeros((3, 1), dtype=bool)).thresholds == (0.5,)


# The network


def make(pooling: str, layer: str = "gru", **options: object) -> ClassifierNetwork:
    config = TextClassificationConfig(
        layer=layer, hidden_size=5, embedding_size=4, pooling=pooling, num_layers=2, **options
    )  # type: ignore[arg-type]
    return make_network(11, 3, config).double().eval()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_and_the_rest_of_the_batch_change_nothing(pooling: str, bidirectional: bool):
    network = make(pooling, bidirectional=bidirectional)
    inputs, lengths = torch.randint(2, 11, (4, 7)), torch.tensor([7, 1, 4, 3])
    together = network(inputs, lengths)
    other = inputs.clone()
    for row, length in zip(other, lengths, strict=True):
        row[length:] = 1
    assert torch.equal(network(other, lengths), together)
    for row, length, scores in zip(inputs, lengths, together, strict=True):
        alone = network(row[None, :length], length[None])
        assert torch.allclose(alone[0], scores, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_scores_of_a_growing_sequence_are_those_of_its_beginnings(pooling: str):
    network, inputs = make(pooling), torch.randint(2, 11, (2, 6))
    state, parts = network.initial_state(2), []
    for chunk in inputs.tensor_split((1, 4), dim=1):
        scores, state = network.running(chunk, state)
        parts.append(scores)
    assert [part.shape[0] for part in state] == [2] * len(network.state_names)
    for step, found in enumerate(torch.cat(parts, dim=1).unbind(1), start=1):
        expected = network(inputs[:, :step], torch.tensor([step, step]))
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_a_long_sequence_is_read_in_chunks_with_the_same_scores(monkeypatch: pytest.MonkeyPatch):
    network, inputs = make("concat"), torch.randint(2, 11, (1, 50))
    whole = network(inputs, torch.tensor([47]))
    monkeypatch.setattr(network_module, "CHUNK_STEPS", 8)
    assert torch.allclose(network(inputs, torch.tensor([47])), whole, rtol=1e-10, atol=1e-10)
