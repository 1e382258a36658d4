"""Recordings are read from any usual file, and heard in pieces as in one."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data.audio import BANDS, frame_length, frame_shift, log_mel, read_audio
from rnnkit.data.series import SeriesColumns, read_series
from rnnkit.errors import ConfigError, DataError

RATE = 16_000


def tone(pitch: float, seconds: float = 0.3, rate: int = RATE) -> np.ndarray:
    """A sine of some pitch."""
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def strongest_band(samples: np.ndarray) -> int:
    """The mel band with the most energy."""
    return int(log_mel(samples, RATE).mean(0).argmax())


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A folder of recordings for each label."""
    for label, pitch in (("low", 300.0), ("high", 3000.0)):
        (tmp_path / "words" / label).mkdir(parents=True)
        for number in range(3):
            soundfile.write(tmp_path / "words" / label / f"{number}.wav", tone(pitch + 9 * number), RATE)
    return tmp_path / "words"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_recording_is_read_from_any_usual_file(tmp_path: Path, suffix: str):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1000), RATE)
    samples = read_audio(path, RATE)
    assert samples.dtype == np.float32
    assert strongest_band(samples) == strongest_band(tone(1000))


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int):
    soundfile.write(tmp_path / "tone.wav", tone(1000, rate=rate), rate)
    samples = read_audio(tmp_path / "tone.wav", RATE)
    assert abs(len(samples) - 0.3 * RATE) <= 1
    assert np.abs(samples[800:-800] - tone(1000)[800 : len(samples) - 800]).max() < 1e-3


def test_channels_are_averaged(tmp_path: Path):
    both = np.stack([tone(500), tone(2000)], axis=1)
    soundfile.write(tmp_path / "both.wav", both, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "both.wav", RATE), both.mean(1), atol=1e-7)


def test_a_higher_tone_sounds_in_a_higher_band():
    assert strongest_band(tone(300)) < strongest_band(tone(1000)) < strongest_band(tone(4000))


def test_frames_are_ten_milliseconds_apart_and_silence_is_finite():
    frames = log_mel(np.zeros(RATE), RATE)
    assert frames.shape == (98, BANDS)  # 1 + (1,000 - 25) // 10
    assert np.isfinite(frames).all()
    assert log_mel(np.zeros(frame_length(RATE) - 1), RATE).shape == (0, BANDS)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6), rate=st.sampled_from([8_000, 11_025, 16_000, 44_100]))
def test_sound_in_pieces_gives_the_frames_of_the_whole(cuts: list[int], rate: int):
    samples = np.random.default_rng(1).normal(scale=0.1, size=5000).astype(np.float32)
    rest, found = samples[:0], []
    for piece in np.split(samples, sorted(cuts)):
        rest = np.concatenate([rest, piece])
        found.append(log_mel(rest, rate))
        rest = rest[len(found[-1]) * frame_shift(rate) :]
    np.testing.assert_array_equal(np.concatenate(found), log_mel(samples, rate))


def test_a_folder_a_label_with_a_recording_a_series_is_read(words: Path):
    found = read_series([words])
    assert [one.labels for one in found.examples] == [("high",)] * 3 + [("low",)] * 3
    assert found.audio
    assert found.channels == tuple(f"mel {band}" for band in range(1, BANDS + 1))
    assert len(found.notes) == 1


def test_lists_that_name_recordings_are_read_from_where_they_stand(words: Path):
    rows = [(f"words/{label}/{number}.wav", label) for label in ("low", "high") for number in range(3)]
    (words.parent / "list.tsv").write_text("path\tlabel\n" + "".join(f"{path}\t{label}\n" for path, label in rows))
    lines = [json.dumps({"audio": path, "label": label}) + "\n" for path, label in rows]
    (words.parent / "list.jsonl").write_text("".join(lines))
    table, objects = (read_series([words.parent / name]) for name in ("list.tsv", "list.jsonl"))
    assert [one.labels for one in table.examples] == [(label,) for _, label in rows]
    assert [one.line for one in table.examples] == [2, 3, 4, 5, 6, 7]
    for first, second in zip(table.examples, objects.examples, strict=True):
        np.testing.assert_array_equal(first.values, second.values)
    assert len(read_series([words / "low" / "0.wav"], labelled=False)) == 1


def test_recordings_that_cannot_be_read_are_left_out_and_named(words: Path):
    (words.parent / "noise.wav").write_bytes(b"RIFF and no more")
    rows = [("words/low/0.wav", "low")] * 8 + [("gone.wav", "low"), ("noise.wav", "low")]
    (words.parent / "list.csv").write_text("file,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    found = read_series([words.parent / "list.csv"])
    assert len(found) == 8
    assert [(line, reason.split(": ")[1][:26]) for _, line, reason in found.bad] == [
        (10, "there is no such file. Che"),
        (11, "this is no recording that "),
    ]


def test_a_row_of_another_width_is_named_in_a_list_of_recordings_too(words: Path):
    rows = ["words/low/0.wav,low"] * 8 + ["words/low/1.wav,low,more"]
    (words.parent / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\n".join(["file,label", *rows]).encode())
    found = read_series([words.parent / "list.csv"])
    assert [(line, reason) for _, line, reason in found.bad] == [(10, "3 cells, not 2")]
    assert "1 of 9 rows are left out" in found.notes[-1]


def test_a_recording_that_is_too_short_is_left_out(words: Path):
    soundfile.write(words / "low" / "click.wav", tone(300, seconds=0.01), RATE)
    found = read_series([words])
    assert [Path(source).name for source, _, _ in found.bad] == ["click.wav"]
    assert "1 of 7 rows are left out" in found.notes[-1]
    assert "the recording is shorter than 0.025 s" in found.notes[-1]


def test_a_sample_that_is_not_finite_is_refused(tmp_path: Path):
    samples = tone(300)
    samples[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"nan\.wav: a sample is not finite"):
        read_audio(tmp_path / "nan.wav", RATE)


@pytest.mark.parametrize("package", ["soundfile", "soxr", "kaldi_native_fbank"])
def test_a_missing_package_names_its_extra(words: Path, monkeypatch: pytest.MonkeyPatch, package: str):
    found = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'rnnkit\[speech\]'"):
        read_series([words])


def test_the_sample_rate_is_chosen(words: Path):
    low, high = (read_series([words], SeriesColumns(sample_rate=rate)) for rate in (8_000, 16_000))
    assert [len(one.values) for one in low.examples] == [len(one.values) for one in high.examples]
    assert not np.array_equal(low.examples[0].values, high.examples[0].values)
