"""Speech recognition: what is said in a recording, or into a microphone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from rnnkit.data.audio import SHIFT_SECONDS, WINDOW_SECONDS, log_mel
from rnnkit.data.holdout import split_examples
from rnnkit.data.ragged import Buckets, Ragged, in_batches
from rnnkit.data.recordings import Recording, Recordings, read_recordings
from rnnkit.data.samples import sample_path
from rnnkit.data.scratch import scratch_folder
from rnnkit.data.texts import keep_bytes
from rnnkit.data.tokens import Vocabulary
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.data.vocabulary import save as save_vocabulary
from rnnkit.decoding.hypotheses import Answer, Decoder, decode
from rnnkit.errors import ConfigError, DataError
from rnnkit.figures import confusion_matrix
from rnnkit.kernels import State
from rnnkit.metrics.speech import require_jiwer, speech_metrics
from rnnkit.tasks.base import Comparison, Loss, Task
from rnnkit.tasks.saved import reading
from rnnkit.tasks.speech.baseline import NearestRecording
from rnnkit.tasks.speech.config import SpeechConfig
from rnnkit.tasks.speech.data import SpeechData, TrainingRecordings, lay_out, learnable
from rnnkit.tasks.speech.endpoint import Endpoints
from rnnkit.tasks.speech.features import Level
from rnnkit.tasks.speech.heads import SpeechBatch
from rnnkit.tasks.speech.network import SpeechNetwork
from rnnkit.tasks.speech.results import Transcript
from rnnkit.tasks.speech.search import Search
from rnnkit.tasks.speech.stream import SpeechStream
from rnnkit.tasks.speech.text import normalise, written
from rnnkit.tasks.speech.transcribing import transcribe
from rnnkit.tasks.speech.trials import confused_words, trial_remarks
from rnnkit.tasks.weights import take_weights

SCORED_ROWS, MOST_FRAMES = 16, 24_000  # of a batch
QUICK_RECORDINGS = 300
LEVEL_RECORDINGS = 500  # that tell the usual level
HIGHEST_RATE = 16_000  # samples a second; what speech has above 8 kHz tells little
SHOWN_EVERY = 5  # recordings of the sample
GREEDY, USUAL_ENDS = Search(), Endpoints()
SILENCE = np.empty(0, dtype=np.int64)  # no token


class SpeechRecognition(Task):
    """A recogniser: trained from recordings and their texts, it says what is said, and when.

    Args:
        config: Its options.
        vocabulary: Of the texts.
        level: Of the training recordings.
        sample_rate: Samples a second that it hears.
        notes: What was noticed in the training files.
    """

    name: ClassVar[str] = "speech"
    aliases: ClassVar[tuple[str, ...]] = ("asr",)
    config_class: ClassVar[type] = SpeechConfig
    objective: ClassVar[str] = "cer"
    baseline_name: ClassVar[str] = "nearest recording"
    training_defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 128, "learning_rate": 0.003, "validations": 20}
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model} FILE", "stream {model} < SOUND")

    config: SpeechConfig
    network: SpeechNetwork

    def __init__(
        self,
        config: SpeechConfig,
        vocabulary: Vocabulary,
        level: Level,
        *,
        sample_rate: int,
        notes: Sequence[str] = (),
    ) -> None:
        self.config, self.vocabulary, self.level, self._notes = config, vocabulary, level, tuple(notes)
        self.sample_rate = sample_rate
        self.network = SpeechNetwork(vocabulary.size, config)

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: SpeechConfig) -> Recordings:
        """Read lists or folders of recordings and texts."""
        require_jiwer()
        return read_recordings(paths, config.columns)

    @classmethod
    def split(cls, examples: Recordings, config: SpeechConfig) -> tuple[Recordings, Recordings, str]:
        """Keep a share of the recordings for validation, by a hash of their files' names."""
        keys = [" ".join(path.name for path in one.paths).encode() for one in examples.examples]
        train, valid, rule = split_examples(
            examples.examples,
            keys,
            valid_share=config.valid_share,
            unit="recordings",
            where=examples.examples[0].source,
        )
        return replace(examples, examples=train), Recordings(valid), rule

    @classmethod
    def prepare(cls, examples: Recordings, config: SpeechConfig, *, start: Self | None = None) -> Self:
        """Learn sample rate, vocabulary and level from the training recordings, and draw a network or go on."""
        if start is not None:
            task = cls(config, start.vocabulary, start.level, sample_rate=start.sample_rate, notes=examples.notes)
            take_weights(task.network, start.network)
            return task
        rate = config.sample_rate or examples.sample_rate(most=HIGHEST_RATE)
        texts = [normalise(one.text, config) for one in examples.examples]
        joined = [f"{texts[0]} {texts[-1]}"] if config.augment_join else []  # a space, where no text has one
        vocabulary = config.learn_vocabulary([*texts, *joined])
        chosen = np.linspace(0, len(examples) - 1, min(len(examples), LEVEL_RECORDINGS)).astype(int)
        heard = (log_mel(examples.examples[index].samples(rate), rate, bands=config.bands) for index in chosen)
        task = cls(config, vocabulary, Level.learn(heard), sample_rate=rate, notes=examples.notes)
        task._count_left_out(examples)
        return task

    def _count_left_out(self, examples: Recordings) -> None:
        """Say which recordings are too short for their texts."""
        wrong = [one for one in examples.examples if not self._can_say(one)]
        if len(wrong) == len(examples):
            raise DataError(f"{wrong[0].place}: every recording is too short for its text; look at the lists.")
        if wrong:
            shown = ", ".join(f"{one.place} ({one.seconds:.2f} s: {one.text[:30]!r})" for one in wrong[:3])
            self._notes += (
                f"{len(wrong):,} of {len(examples):,} recordings are too short for their text and not learnt from: "
                f"{shown}",
            )

    def _can_say(self, one: Recording) -> bool:
        frames = max(0, 1 + int((one.seconds - WINDOW_SECONDS) / SHIFT_SECONDS))
        tokens = self.vocabulary.encode(normalise(one.text, self.config))
        return bool(learnable(np.array([frames]), [tokens], self.config)[0])

    def notes(self) -> list[str]:
        """Say what was noticed in the files, how sound is heard, and how large the vocabulary is."""
        return [
            *self._notes,
            f"heard at {self.sample_rate:,} samples a second in {self.config.bands} mel bands",
            f"vocabulary: {self.vocabulary.size:,} tokens ({self.config.vocabulary})",
        ]

    def encode(self, examples: Recordings, folder: Path | None = None) -> SpeechData:
        """Turn recordings into frames, one after the other, and texts into tokens."""
        if folder is None:
            with scratch_folder() as aside:
                return self.encode(examples, aside)
        texts = [normalise(one.text, self.config) for one in examples.examples]
        like = np.empty((0, self.config.bands), dtype=np.float32)
        frames = Ragged.write(folder, "frames", (self._hear(one) for one in examples.examples), like=like)
        tokens = Ragged.join(map(self.vocabulary.encode, texts), like=np.empty(0, dtype=np.int64))
        data = SpeechData(frames, tokens, keep_bytes(texts), keep_bytes([one.place for one in examples.examples]))
        data.save(folder)
        return data

    def _hear(self, one: Recording) -> np.ndarray:
        return log_mel(one.samples(self.sample_rate), self.sample_rate, bands=self.config.bands)

    @classmethod
    def load_data(cls, folder: Path) -> SpeechData:
        """Read frames and tokens that a run has saved."""
        return SpeechData.load(folder)

    def place(self, frames: np.ndarray, state: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Bring frames, (frames, bands), to their level; `state` goes on from the frames before."""
        begun = self.level.begin() if state is None else state
        return self.level.apply(frames, begun, running=self.config.normalization == "running")

    # Training

    def batches(
        self, data: SpeechData, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> Buckets[SpeechBatch]:
        """Batch recordings of like length, varied anew each time."""
        kept = np.flatnonzero(learnable(data.frames.lengths, data.tokens, self.config))
        return Buckets(
            data.frames.lengths[kept],
            TrainingRecordings(self, data, kept),
            batch_size=batch_size,
            most_steps=round(self.config.batch_seconds / SHIFT_SECONDS),
            seed=seed,
            part=part,
        )

    def loss(self, batch: SpeechBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Sum over all ways to say the texts."""
        del carry
        placed = SpeechBatch(*(part.to(self.network.device) for part in batch))
        return Loss(self.network.loss(placed, label_smoothing=label_smoothing), int(batch.counts.sum()))

    def depths(self) -> list[nn.Module]:
        """The convolutions, then the recurrent layers."""
        return [self.network.front, *self.network.stack.layers]

    # Scoring

    def quick_score(self, data: SpeechData) -> float:
        """Measure the characters that the likeliest tokens get wrong, in some recordings."""
        chosen = np.unique(np.linspace(0, len(data) - 1, min(len(data), QUICK_RECORDINGS)).astype(int))
        references = data.references()
        return speech_metrics(self._texts(data, chosen, GREEDY), [references[index] for index in chosen])["cer"]

    def score(self, data: SpeechData, *, search: Search = GREEDY) -> dict[str, float]:
        """Measure nats a token, and shares of words, characters and texts that are wrong."""
        return self._measured(data, self._texts(data, np.arange(len(data)), search))

    def _measured(self, data: SpeechData, texts: Sequence[str]) -> dict[str, float]:
        return {"nats": self._nats(data), **speech_metrics(texts, data.references())}

    def _texts(self, data: SpeechData, chosen: np.ndarray, search: Search) -> list[str]:
        answers = self.answers([data.frames[index] for index in chosen], search=search)
        return [written(self.vocabulary, best[0].said) for best in answers]

    def _nats(self, data: SpeechData) -> float:
        """Measure the loss where the texts can be said at all."""
        was_training = self.network.training
        self.network.eval()
        kept = np.flatnonzero(learnable(data.frames.lengths, data.tokens, self.config))
        total, count, lengths = 0.0, 0, data.frames.lengths[kept]
        with torch.inference_mode():
            for places in in_batches(lengths, batch_size=SCORED_ROWS, most_steps=MOST_FRAMES):
                rows = kept[places]
                loss = self.loss(
                    lay_out([self.place(data.frames[row])[0] for row in rows], [data.tokens[row] for row in rows])
                )
                total, count = total + float(loss.total), count + loss.count
        self.network.train(was_training)
        return total / max(count, 1)

    def answers(self, recordings: Sequence[np.ndarray], *, search: Search, count: int = 1) -> list[list[Answer]]:
        """Look for the likeliest texts of recordings as they were heard, (frames, bands) each."""
        was_training = self.network.training
        self.network.eval()
        found: dict[int, list[Answer]] = {}
        sizes = np.array([len(one) for one in recordings])
        for places in in_batches(sizes, batch_size=SCORED_ROWS, most_steps=MOST_FRAMES):
            batch = lay_out([self.place(recordings[place])[0] for place in places], [SILENCE] * len(places))
            frames, lengths = batch.frames.to(self.network.device), batch.lengths.to(self.network.device)
            with torch.inference_mode():
                heard, steps = self.network(frames, lengths)
            for place, rows, valid in zip(
                places.tolist(), self.network.head.sayable(heard), steps.tolist(), strict=True
            ):
                found[place] = decode(self.decoder(search), rows[:valid], count=count)
        self.network.train(was_training)
        return [found[place] for place in range(len(recordings))]

    def decoder(self, search: Search) -> Decoder:
        """Return a new decoder of what the network hears."""
        return self.network.head.decoder(search.beam, search.fusion(self.vocabulary))

    def compare(self, baseline: NearestRecording | None, data: SpeechData, *, search: Search = GREEDY) -> Comparison:
        """Measure the model and the nearest recording; say which texts and words go wrong most."""
        texts, references = self._texts(data, np.arange(len(data)), search), data.references()
        metrics = self._measured(data, texts)
        if baseline is None:
            return Comparison(metrics, {})
        others = {self.baseline_name: self.score_baseline(baseline, data)}
        remarks = trial_remarks(texts, references, data.places())
        return Comparison(metrics, others, remarks=(*data.unknown_remarks(), *remarks))

    def draw(self, data: SpeechData, folder: Path, *, title: str) -> list[Path]:
        """Draw which word was heard in the place of which."""
        counts, names = confused_words(self._texts(data, np.arange(len(data)), GREEDY), data.references())
        path = folder / "confusions.png"
        confusion_matrix(counts, names, path, title=title)
        return [path]

    # The baseline

    def fit_baseline(self, data: SpeechData) -> NearestRecording:
        """Keep the training recordings for comparison."""
        return NearestRecording.fit(list(data.frames), data.references())

    def save_baseline(self, baseline: NearestRecording, folder: Path) -> None:
        """Write the recordings and their texts."""
        baseline.save(folder)

    def load_baseline(self, folder: Path) -> NearestRecording:
        """Read the baseline of a run."""
        return NearestRecording.load(folder)

    def score_baseline(self, baseline: NearestRecording, data: SpeechData) -> dict[str, float]:
        """Measure the texts of the nearest recordings."""
        return speech_metrics(baseline.answer(list(data.frames)), data.references())

    # Use

    def read_inputs(self, path: Path) -> list[Recording]:
        """Take a recording, or those of a list or folder."""
        return list(read_recordings([path], self.config.columns, spoken=False).examples)

    def parse_input(self, text: str) -> Recording:
        """Refuse what is typed: recordings are files."""
        raise DataError(f"{text[:60]!r} is no file; expected a recording, a list of recordings or a folder of them.")

    def parse_inputs(self, text: str) -> list[Recording]:
        """Take every line of standard input as the name of a recording."""
        return [one for line in text.splitlines() if line.strip() for one in self.read_inputs(Path(line.strip()))]

    def predict(
        self,
        inputs: Sequence[Recording | str | Path | np.ndarray],
        *,
        candidates: int = 1,
        search: Search = GREEDY,
    ) -> list[Transcript]:
        """Say what is said in recordings.

        Args:
            inputs: Names of files, or (samples,) in [-1, 1] at the model's sample rate.
            candidates: How many readings to name; more than one needs a beam.
            search: How to look for the likeliest text.

        Returns:
            One transcript each.

        Raises:
            DataError: If a recording cannot be read.
        """
        return transcribe(self, inputs, candidates=candidates, search=search)

    def stream(
        self, *, candidates: int = 5, search: Search = GREEDY, endpoints: Endpoints = USUAL_ENDS
    ) -> SpeechStream:
        """Begin to listen.

        Args:
            candidates: Unused.
            search: How to look for the likeliest text.
            endpoints: When a segment's text is final.

        Returns:
            The stream.

        Raises:
            ConfigError: If the model reads backwards too.
        """
        del candidates
        if not self.network.streamable:
            raise ConfigError(
                "the model is bidirectional, so it needs the whole recording and cannot stream; use predict, or train "
                "one without --bidirectional"
            )
        return SpeechStream(self, search=search, endpoints=endpoints)

    def show(self) -> list[str]:
        """Transcribe some recordings of the bundled sample."""
        chosen = read_recordings([self.demo_data()]).examples[::SHOWN_EVERY]
        found = self.predict(chosen)
        return ["", *(f"said: {one.text:<8} heard: {heard.text}" for one, heard in zip(chosen, found, strict=True))]

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: 40 recordings of digits by three people."""
        return sample_path("digits")

    def save_assets(self, folder: Path) -> None:
        """Write vocabulary.json and sound.json."""
        save_vocabulary(self.vocabulary, folder / "vocabulary.json")
        facts = {"sample_rate": self.sample_rate, "level": self.level.facts(), "notes": self._notes}
        (folder / "sound.json").write_text(json.dumps(facts))

    @classmethod
    def load_assets(cls, folder: Path, config: SpeechConfig) -> Self:
        """Rebuild a recogniser from what `save_assets` wrote.

        Returns:
            The recogniser, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        path = folder / "sound.json"
        with reading(path):
            facts = json.loads(path.read_text())
            level, notes = Level.from_facts(facts["level"]), [str(note) for note in facts["notes"]]
            sample_rate = int(facts["sample_rate"])
            if level.means.shape != (config.bands,) or level.deviations.shape != (config.bands,):
                raise ValueError(f"the level has {level.means.shape} bands; expected {config.bands}")
        vocabulary = load_vocabulary(folder / "vocabulary.json")
        return cls(config, vocabulary, level, sample_rate=sample_rate, notes=notes)
