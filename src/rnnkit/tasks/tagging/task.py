"""Tagging: a tag for every word of a sentence, named entities most of all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.baselines.frequent_tag import FrequentTag
from rnnkit.data.holdout import split_examples
from rnnkit.data.ragged import Buckets, in_batches
from rnnkit.data.samples import sample_path
from rnnkit.data.tagged import TaggedSentences, read_tagged, read_untagged
from rnnkit.data.words import WordRules
from rnnkit.decoding.crf import Chain, messages
from rnnkit.errors import ConfigError
from rnnkit.figures import confusion_matrix
from rnnkit.kernels import State
from rnnkit.metrics import calibration_error
from rnnkit.tasks.base import Loss, Task
from rnnkit.tasks.saved import reading
from rnnkit.tasks.scale import search_scale
from rnnkit.tasks.tagging import answering, beginning
from rnnkit.tasks.tagging.config import TaggingConfig
from rnnkit.tasks.tagging.data import TagBatch, TagData
from rnnkit.tasks.tagging.decoding import Decoded, decode_live, decode_whole
from rnnkit.tasks.tagging.features import WordFeatures
from rnnkit.tasks.tagging.network import TaggerNetwork, chain_of
from rnnkit.tasks.tagging.reader import LanguageReader
from rnnkit.tasks.tagging.results import TaggedText
from rnnkit.tasks.tagging.scoring import confusion, tag_metrics
from rnnkit.tasks.tagging.stream import TagStream
from rnnkit.tasks.tagging.tags import MISSING, TagSet

MOST_STEPS = 16_384  # padded words of a batch, in training and scoring
SCORED_ROWS = 128
QUICK_SENTENCES = 2048
QUICK_TOLERANCE, TOLERANCE = 0.1, 1e-4  # on the logarithm of the temperature
EXAMPLES = ("Angela Merkel visited Toyota in Nagoya.", "The Beatles played in Hamburg before they left for London.")


class Scored(NamedTuple):
    """The scores of some sentences."""

    places: np.ndarray
    """(batch,) in the data."""
    scores: Tensor
    """(batch, time, tags) float32."""
    lengths: Tensor
    """(batch,)"""
    targets: Tensor
    """(batch, time)"""


class Tagging(Task):
    """A tagger: trained from files of tagged sentences, it tags texts, whole or as they arrive.

    Args:
        config: Its options.
        words: What training has seen of words.
        tags: Of the training sentences.
        rules: How a raw text is split into words.
        reader: A language model that reads along, if there is one.
        temperature: Scores are divided by it; chosen once training is over.
        notes: What was noticed in the training files.
    """

    name: ClassVar[str] = "tagging"
    aliases: ClassVar[tuple[str, ...]] = ("ner",)
    config_class: ClassVar[type] = TaggingConfig
    objective: ClassVar[str] = "nats"
    baseline_name: ClassVar[str] = "most frequent tag"
    unit: ClassVar[str] = "words"
    starts_from: ClassVar[tuple[str, ...]] = ("language-model",)
    training_defaults: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.003, "batch_size": 16, "validations": 20}
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model} TEXT", "predict {model} FILE")

    config: TaggingConfig
    network: TaggerNetwork

    def __init__(
        self,
        config: TaggingConfig,
        words: WordFeatures,
        tags: TagSet,
        rules: WordRules,
        *,
        reader: LanguageReader | None = None,
        temperature: float = 1.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.config, self.words, self.tags, self.rules = config, words, tags, rules
        self.temperature, self._notes = temperature, tuple(notes)
        self.network = TaggerNetwork(words, chain_of(tags, learnt=config.decoder == "crf"), config, reader)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    @property
    def chain(self) -> Chain:
        """What a path of tags scores beside its words, at the temperature; scores must be divided by it too."""
        return self.network.chain.chain(self.temperature)

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: TaggingConfig) -> TaggedSentences:
        """Read tagged sentences."""
        return read_tagged(paths, config.columns)

    @classmethod
    def split(cls, examples: TaggedSentences, config: TaggingConfig) -> tuple[TaggedSentences, TaggedSentences, str]:
        """Keep a share of the sentences for validation; those that occur twice stay on one side."""
        keys = [" ".join(one.words).encode("utf-8", "surrogatepass") for one in examples.examples]
        train, valid, rule = split_examples(
            examples.examples,
            keys,
            valid_share=config.valid_share,
            unit="sentences",
            where=examples.examples[0].source,
        )
        return TaggedSentences(train, examples.notes), TaggedSentences(valid), rule

    @classmethod
    def prepare(cls, examples: TaggedSentences, config: TaggingConfig, *, start: Any = None) -> Self:
        """Learn words and tags from the training sentences and draw a network, or go on from a trained model's."""
        tags, notes = TagSet.learn(examples.examples, scheme=config.scheme)
        words = beginning.learn_words(_words(examples), config, start=start)
        rules, reader = WordRules.learn(_words(examples)), beginning.choose_reader(start)
        task = cls(config, words, tags, rules, reader=reader, notes=(*examples.notes, *notes))
        beginning.begin(task, start)
        return task

    @classmethod
    def config_from(cls, start: Task) -> TaggingConfig:
        """Return the options of a tagger that goes on from another one, or begins with a language model."""
        return beginning.config_from(start)

    def notes(self) -> list[str]:
        """Say what was noticed in the files, how many words are known, and how often each tag occurs."""
        return [*self._notes, f"vocabulary: {len(self.words.words):,} words", self.tags.note]

    def check(self, examples: TaggedSentences) -> None:
        """Refuse tags that training did not have."""
        self.tags.encode(examples.examples)

    def encode(self, examples: TaggedSentences, folder: Path | None = None) -> TagData:
        """Turn words and tags into numbers."""
        targets = self.tags.encode(examples.examples)
        sentences = [one.words for one in examples.examples]
        data = TagData.encode(self.words, sentences, targets, self.context(sentences))
        if folder is not None:
            data.save(folder)
        return data

    def context(self, sentences: Sequence[Sequence[str]]) -> np.ndarray | None:
        """Read sentences with the language model, if there is one: (words of all sentences, size) float16."""
        if self.network.reader is None:
            return None
        return np.concatenate([part.astype(np.float16) for part in self.network.reader.read(sentences)])

    @classmethod
    def load_data(cls, folder: Path) -> TagData:
        """Read sentences that a run has saved."""
        return TagData.load(folder)

    # Training

    def batches(
        self, data: TagData, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> Buckets[TagBatch]:
        """Batch sentences of like length."""

        def collate(indices: np.ndarray) -> TagBatch:
            return data.batch(indices, device=self.device)

        lengths = data.tokens.lengths
        return Buckets(lengths, collate, batch_size=batch_size, most_steps=MOST_STEPS, seed=seed, part=part)

    def loss(self, batch: TagBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Compare the scores of all words with their tags, as one path a sentence."""
        scores = self.network(batch.inputs, batch.words, batch.lengths, batch.context)
        if self.config.class_weights == "balanced":
            costs = torch.from_numpy(self.tags.costs()).to(scores)[batch.targets.clamp_min(0)]  # (batch, time)
            scores = scores + costs[..., None]
            scores = scores.scatter_add(2, batch.targets.clamp_min(0)[..., None], -costs[..., None])
        losses = self.network.chain.loss(scores, batch.targets, batch.lengths, label_smoothing=label_smoothing)
        return Loss(losses.sum(), int(batch.lengths.sum()))

    def depths(self) -> list[nn.Module]:
        """The vectors of words, then each layer."""
        return [self.network.front, *self.network.stack.layers]

    # Scoring

    def scored(self, data: TagData, *, most: int | None = None) -> Iterator[Scored]:
        """Score sentences, those of like length side by side; `most` takes so many, spread evenly."""
        was_training = self.network.training
        self.network.eval()
        chosen = np.arange(len(data))
        if most is not None and len(data) > most:
            chosen = np.linspace(0, len(data) - 1, most).astype(np.int64)
        for places in in_batches(data.tokens.lengths[chosen], batch_size=SCORED_ROWS, most_steps=MOST_STEPS):
            batch = data.batch(chosen[places], device=self.device)
            with torch.inference_mode():
                scores = self.network(batch.inputs, batch.words, batch.lengths, batch.context).float()
            yield Scored(chosen[places], scores, batch.lengths, batch.targets)
        self.network.train(was_training)

    def quick_score(self, data: TagData) -> float:
        """Measure nats a word at the best temperature, on at most QUICK_SENTENCES sentences."""
        scored = list(self.scored(data, most=QUICK_SENTENCES))
        return self._nats(scored, search_scale(lambda one: self._nats(scored, one), tolerance=QUICK_TOLERANCE))

    def _nats(self, scored: Sequence[Scored], temperature: float, *, doubt: float = 0.0) -> float:
        """Return the nats a word, of the sentences whose tags are all known."""
        total, count = 0.0, 0
        chain = self.network.chain
        with torch.inference_mode():
            for one in scored:
                valid = torch.arange(one.targets.shape[1], device=one.targets.device) < one.lengths[:, None]
                rows = ((one.targets != MISSING) | ~valid).all(1)
                losses = chain.loss(
                    one.scores[rows],
                    one.targets[rows],
                    one.lengths[rows],
                    label_smoothing=doubt,
                    temperature=temperature,
                )
                total, count = total + float(losses.sum()), count + int(one.lengths[rows].sum())
        return total / max(count, 1)

    def calibrate(self, data: TagData) -> bool:
        """Choose the temperature on validation data; of n words one more is supposed to be wrong (Platt 1999)."""
        scored = list(self.scored(data))
        doubt = 1 / (len(data.targets) + 2)
        self.temperature = search_scale(lambda one: self._nats(scored, one, doubt=doubt), tolerance=TOLERANCE)
        return True

    def decode(self, scores: Tensor, lengths: Tensor) -> list[Decoded]:
        """Tag sentences from their scores: whole, or as a stream does where the model can stream."""
        with torch.inference_mode():
            scores, chain = scores / self.temperature, self.chain
            if self.network.streamable:
                return decode_live(chain, scores, lengths, lag=self.config.lag)
            return decode_whole(chain, scores, lengths, messages(chain, scores, lengths))

    def score(self, data: TagData) -> dict[str, float]:
        """Measure the tags of all sentences."""
        scored = list(self.scored(data))
        found = self._decoded(scored)
        sure = [one.probabilities for one in found.values()]
        right = [one.numbers == data.tags(place) for place, one in found.items()]
        measured = {"nats": self._nats(scored, self.temperature)}
        measured |= self._measure(data, {place: one.numbers for place, one in found.items()})
        return {**measured, "ece": calibration_error(np.concatenate(sure), np.concatenate(right))}

    def _decoded(self, scored: Sequence[Scored]) -> dict[int, Decoded]:
        return {
            int(place): decoded
            for one in scored
            for place, decoded in zip(one.places, self.decode(one.scores, one.lengths), strict=True)
        }

    def _measure(self, data: TagData, found: Mapping[int, np.ndarray]) -> dict[str, float]:
        expected, unknown = [data.tags(place) for place in found], [data.unknown(place) for place in found]
        return tag_metrics(self.tags, list(found.values()), expected, unknown)

    def draw(self, data: TagData, folder: Path, *, title: str) -> list[Path]:
        """Draw which tag, or type of entity, words were taken for."""
        found = self._decoded(list(self.scored(data)))
        right = [data.tags(place) for place in found]
        names, counts = confusion(self.tags, [one.numbers for one in found.values()], right)
        confusion_matrix(counts, names, folder / "confusion.png", title=title)
        return [folder / "confusion.png"]

    # The baseline

    def fit_baseline(self, data: TagData) -> FrequentTag:
        """Count which tags each training word has."""
        return FrequentTag.fit(data.read(), data.tokens.values, data.targets, num_tags=len(self.tags))

    def save_baseline(self, baseline: FrequentTag, folder: Path) -> None:
        """Write tags.npz and words.json."""
        baseline.save(folder)

    def load_baseline(self, folder: Path) -> FrequentTag:
        """Read the baseline of a run."""
        return FrequentTag.load(folder)

    def score_baseline(self, baseline: FrequentTag, data: TagData) -> dict[str, float]:
        """Measure the baseline on the same sentences."""
        probabilities = baseline.probabilities(data.read())
        known = data.targets != MISSING
        given = probabilities[data.tokens.values[known], data.targets[known]]
        best = probabilities.argmax(1)
        found = {place: best[data.tokens[place]] for place in range(len(data))}
        return {"nats": float(-np.log(given).mean()), **self._measure(data, found)}

    # Use

    def read_inputs(self, path: Path) -> list[Any]:
        """Read texts, or sentences of words, of a file."""
        return list(read_untagged(path, self.config.columns))

    def parse_inputs(self, text: str) -> list[str]:
        """Take every line of standard input as a text."""
        return [line for line in text.splitlines() if line.strip()]

    def steps_of(self, text: str) -> list[str]:
        """Name the steps in which the network reads a text."""
        return [text[start:end] for start, end in self.rules.split(text)]

    def predict(self, inputs: Sequence[str | Sequence[str]], *, candidates: int = 1) -> list[TaggedText]:
        """Tag texts.

        Args:
            inputs: Texts, each line of which is a sentence; or sentences of words.
            candidates: More than 1 names so many ways to tag a text of one line.

        Returns:
            One result a text.
        """
        return answering.answer(self, inputs, readings=candidates if candidates > 1 else 0)

    def stream(self, *, candidates: int = 1) -> TagStream:
        """Begin a text that is still being written.

        Args:
            candidates: Of no effect: an event gives the one tag that is final.

        Returns:
            The stream.

        Raises:
            ConfigError: If the model reads backwards too.
        """
        del candidates
        if not self.network.streamable:
            raise ConfigError(
                "a bidirectional model needs the whole sentence before it can say anything, so it cannot stream; "
                "use predict, or train one with --no-bidirectional"
            )
        return TagStream(self)

    def show(self) -> list[str]:
        """Tag two sentences."""
        lines = [""]
        for one in self.predict(EXAMPLES):
            lines.append(one.text)
            lines += [f"    {part.label}  {part.probability:.0%}  {part.text}" for part in one.entities]
            if self.tags.scheme is None:
                lines.append("    " + "  ".join(f"{word.text}/{word.tag}" for word in one.words))
        return lines

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: sentences of Wikipedia with persons, places, organisations and other names."""
        return sample_path("entities")

    def save_assets(self, folder: Path) -> None:
        """Write words.json, tags.json, text.json and temperature.json."""
        self.words.save(folder)
        self.tags.save(folder)
        if self.network.reader is not None:
            self.network.reader.save(folder)
        (folder / "text.json").write_text(json.dumps({"rules": self.rules.to_dict(), "notes": self._notes}))
        (folder / "temperature.json").write_text(json.dumps(self.temperature))

    @classmethod
    def load_assets(cls, folder: Path, config: TaggingConfig) -> Self:
        """Rebuild a tagger from what `save_assets` wrote.

        Returns:
            The tagger, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        with reading(folder):
            saved = json.loads((folder / "text.json").read_text())
            rules = WordRules.from_dict(saved["rules"])
            temperature = float(json.loads((folder / "temperature.json").read_text()))
            notes = [str(note) for note in saved["notes"]]
        words, tags = WordFeatures.load(folder), TagSet.load(folder)
        reader = LanguageReader.load(folder)
        return cls(config, words, tags, rules, reader=reader, temperature=temperature, notes=notes)


def _words(examples: TaggedSentences) -> Iterator[str]:
    return (word for one in examples.examples for word in one.words)
