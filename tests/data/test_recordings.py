"""Recordings and texts are read from lists and folders; what cannot be used is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rnnkit.data.audio import Hearing, audio_facts, log_mel, read_audio, sound_blocks
from rnnkit.data.recordings import RecordingColumns, read_recordings
from rnnkit.errors import ConfigError, DataError

RATE = 8_000


def write(path: Path, seconds: float = 0.3, rate: int = RATE, channels: int = 1) -> Path:
    """Write noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate), channels)
    soundfile.write(path, np.random.default_rng(1).normal(scale=0.1, size=shape).astype(np.float32), rate)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve recordings."""
    for number in range(12):
        write(tmp_path / "wav" / f"{number}.wav")
    return tmp_path


def table(folder: Path, rows: list[tuple[str, str]], head: str = "path\ttext") -> Path:
    """Write a list."""
    path = folder / "list.tsv"
    path.write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n")
    return path


def test_a_list_names_recordings_from_where_it_lies(folder: Path):
    found = read_recordings([table(folder, [(f"wav/{number}.wav", f"text  {number} ") for number in range(12)])])
    assert [one.text for one in found.examples] == [f"text {number}" for number in range(12)]
    assert [one.line for one in found.examples] == list(range(2, 14))
    assert found.examples[3].paths == (folder / "wav" / "3.wav",)
    assert found.sample_rate(most=16_000) == RATE
    assert "12 recordings" in found.notes[-1]


def test_several_paths_are_joined(folder: Path):
    listed = table(folder, [("wav/1.wav wav/2.wav", "one two")] * 2, head="paths\ttext")
    (first, _) = read_recordings([listed]).examples
    assert first.seconds == pytest.approx(0.6)
    parts = [read_audio(folder / "wav" / f"{number}.wav", RATE) for number in (1, 2)]
    np.testing.assert_array_equal(first.samples(RATE), np.concatenate(parts))
    objects = folder / "list.jsonl"
    objects.write_text(json.dumps({"audio": ["wav/1.wav", "wav/2.wav"], "text": "one two"}) + "\n")
    assert read_recordings([objects]).examples[0].paths == first.paths


def test_a_name_with_a_space_is_one_file(folder: Path):
    write(folder / "wav" / "a b.wav")
    assert len(read_recordings([table(folder, [("wav/a b.wav", "x")])]).examples[0].paths) == 1


def test_a_folder_has_texts_beside_its_recordings_or_in_lists(folder: Path):
    for number in range(6):
        (folder / "wav" / f"{number}.txt").write_text(f"text {number}\n")
    (folder / "wav" / "more.trans.txt").write_text("".join(f"{number} TEXT {number}\n" for number in range(6, 12)))
    found = {one.paths[0].stem: one.text for one in read_recordings([folder / "wav"]).examples}
    assert found == {str(number): f"{'text' if number < 6 else 'TEXT'} {number}" for number in range(12)}


def test_columns_are_chosen(folder: Path):
    listed = table(folder, [("wav/1.wav", "no", "yes")], head="a\tb\tc")
    assert read_recordings([listed], RecordingColumns(text="c")).examples[0].text == "yes"
    with pytest.raises(ConfigError, match="text_column is 'd', which .*list.tsv does not have"):
        read_recordings([listed], RecordingColumns(text="d"))


def test_what_cannot_be_used_is_left_out_and_named(folder: Path):
    (folder / "wav" / "empty.wav").write_bytes(b"")
    whole = (folder / "wav" / "1.wav").read_bytes()
    (folder / "wav" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "wav" / "none.wav", np.empty(0, np.float32), RATE)
    good = [(f"wav/{number}.wav", "x") for number in range(12)] * 2
    bad = [(f"wav/{name}.wav", "x") for name in ("gone", "empty", "cut", "none")] + [("wav/1.wav", "")]
    found = read_recordings([table(folder, [*good, *bad])])
    assert len(found) == 24
    reasons = [reason.split(": ", 1)[-1] for _, _, reason in found.bad]
    assert [line for _, line, _ in found.bad] == [26, 27, 28, 29, 30]
    expected = ["there is no such file", "this is no recording", "the file is truncated", "there is no sample", "there"]
    assert all(reason.startswith(words) for reason, words in zip(reasons, expected, strict=True))


def test_too_many_bad_rows_are_an_error(folder: Path):
    with pytest.raises(DataError, match=r"1 of 2 rows cannot be used: .*list.tsv:3: .*gone.wav: there is no such file"):
        read_recordings([table(folder, [("wav/1.wav", "x"), ("gone.wav", "y")])])


def test_a_list_without_recordings_is_an_error(folder: Path):
    with pytest.raises(DataError, match=r"list.tsv:2: no cell names a recording"):
        read_recordings([table(folder, [("one", "x")])])
    (folder / "list.jsonl").write_text('{"a": "b"}\n')
    with pytest.raises(DataError, match="none of the keys a is a usual one"):
        read_recordings([folder / "list.jsonl"])
    (folder / "bare").mkdir()
    with pytest.raises(DataError, match="the folder holds no recording"):
        read_recordings([folder / "bare"])


def test_a_recording_that_changes_under_way_names_its_line(folder: Path):
    (one,) = read_recordings([table(folder, [("wav/1.wav", "x")])]).examples
    (folder / "wav" / "1.wav").unlink()
    with pytest.raises(DataError, match=r"list.tsv:2: .*1.wav: there is no such file"):
        one.samples(RATE)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("seconds", [0.01, 0.1, 7.0])
def test_blocks_are_the_whole_bit_by_bit(tmp_path: Path, rate: int, seconds: float):
    path = write(tmp_path / "a.wav", seconds=0.5, rate=rate, channels=2)
    blocks = np.concatenate(list(sound_blocks(path, 16_000, seconds=seconds)))
    np.testing.assert_array_equal(blocks, read_audio(path, 16_000))
    assert audio_facts(path).channels == 2


def test_a_writer_that_did_not_know_the_length_is_believed(tmp_path: Path):
    content = bytearray(write(tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "pipe.wav").write_bytes(content)
    assert audio_facts(tmp_path / "pipe.wav").samples == round(0.3 * RATE)


def test_a_damaged_flac_is_refused_when_it_is_read(tmp_path: Path):
    path = write(tmp_path / "a.flac", seconds=2.0)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"a.flac: "):
        read_audio(path, RATE)


def test_hearing_in_pieces_is_hearing_the_whole():
    samples = np.random.default_rng(2).normal(scale=0.1, size=4000).astype(np.float32)
    hearing = Hearing(RATE, bands=20)
    frames = np.concatenate([hearing.push(samples[first : first + 77]) for first in range(0, 4000, 77)])
    np.testing.assert_array_equal(frames, log_mel(samples, RATE, bands=20))
    assert len(hearing.rest) < 200
