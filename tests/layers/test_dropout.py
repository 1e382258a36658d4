import pytest
import torch

from rnnkit import GRU, LSTM, kernels
from rnnkit.errors import ConfigError
from rnnkit.layers import DroppedEmbedding, LockedDropout
from rnnkit.layers.dropout import draw_events, drop_weights, keep_mask, locked_dropout


def test_a_mask_is_zero_or_the_inverse_of_what_is_kept():
    mask = keep_mask(torch.zeros(1), (100, 100), 0.2)
    assert sorted(set(mask.flatten().tolist())) == pytest.approx([0, 1.25])
    assert mask.mean() == pytest.approx(1, abs=0.02)  # 10,000 draws: 4 standard errors
    assert (mask == 0).float().mean() == pytest.approx(0.2, abs=0.016)


def test_a_mask_has_the_type_asked_for():
    assert keep_mask(torch.zeros(1, dtype=torch.float64), (2,), 0.5).dtype == torch.float64


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused_with_its_value(share):
    with pytest.raises(ConfigError, match=f"share={share}"):
        LockedDropout(share)(torch.ones(2, 3, 4))


def test_locked_dropout_drops_the_same_features_at_every_step():
    dropped = locked_dropout(torch.ones(50, 7, 20), 0.5, training=True)
    assert torch.equal(dropped, dropped[:, :1].expand(50, 7, 20))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])  # each sequence its own


def test_locked_dropout_keeps_the_mean():
    assert locked_dropout(torch.ones(200, 2, 100), 0.3, training=True).mean() == pytest.approx(1, abs=0.02)


def test_dropout_in_eval_is_the_identity():
    values, tokens = torch.randn(2, 3, 4), torch.tensor([[1, 2, 0]])
    assert locked_dropout(values, 0.5, training=False) is values
    assert LockedDropout(0.5).eval()(values) is values
    assert drop_weights(values, 0.5, training=False) is values
    embedding = DroppedEmbedding(3, 4, share=0.5).eval()
    assert torch.equal(embedding(tokens), embedding.weight[tokens])


def test_a_share_of_zero_draws_no_random_numbers():
    embedding = DroppedEmbedding(3, 4)
    before = torch.get_rng_state()
    locked_dropout(torch.ones(2, 3, 4), 0.0, training=True)
    drop_weights(torch.ones(3, 4), 0.0, training=True)
    embedding(torch.tensor([[0]]))
    assert torch.equal(torch.get_rng_state(), before)


def test_weight_dropout_never_changes_the_parameter():
    layer = LSTM(3, 4, weight_dropout=0.5)
    before = layer.weight_hh_l0.detach().clone()
    for _ in range(3):
        layer(torch.randn(2, 5, 3))
    assert torch.equal(layer.weight_hh_l0, before)


def test_weight_dropout_sends_no_gradient_to_dropped_weights():
    weight = torch.full((50, 50), 3.0, requires_grad=True)
    dropped = drop_weights(weight, 0.5, training=True)
    dropped.sum().backward()
    assert set(dropped.flatten().tolist()) == {0.0, 6.0}
    assert torch.equal(weight.grad == 0, dropped == 0)


def test_weight_dropout_is_one_mask_for_all_steps():
    # a GRU with the dropped weight as its parameter gives the same: the mask is drawn once a call
    layer = GRU(3, 4, weight_dropout=0.5)
    inputs = torch.randn(2, 9, 3)
    torch.manual_seed(8)
    outputs, _ = layer(inputs)
    torch.manual_seed(8)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(drop_weights(layer.weight_hh_l0, 0.5, training=True))
    expected, _ = layer.eval()(inputs)
    assert torch.equal(outputs, expected)


def test_weight_dropout_keeps_the_fused_operation():
    (plain,) = kernels.explain(LSTM(3, 4), torch.zeros(2, 5, 3))
    (run,) = kernels.explain(LSTM(3, 4, weight_dropout=0.5), torch.zeros(2, 5, 3))
    assert run.backend == plain.backend


def test_a_dropped_symbol_is_dropped_in_all_its_places():
    embedding = DroppedEmbedding(5, 3, share=0.5)
    with torch.no_grad():
        embedding.weight.fill_(1.0)
    tokens = torch.arange(5).repeat(4, 8)  # (4, 40): every symbol 32 times
    vectors = embedding(tokens)
    by_symbol = [set(vectors[tokens == symbol].flatten().tolist()) for symbol in range(5)]
    assert all(values in ({0.0}, {2.0}) for values in by_symbol)
    assert {0.0} in by_symbol
    assert {2.0} in by_symbol


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_events_come_as_often_as_asked(share):
    events = draw_events(torch.empty(0), (3, 1111, 31), share)  # a number of them that four does not divide
    assert set(events.unique().tolist()) <= {0.0, 1.0}
    assert events.mean().item() == pytest.approx(share, abs=0.008)  # 5 standard errors


def test_events_are_independent_of_their_neighbours():
    events = draw_events(torch.empty(0), (400_000,), 0.5)
    for distance in (1, 2, 3, 4):  # four come out of one drawn number
        assert (events[distance:] == events[:-distance]).float().mean().item() == pytest.approx(0.5, abs=0.004)


def test_dropping_symbols_keeps_the_mean():
    embedding = DroppedEmbedding(10_000, 1, share=0.4)
    with torch.no_grad():
        embedding.weight.fill_(1.0)
    assert embedding(torch.arange(10_000)[None]).mean().item() == pytest.approx(1, abs=0.04)  # 5 standard errors
