"""Text classification: a label, or some, for a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.baselines.tfidf import TfidfLogistic
from rnnkit.data.examples import LabelledTexts, read_labelled_texts, read_unlabelled_texts
from rnnkit.data.ragged import Ragged, in_batches
from rnnkit.data.samples import sample_path
from rnnkit.data.texts import encode_texts, keep_bytes
from rnnkit.data.tokens import Vocabulary
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.data.vocabulary import save as save_vocabulary
from rnnkit.errors import ConfigError
from rnnkit.tasks.base import Task
from rnnkit.tasks.classification import (
    Classification,
    ClassifierNetwork,
    Decision,
    Labels,
)
from rnnkit.tasks.classification.base import MOST_STEPS, SCORED_ROWS
from rnnkit.tasks.classification.labels import split_by_label
from rnnkit.tasks.classification.network import CHUNK_STEPS
from rnnkit.tasks.saved import reading
from rnnkit.tasks.text_classification import beginning
from rnnkit.tasks.text_classification.config import TextClassificationConfig
from rnnkit.tasks.text_classification.data import TextData
from rnnkit.tasks.text_classification.naive_bayes import NaiveBayes
from rnnkit.tasks.text_classification.network import TokenFront, make_network
from rnnkit.tasks.text_classification.results import TextLabel, text_label
from rnnkit.tasks.text_classification.stream import ScoreStream
from rnnkit.tasks.text_classification.text import normalise

EXAMPLES = ("A slow start, then pure joy.", "Two hours of my life that I will never get back.")


class TextClassification(Classification):
    """A classifier of texts: trained from files of texts and labels, it answers texts, whole or as they arrive.

    Args:
        config: Its options.
        vocabulary: Learnt from the training texts.
        labels: Of the training texts.
        direct: What their words say of the labels by counting, if that is asked for.
        decision: How scores become an answer.
        notes: What was noticed in the training files.
    """

    name: ClassVar[str] = "text-classification"
    aliases: ClassVar[tuple[str, ...]] = ("sentiment",)
    config_class: ClassVar[type] = TextClassificationConfig
    baseline_name: ClassVar[str] = "TF-IDF + logistic regression"
    unit: ClassVar[str] = "texts"
    training_defaults: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.003, "validations": 20}
    starts_from: ClassVar[tuple[str, ...]] = ("language-model",)
    uses: ClassVar[tuple[str, ...]] = (
        "evaluate {model} FILE",
        "predict {model} TEXT",
        "predict {model} FILE",
        "stream {model} < FILE",
    )

    config: TextClassificationConfig

    def __init__(
        self,
        config: TextClassificationConfig,
        vocabulary: Vocabulary,
        labels: Labels,
        *,
        direct: NaiveBayes | None = None,
        decision: Decision = Decision(),  # noqa: B008 - frozen
        notes: Sequence[str] = (),
    ) -> None:
        self.vocabulary, self._notes = vocabulary, tuple(notes)
        super().__init__(config, labels, decision, direct)

    def make_network(self) -> ClassifierNetwork:
        """Draw a new network."""
        return make_network(self.vocabulary.size, len(self.labels), self.config, self.direct)

    @property
    def front(self) -> TokenFront:
        """The part of the network that looks tokens up."""
        assert isinstance(self.network.front, TokenFront)
        return self.network.front

    def token_vectors(self) -> Tensor:
        """Return the vectors of all tokens, (vocabulary_size, embedding_size)."""
        return self.front.embedding.weight.detach()

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: TextClassificationConfig) -> LabelledTexts:
        """Read labelled texts."""
        return read_labelled_texts(paths, config.columns)

    @classmethod
    def split(
        cls, examples: LabelledTexts, config: TextClassificationConfig
    ) -> tuple[LabelledTexts, LabelledTexts, str]:
        """Keep a share of every label for validation; texts that occur twice stay on one side."""
        keys = [one.text.encode("utf-8", "surrogatepass") for one in examples.examples]
        train, valid, rule = split_by_label(examples.examples, keys, valid_share=config.valid_share, unit=cls.unit)
        return LabelledTexts(train, examples.notes), LabelledTexts(valid), rule

    @classmethod
    def config_from(cls, start: Task) -> TextClassificationConfig:
        """Return the options of a classifier that goes on from a language model or a classifier."""
        return beginning.config_from(start)

    @classmethod
    def prepare(cls, examples: LabelledTexts, config: TextClassificationConfig, *, start: Any = None) -> Self:
        """Learn vocabulary and labels from the training texts and draw a network, or go on from a trained model's."""
        labels = Labels.learn([one.labels for one in examples.examples], where=examples.examples[0].source)
        vocabulary = beginning.choose_vocabulary(
            [normalise(one.text, config) for one in examples.examples], config, start
        )
        direct = None
        if config.direct:
            texts = encode_texts(vocabulary, [normalise(one.text, config) for one in examples.examples])
            targets = labels.encode((one.labels, one.place) for one in examples.examples)
            direct = NaiveBayes.count(texts, targets, num_tokens=vocabulary.size, num_labels=len(labels))
        task = cls(config, vocabulary, labels, direct=direct, notes=examples.notes)
        beginning.begin(task, start)
        return task

    def notes(self) -> list[str]:
        """Say what was noticed in the files, how large the vocabulary is, and how often each label occurs."""
        vocabulary = f"vocabulary: {self.vocabulary.size:,} tokens ({self.config.vocabulary})"
        return [*self._notes, vocabulary, self.labels.note]

    def encode(self, examples: LabelledTexts, folder: Path | None = None) -> TextData:
        """Turn texts into tokens and labels into numbers."""
        texts = [one.text for one in examples.examples]
        targets = self.labels.encode((one.labels, one.place) for one in examples.examples)
        data = TextData(self.tokens(texts), targets, keep_bytes(texts))
        if folder is not None:
            data.save(folder)
        return data

    def tokens(self, texts: Sequence[str]) -> Ragged:
        """Turn texts into tokens."""
        return encode_texts(self.vocabulary, [normalise(text, self.config) for text in texts])

    @classmethod
    def load_data(cls, folder: Path) -> TextData:
        """Read tokens that a run has saved."""
        return TextData.load(folder)

    # The baseline

    def fit_baseline(self, data: TextData) -> TfidfLogistic:
        """Fit a logistic regression on TF-IDF of words and pairs of words to the training texts."""
        return TfidfLogistic.fit(data.read(), data.targets, num_labels=len(self.labels))

    def save_baseline(self, baseline: TfidfLogistic, folder: Path) -> None:
        """Write tfidf.npz and terms.json."""
        baseline.save(folder)

    def load_baseline(self, folder: Path) -> TfidfLogistic:
        """Read the baseline of a run."""
        return TfidfLogistic.load(folder)

    def score_baseline(self, baseline: TfidfLogistic, data: TextData) -> dict[str, float]:
        """Measure the baseline on the same texts."""
        return Decision().metrics(baseline.probabilities(data.read()), data.targets)

    # Use

    def read_inputs(self, path: Path) -> list[str]:
        """Read the texts of a file: of a table or JSON lines its column of texts, of any other file its lines."""
        return [one.text for one in read_unlabelled_texts([path], self.config.columns).examples]

    def parse_inputs(self, text: str) -> list[str]:
        """Take every line of standard input as a text."""
        return [line for line in text.splitlines() if line.strip()]

    def steps_of(self, text: str) -> list[str]:
        """Name the steps in which the network reads a text."""
        return [self.vocabulary.piece(token) for token in self.tokens([text])[0].tolist()]

    def predict(self, inputs: Sequence[str], *, candidates: int = 10, running: bool | None = None) -> list[TextLabel]:
        """Label texts.

        Args:
            inputs: Texts.
            candidates: How many likely labels to name.
            running: Whether to give the answer after each token too; None does where the model can.

        Returns:
            One result a text.
        """
        self.network.eval()
        tokens = self.tokens(inputs)
        live = self.network.streamable if running is None else running and self.network.streamable
        results: dict[int, TextLabel] = {}
        for places in in_batches(tokens.lengths, batch_size=SCORED_ROWS, most_steps=MOST_STEPS):
            rows, lengths = tokens.padded(places)
            indices: list[int] = places.tolist()
            for index, answers, ids in zip(indices, self._answers(rows, lengths, live), rows, strict=True):
                results[index] = text_label(
                    inputs[index],
                    ids[: len(tokens[index])],
                    answers,
                    vocabulary=self.vocabulary,
                    labels=self.labels,
                    decision=self.decision,
                    count=candidates,
                    live=live,
                )
        return [results[index] for index in range(len(inputs))]

    def _answers(self, rows: np.ndarray, lengths: np.ndarray, live: bool) -> list[np.ndarray]:
        """Return for each row (tokens, labels) after every token, or (1, labels) after the last."""
        inputs, sizes = torch.from_numpy(rows.astype(np.int64)).to(self.device), torch.from_numpy(lengths)
        with torch.inference_mode():
            if not live:
                return list(self.answers(self.network(inputs, sizes.to(self.device)))[:, None])
            state, parts = self.network.initial_state(len(rows)), []
            for chunk in inputs.split(CHUNK_STEPS, dim=1):
                answers, state = self.answering(chunk, state)
                parts.append(answers.numpy())
        return [row[:length] for row, length in zip(np.concatenate(parts, axis=1), lengths, strict=True)]

    def stream(self, *, candidates: int = 5) -> ScoreStream:
        """Begin a text that is still being written.

        Args:
            candidates: How many likely labels an event lists.

        Returns:
            The stream.

        Raises:
            ConfigError: If the model reads backwards too.
        """
        if not self.network.streamable:
            raise ConfigError(
                "a bidirectional model needs the whole text before it can say anything, so it cannot stream; "
                "use predict, or train one without --bidirectional"
            )
        return ScoreStream(self, candidates=candidates)

    def show(self) -> list[str]:
        """Label two texts."""
        found = self.predict(EXAMPLES, candidates=1, running=False)
        return ["", *(f"{one.label}  {one.probability:.0%}  {one.text}" for one in found)]

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: 1,000 sentences from reviews, 1 for a good and 0 for a bad one."""
        return sample_path("reviews")

    def save_assets(self, folder: Path) -> None:
        """Write vocabulary.json, labels.json, decision.json and text.json."""
        super().save_assets(folder)
        save_vocabulary(self.vocabulary, folder / "vocabulary.json")
        (folder / "text.json").write_text(json.dumps({"notes": self._notes}))

    @classmethod
    def load_assets(cls, folder: Path, config: TextClassificationConfig) -> Self:
        """Rebuild a classifier from what `save_assets` wrote.

        Returns:
            The classifier, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        path = folder / "text.json"
        with reading(path):
            notes = [str(note) for note in json.loads(path.read_text())["notes"]]
        vocabulary, labels = load_vocabulary(folder / "vocabulary.json"), Labels.load(folder)
        direct = NaiveBayes.load(folder)
        return cls(config, vocabulary, labels, direct=direct, decision=Decision.load(folder), notes=notes)
