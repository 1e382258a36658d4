"""Recognisers of speech, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnkit.data.audio import checked_samples, log_mel, read_audio
from rnnkit.data.tokens import UNKNOWN
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.decoding.ctc import GreedyCTC
from rnnkit.decoding.hypotheses import LEAST
from rnnkit.runner.base import Runner
from rnnkit.tasks.saved import reading
from rnnkit.tasks.speech.features import TAIL_FRAMES, Level
from rnnkit.tasks.speech.results import Transcript
from rnnkit.tasks.speech.text import confidence, step_seconds, words, written


class SpeechRunner(Runner):
    """A recogniser: the likeliest token of every step; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.vocabulary = load_vocabulary(folder / "vocabulary.json")
        with reading(folder / "sound.json"):
            facts = json.loads((folder / "sound.json").read_text())
            self.level, self.sample_rate = Level.from_facts(facts["level"]), int(facts["sample_rate"])

    def predict(self, inputs: Sequence[str | Path | np.ndarray]) -> list[Transcript]:
        """Say what is said in recordings, names of files or (samples,), as `SpeechRecognition.predict` does."""
        return [self._transcript(one, number) for number, one in enumerate(inputs, start=1)]

    def _transcript(self, one: str | Path | np.ndarray, number: int) -> Transcript:
        name = f"recording {number}" if isinstance(one, np.ndarray) else str(one)
        samples = checked_samples(one if isinstance(one, np.ndarray) else read_audio(one, self.sample_rate))
        frames = log_mel(samples, self.sample_rate, bands=self.config.bands)
        running = self.config.normalization == "running"
        placed = self.level.apply(frames, self.level.begin(), running=running)[0]
        # Zeros up to a whole step: where the model pads what its convolutions say, the last step may differ in digits.
        behind = TAIL_FRAMES + -(len(placed) + TAIL_FRAMES) % self.graph.multiple
        said = self.graph.read(np.pad(placed, ((0, behind), (0, 0)))[None])[0][0]
        said[:, UNKNOWN] = LEAST
        decoder, seconds = GreedyCTC(), len(samples) / self.sample_rate
        decoder.push(said)
        tokens = decoder.answers()[0].said
        heard = words(self.vocabulary, tokens, step_seconds=step_seconds(self.config), most=seconds)
        return Transcript(name, written(self.vocabulary, tokens), heard, confidence(tokens), round(seconds, 3), ())
