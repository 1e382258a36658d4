"""Sequences of different lengths: padded, cut in batches, shuffled and resumed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnkit.data.ragged import Buckets, Ragged, cut_batches, in_batches
from rnnkit.errors import CheckpointError, ConfigError, DataError

LENGTHS = np.array([3, 0, 5, 1, 4, 2, 8, 1, 1, 6])


def ragged(lengths: np.ndarray = LENGTHS) -> Ragged:
    return Ragged.join([np.full(length, number + 1) for number, length in enumerate(lengths)], like=np.empty(0, int))


def buckets(**options: object) -> Buckets[np.ndarray]:
    return Buckets(LENGTHS, lambda indices: indices, **{"batch_size": 3, "most_steps": 100, "seed": 1, **options})  # type: ignore[arg-type]


def epoch(batches: Buckets[np.ndarray]) -> list[list[int]]:
    start, found = batches.epoch, []
    while batches.epoch == start:
        found.append(batches.next_chunk().tolist())
    return found


def test_rows_are_padded_with_zeros_and_cut_at_the_longest():
    rows, lengths = ragged().padded([0, 1, 3])
    assert rows.tolist() == [[1, 1, 1], [0, 0, 0], [4, 0, 0]]
    assert lengths.tolist() == [3, 0, 1]
    rows, lengths = ragged().padded([6, 0], longest=2)
    assert rows.tolist() == [[7, 7], [1, 1]]
    assert lengths.tolist() == [2, 2]


def test_steps_may_have_features():
    sequences = [np.arange(6.0).reshape(3, 2), np.ones((1, 2))]
    rows, _ = Ragged.join(sequences, like=np.empty((0, 2))).padded([1, 0])
    assert rows.tolist() == [[[1, 1], [0, 0], [0, 0]], [[0, 1], [2, 3], [4, 5]]]


def test_what_is_saved_is_loaded(tmp_path: Path):
    ragged().save(tmp_path, "steps")
    loaded = Ragged.load(tmp_path, "steps")
    assert [loaded[i].tolist() for i in range(len(loaded))] == [ragged()[i].tolist() for i in range(len(LENGTHS))]
    (tmp_path / "steps.npy").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"steps\.npy"):
        Ragged.load(tmp_path, "steps")


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    batch_size=st.integers(1, 9),
    most_steps=st.integers(1, 90),
)
def test_batches_hold_every_sequence_once_and_stay_within_their_bounds(
    lengths: list[int], batch_size: int, most_steps: int
):
    sizes = np.array(lengths)
    batches = list(in_batches(sizes, batch_size=batch_size, most_steps=most_steps))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * sizes[batch].max() <= most_steps


def test_an_order_is_cut_where_a_batch_is_full():
    order = np.arange(5)
    found = [batch.tolist() for batch in cut_batches(np.array([1, 1, 9, 1, 1]), order, batch_size=3, most_steps=10)]
    assert found == [[0, 1], [2], [3, 4]]


def test_an_epoch_visits_every_sequence_once_in_an_order_of_its_own():
    batches = buckets()
    first, second = epoch(batches), epoch(batches)
    for found in (first, second):
        assert sorted(index for batch in found for index in batch) == list(range(len(LENGTHS)))
    assert first != second
    assert epoch(buckets()) == first
    assert epoch(buckets(seed=2)) != first


def test_batches_hold_sequences_of_like_length():
    batches = Buckets(np.arange(96), lambda indices: indices, batch_size=4, most_steps=10_000, seed=0)
    assert all(max(batch) - min(batch) < 8 for batch in epoch(batches))


def test_a_place_is_gone_on_from():
    batches, other = buckets(), buckets()
    for _ in range(7):
        batches.next_chunk()
    other.load_state_dict(batches.state_dict())
    assert (other.epoch, other.progress) == (batches.epoch, batches.progress)
    assert [other.next_chunk().tolist() for _ in range(9)] == [batches.next_chunk().tolist() for _ in range(9)]


def test_a_place_in_other_data_is_refused():
    with pytest.raises(CheckpointError, match="seed 1, this run has 2"):
        buckets(seed=2).load_state_dict(buckets().state_dict())


def test_processes_share_each_batch():
    whole = epoch(buckets(batch_size=4))
    parts = [epoch(buckets(batch_size=4, part=(number, 2))) for number in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


def test_too_few_sequences_or_too_small_a_batch_is_refused():
    with pytest.raises(DataError, match="0 sequences"):
        Buckets(np.array([]), lambda indices: indices, batch_size=2, most_steps=9, seed=0)
    with pytest.raises(ConfigError, match="batch_size is 1"):
        buckets(batch_size=1, part=(0, 2))
