import itertools
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data import batching
from rnnkit.data.batching import PADDING, Lanes, TokenStream, encode_documents
from rnnkit.data.vocabulary import DOCUMENT, VOCABULARIES, build_vocabulary
from rnnkit.errors import CheckpointError, ConfigError, DataError

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def stream_of(lengths):
    """Documents of the given lengths; token number t of the stream has id t + 2."""
    starts = np.cumsum(lengths) - lengths
    return TokenStream(np.arange(2, 2 + sum(lengths), dtype=np.int32), starts.astype(np.int64))


def expected_rows(stream, *, first, batch, time):
    """Lay the lanes out by a plain loop: for each lane its chunks, as (fresh, [(input, target), ...])."""
    tokens, starts = stream.tokens.tolist(), set(stream.starts.tolist())
    borders = [first + (len(tokens) - first) * lane // batch for lane in range(batch + 1)]
    rows = []
    for begin, end in itertools.pairwise(borders):
        segments = []
        for place in range(begin, end):
            if place == begin or place in starts:
                segments.append([])
            segments[-1].append((DOCUMENT if place in starts else tokens[place - 1], tokens[place]))
            if place + 1 in starts:
                segments[-1].append((tokens[place], DOCUMENT))
        chunks = []
        for segment in segments:
            for start in range(0, len(segment), time):
                chunks.append((start == 0, segment[start : start + time]))
        rows.append(chunks)
    return rows


def epoch_of(lanes):
    epoch, chunks = lanes.epoch, []
    while lanes.epoch == epoch:
        chunks.append(lanes.next_chunk())
    return chunks


@settings(max_examples=200, deadline=None)
@given(lengths=LENGTHS, batch=st.integers(1, 6), time=st.integers(1, 9), epoch=st.integers(0, 2))
def test_chunks_agree_with_a_plain_loop(lengths, batch, time, epoch):
    stream = stream_of(lengths)
    lanes = Lanes(stream, batch=batch, time=time, seed=3)
    for _ in range(epoch):
        epoch_of(lanes)
    first = lanes.state_dict()["position"][0]
    assert lanes.chunks_per_epoch == max(map(len, expected_rows(stream, first=first, batch=lanes.batch, time=time)))
    chunks = epoch_of(lanes)
    for row, expected in enumerate(expected_rows(stream, first=first, batch=lanes.batch, time=time)):
        got = [(bool(chunk.fresh[row]), pairs_of(chunk, row)) for chunk in chunks]
        assert got == expected + [(False, [])] * (len(chunks) - len(expected))


def pairs_of(chunk, row):
    count = int((chunk.targets[row] != PADDING).sum())
    assert (chunk.targets[row, count:] == PADDING).all()
    assert (chunk.inputs[row, count:] == DOCUMENT).all()
    return list(zip(chunk.inputs[row, :count].tolist(), chunk.targets[row, :count].tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, batch=st.integers(1, 6), time=st.integers(1, 9))
def test_every_token_not_skipped_is_a_target_once_in_every_epoch(lengths, batch, time):
    stream = stream_of(lengths)
    lanes = Lanes(stream, batch=batch, time=time, seed=0)
    for epoch in range(4):
        skipped = lanes.state_dict()["position"][0]
        assert skipped < time
        assert epoch > 0 or skipped == 0
        targets = np.concatenate([chunk.targets.ravel() for chunk in epoch_of(lanes)])
        assert sorted(targets[targets > DOCUMENT].tolist()) == stream.tokens[skipped:].tolist()
        boundaries = int((stream.starts[1:] > skipped).sum())
        assert int((targets == DOCUMENT).sum()) == boundaries
        assert epoch > 0 or len(targets[targets != PADDING]) == stream.targets


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, batch=st.integers(1, 4), time=st.integers(1, 7), before=st.integers(0, 40))
def test_resumed_chunks_equal_uninterrupted_ones(lengths, batch, time, before):
    uninterrupted = Lanes(stream_of(lengths), batch=batch, time=time, seed=1)
    for _ in range(before):
        uninterrupted.next_chunk()
    resumed = Lanes(stream_of(lengths), batch=batch, time=time, seed=1)
    resumed.load_state_dict(json.loads(json.dumps(uninterrupted.state_dict())))
    for _ in range(20):
        one, other = uninterrupted.next_chunk(), resumed.next_chunk()
        assert one.inputs.tolist() == other.inputs.tolist()
        assert one.targets.tolist() == other.targets.tolist()
        assert one.fresh.tolist() == other.fresh.tolist()


def test_a_chunk_is_trimmed_to_its_longest_row():
    chunk = Lanes(stream_of([3, 2, 5]), batch=1, time=8, seed=0).next_chunk()
    assert (chunk.inputs.tolist(), chunk.targets.tolist()) == ([[0, 2, 3, 4]], [[2, 3, 4, 0]])
    assert (chunk.inputs.dtype, chunk.targets.dtype, chunk.fresh.dtype) == (np.int64, np.int64, bool)


def test_a_short_text_gets_fewer_lanes():
    assert Lanes(stream_of([7]), batch=64, time=8, seed=0).batch == 3
    assert Lanes(stream_of([1]), batch=64, time=8, seed=0).batch == 1


def test_progress_grows_from_0_to_below_1():
    lanes = Lanes(stream_of([100]), batch=2, time=10, seed=0)
    progress = [lanes.progress]
    for _ in range(4):
        lanes.next_chunk()
        progress.append(lanes.progress)
    assert progress == [0.0, 0.2, 0.4, 0.6, 0.8]
    lanes.next_chunk()
    assert (lanes.epoch, lanes.progress) == (1, 0.0)


def test_later_epochs_move_the_borders_of_chunks():
    lanes = Lanes(stream_of([1000]), batch=2, time=50, seed=0)
    skips = []
    for _ in range(6):
        skips.append(lanes.state_dict()["position"][0])
        epoch_of(lanes)
    assert skips[0] == 0
    assert len(set(skips)) > 3


def test_another_stream_refuses_a_saved_place():
    state = Lanes(stream_of([50]), batch=2, time=5, seed=0).state_dict()
    with pytest.raises(CheckpointError, match="tokens 50, this run has 60"):
        Lanes(stream_of([60]), batch=2, time=5, seed=0).load_state_dict(state)


def test_an_empty_stream_is_refused():
    with pytest.raises(DataError, match="encodes to no token"):
        Lanes(stream_of([]), batch=2, time=5, seed=0)


@pytest.mark.parametrize(("batch", "time"), [(0, 5), (5, 0)])
def test_no_lanes_and_no_time_are_refused(batch, time):
    with pytest.raises(ConfigError, match=f"batch is {batch} and time {time}"):
        Lanes(stream_of([9]), batch=batch, time=time, seed=0)


def test_documents_without_tokens_are_left_out(tmp_path):
    parts = encode_documents(build_vocabulary("character", ["abc"]), [["ab"], [], ["", "c"]])
    stream = TokenStream.write(tmp_path, parts, vocabulary_size=5)
    assert (stream.tokens.tolist(), stream.starts.tolist(), stream.targets) == ([2, 3, 4], [0, 2], 4)
    assert (
        TokenStream.write(tmp_path, encode_documents(build_vocabulary("byte", []), []), vocabulary_size=9).targets == 0
    )


@pytest.mark.parametrize("kind", VOCABULARIES)
@settings(max_examples=60)
@given(data=st.data())
def test_tokens_depend_neither_on_blocks_nor_on_batches(kind, data):
    texts = data.draw(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=4))
    vocabulary = vocabulary_of(kind)
    blocks = [cut_at(text, data.draw(st.lists(st.integers(0, len(text)), max_size=4))) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_CHARACTERS", data.draw(st.sampled_from([1, 5, 1000])))
        parts = list(encode_documents(vocabulary, blocks))
    whole = [ids for ids in map(vocabulary.encode, texts) if len(ids)]
    assert [id for tokens, _ in parts for id in tokens.tolist()] == [id for ids in whole for id in ids.tolist()]
    before = np.cumsum([0] + [len(tokens) for tokens, _ in parts])
    starts = [int(place + start) for place, (_, starts) in zip(before, parts, strict=False) for start in starts]
    assert starts == np.cumsum([0] + [len(ids) for ids in whole])[:-1].tolist()


PIECES = ["the ", "cat", "  ", "\n", "sat", ".", " 3.14", "'s", "é", "中文。", "😀", "\t", "x"]


@cache
def vocabulary_of(kind):
    text = "the cat sat on the mat.\n" * 20 + " ".join(PIECES)
    return build_vocabulary(kind, [text], size=300 if kind in ("bpe", "unigram") else None)


def cut_at(text, places):
    """Cut a text at some places."""
    borders = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(borders)]


@pytest.mark.parametrize(("size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.int32)])
def test_a_token_takes_two_bytes_where_the_vocabulary_allows(tmp_path, size, dtype):
    tokens = np.array([0, size - 1, 7], dtype=np.int32)
    stream = TokenStream.write(
        tmp_path, [(tokens[:2], np.array([0])), (tokens[2:], np.array([]))], vocabulary_size=size
    )
    assert stream.tokens.dtype == dtype
    assert stream.tokens.tolist() == tokens.tolist()
    assert stream.starts.tolist() == [0]


def test_a_write_that_breaks_off_leaves_no_tokens_that_look_whole(tmp_path):
    def broken():
        yield np.array([5, 6, 7]), np.array([0])
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        TokenStream.write(tmp_path, broken(), vocabulary_size=9)
    with pytest.raises(CheckpointError, match="cannot be read"):
        TokenStream.load(tmp_path)


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_stream_is_the_same_when_loaded(tmp_path, mmap):
    stream = stream_of([3, 4, 5])
    TokenStream.write(tmp_path / "tokens", [(stream.tokens, stream.starts)], vocabulary_size=20)
    loaded = TokenStream.load(tmp_path / "tokens", mmap=mmap)
    assert isinstance(loaded.tokens, np.memmap) == mmap
    assert (loaded.tokens.tolist(), loaded.starts.tolist()) == (stream.tokens.tolist(), stream.starts.tolist())
    chunk = Lanes(loaded, batch=2, time=4, seed=0).next_chunk()
    assert chunk.targets.tolist() == Lanes(stream, batch=2, time=4, seed=0).next_chunk().targets.tolist()


def test_a_missing_stream_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="gone: the encoded text cannot be read"):
        TokenStream.load(tmp_path / "gone")


def test_parts_give_the_rows_of_the_whole_in_order_and_keep_its_place():
    stream = stream_of([30, 7, 41, 3])
    whole = Lanes(stream, batch=6, time=5, seed=3, fresh_share=0.3)
    parts = [Lanes(stream, batch=6, time=5, seed=3, fresh_share=0.3, part=(number, 3)) for number in range(3)]
    for _ in range(12):
        expected, found = whole.next_chunk(), [part.next_chunk() for part in parts]
        for name in ("inputs", "targets", "fresh"):
            rows = [list(row) for chunk in found for row in np.atleast_2d(getattr(chunk, name).T).T]
            wanted = [list(row) for row in np.atleast_2d(getattr(expected, name).T).T]
            padding = -1 if name == "targets" else 0  # a part is as wide as its own longest row
            assert [row + [padding] * (len(wanted[0]) - len(row)) for row in rows] == wanted
        assert all(part.state_dict() == whole.state_dict() for part in parts)


def test_lanes_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(ConfigError, match="5 sequences side by side cannot be shared by 2 processes"):
        Lanes(stream_of([100]), batch=5, time=5, seed=0, part=(0, 2))


def test_a_share_of_the_rows_begins_anew_at_random_and_again_the_same():
    stream = stream_of([100_000])
    lanes = Lanes(stream, batch=1000, time=5, seed=0, fresh_share=0.02)
    lanes.next_chunk()  # all rows are fresh
    counts = [int(lanes.next_chunk().fresh.sum()) for _ in range(10)]
    assert 150 <= sum(counts) <= 250  # 200 expected, 3.6 standard deviations either way
    assert len(set(counts)) > 1
    state, following = lanes.state_dict(), lanes.next_chunk()
    again = Lanes(stream, batch=1000, time=5, seed=0, fresh_share=0.02)
    again.load_state_dict(state)
    assert again.next_chunk().fresh.tolist() == following.fresh.tolist()
    assert not Lanes(stream, batch=1000, time=5, seed=0)._anew().any()
