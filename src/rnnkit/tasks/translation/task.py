"""Translation: a sentence read whole, and said again in other words by a search for the likeliest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.baselines.lexicon import Lexicon
from rnnkit.data.holdout import split_examples
from rnnkit.data.pairs import Pairs, read_pairs
from rnnkit.data.ragged import Buckets, Ragged, in_batches
from rnnkit.data.readers import read_text
from rnnkit.data.samples import sample_path
from rnnkit.data.texts import encode_texts, keep_bytes, read_bytes
from rnnkit.data.tokens import Vocabulary
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.data.vocabulary import save as save_vocabulary
from rnnkit.decoding.beam import Beam
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError, DataError
from rnnkit.kernels import State
from rnnkit.layers.softmax import IGNORED
from rnnkit.metrics.language import exponential
from rnnkit.metrics.translation import bleu_interval, require_sacrebleu, translation_metrics
from rnnkit.streaming import Stream
from rnnkit.tasks.base import Comparison, Loss, Task
from rnnkit.tasks.saved import reading
from rnnkit.tasks.translation.batches import TrainingPairs, lay_out
from rnnkit.tasks.translation.config import TranslationConfig
from rnnkit.tasks.translation.data import PairBatch, PairData, learnable
from rnnkit.tasks.translation.network import Decoding, TranslationNetwork
from rnnkit.tasks.translation.results import Translation
from rnnkit.tasks.translation.text import normalise
from rnnkit.tasks.translation.text_search import TextSearch
from rnnkit.tasks.weights import take_weights

SCORED_ROWS, MOST_STEPS = 64, 16_384  # of a batch, padded source and target tokens
QUICK_PAIRS = 2000
DEFAULT_BEAM = Beam()
EXAMPLES = ("He is my brother.", "Where are you going?")


class Translator(Task):
    """A translator: trained from pairs, it translates, with alternatives and what it looked at.

    Args:
        config: Its options.
        vocabularies: Of the source and of the target; the same one where the config says joint.
        notes: What was noticed in the training files.
    """

    name: ClassVar[str] = "translation"
    aliases: ClassVar[tuple[str, ...]] = ("translate",)
    config_class: ClassVar[type] = TranslationConfig
    objective: ClassVar[str] = "nats"
    baseline_name: ClassVar[str] = "word by word"
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "batch_size": 64,
        "learning_rate": 0.003,
        "label_smoothing": 0.1,
        "validations": 20,
    }
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model} TEXT", "predict {model} FILE")

    config: TranslationConfig
    network: TranslationNetwork

    def __init__(
        self, config: TranslationConfig, vocabularies: tuple[Vocabulary, Vocabulary], *, notes: Sequence[str] = ()
    ) -> None:
        self.config, self._notes = config, tuple(notes)
        self.source_vocabulary, self.target_vocabulary = vocabularies
        self.network = TranslationNetwork(vocabularies[0].size, vocabularies[1].size, config)

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: TranslationConfig) -> Pairs:
        """Read pairs."""
        require_sacrebleu()
        return read_pairs(paths, config.columns)

    @classmethod
    def split(cls, examples: Pairs, config: TranslationConfig) -> tuple[Pairs, Pairs, str]:
        """Keep a share of the sources for validation; one that occurs again stays on its side."""
        keys = [one.source.encode("utf-8", "surrogatepass") for one in examples.pairs]
        train, valid, rule = split_examples(
            examples.pairs, keys, valid_share=config.valid_share, unit="pairs", where=examples.pairs[0].path
        )
        return Pairs(train, examples.notes), Pairs(valid), rule

    @classmethod
    def prepare(cls, examples: Pairs, config: TranslationConfig, *, start: Self | None = None) -> Self:
        """Learn the vocabularies from the training pairs and draw a network, or go on from a trained one."""
        if start is not None:
            task = cls(config, (start.source_vocabulary, start.target_vocabulary), notes=examples.notes)
            take_weights(task.network, start.network)
            return task
        sides = [[normalise(text, config) for text in side] for side in zip(*examples.flat(), strict=True)]
        learnt = [sides[0] + sides[1]] if config.joint else sides
        vocabularies = [config.learn_vocabulary(side) for side in learnt]
        task = cls(config, (vocabularies[0], vocabularies[-1]), notes=examples.notes)
        task._count_left_out(examples)
        return task

    def _count_left_out(self, examples: Pairs) -> None:
        """Say how many pairs are not learnt from."""
        kept = learnable(self.encode(examples), self.config)
        limits = f"more than {self.config.max_length} tokens, or one side {self.config.max_ratio:g} times the other"
        if not kept.any():
            raise DataError(f"{examples.pairs[0].place}: no pair can be learnt from: all have {limits}.")
        if not kept.all():
            self._notes += (f"{np.count_nonzero(~kept):,} of {len(kept):,} pairs are not learnt from: {limits}",)

    def notes(self) -> list[str]:
        """Say what was noticed in the files, and how large the vocabularies are."""
        sizes = [self.source_vocabulary.size, self.target_vocabulary.size]
        words = f"{sizes[0]:,} tokens for both sides" if self.config.joint else f"{sizes[0]:,} and {sizes[1]:,} tokens"
        return [*self._notes, f"vocabulary: {words} ({self.config.vocabulary})"]

    def encode(self, examples: Pairs, folder: Path | None = None) -> PairData:
        """Turn pairs into tokens."""
        owners = [number for number, one in enumerate(examples.pairs) for _ in one.targets]
        sources, targets = zip(*examples.flat(), strict=True)
        data = PairData(
            self._tokens(self.source_vocabulary, sources),
            self._tokens(self.target_vocabulary, targets),
            np.array(owners, dtype=np.int64),
            keep_bytes([one.source for one in examples.pairs]),
            keep_bytes(targets),
        )
        if folder is not None:
            data.save(folder)
        return data

    def _tokens(self, vocabulary: Vocabulary, texts: Sequence[str]) -> Ragged:
        return encode_texts(vocabulary, [normalise(text, self.config) for text in texts])

    @classmethod
    def load_data(cls, folder: Path) -> PairData:
        """Read tokens that a run has saved."""
        return PairData.load(folder)

    # Training

    def batches(
        self, data: PairData, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> Buckets[PairBatch]:
        """Batch pairs of like length, their words cut anew each time where merges are dropped."""
        kept = np.flatnonzero(learnable(data, self.config))
        vocabularies = (self.source_vocabulary, self.target_vocabulary)
        return Buckets(
            (data.sources.lengths + data.targets.lengths)[kept],
            TrainingPairs(data, kept, vocabularies, self.config, seed=seed),
            batch_size=batch_size,
            most_steps=MOST_STEPS,
            seed=seed,
            part=part,
        )

    def loss(self, batch: PairBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Predict each token of the translations from the sources and the tokens before it."""
        del carry
        source, lengths, inputs, targets = (part.to(self.network.device) for part in batch)
        begun = self.network.encode(source, lengths)
        if self.network.training and self.config.scheduled_sampling:
            inputs = self._sampled(inputs, begun)
        features, _, _ = self.network.decode(inputs, begun)
        total = self.network.loss(features, targets, label_smoothing=label_smoothing)
        return Loss(total, int((batch.targets != IGNORED).sum()))

    def _sampled(self, inputs: Tensor, begun: Decoding) -> Tensor:
        """Put what the network says itself in the place of some inputs, (batch, time)."""
        with torch.no_grad():
            features, _, _ = self.network.decode(inputs, begun)
            said = self.network.log_probabilities(features[:, :-1]).argmax(-1)
        chosen = torch.rand(said.shape, device=said.device) < self.config.scheduled_sampling
        return torch.cat([inputs[:, :1], torch.where(chosen, said, inputs[:, 1:])], dim=1)

    def depths(self) -> list[nn.Module]:
        """The encoder, then the decoder's layers."""
        above = [] if self.network.above is None else list(self.network.above.layers)
        return [self.network.encoder, *self.network.first.layers, *above]

    # Scoring

    def quick_score(self, data: PairData) -> float:
        """Measure nats a token of the first pairs."""
        return self._nats(data, most=QUICK_PAIRS)

    def _nats(self, data: PairData, *, most: int | None = None) -> float:
        was_training = self.network.training
        self.network.eval()
        total, count, lengths = 0.0, 0, (data.sources.lengths + data.targets.lengths)[:most]
        with torch.inference_mode():
            for places in in_batches(lengths, batch_size=SCORED_ROWS, most_steps=MOST_STEPS):
                batch = lay_out([data.sources[index] for index in places], [data.targets[index] for index in places])
                loss = self.loss(batch)
                total, count = total + float(loss.total), count + loss.count
        self.network.train(was_training)
        return total / count

    def score(self, data: PairData) -> dict[str, float]:
        """Measure nats and perplexity a token, BLEU and chrF of translations by a beam of 5."""
        return self._measured(data, self.translate(read_bytes(data.source_texts)))

    def _measured(self, data: PairData, translations: Sequence[str]) -> dict[str, float]:
        nats = self._nats(data)
        return {"nats": nats, "perplexity": exponential(nats), **translation_metrics(translations, data.references())}

    def compare(self, baseline: Lexicon | None, data: PairData) -> Comparison:
        """Measure the model and the trivial translations; with a baseline, say how sure its BLEU is."""
        sources, references = read_bytes(data.source_texts), data.references()
        translations = self.translate(sources)
        metrics = self._measured(data, translations)
        if baseline is None:
            return Comparison(metrics, {})
        interval = bleu_interval(translations, references)
        words = (
            f"BLEU is {metrics['bleu']:.1f}; of test sets drawn anew from these sentences 95 % lie between "
            f"{interval.low:.1f} and {interval.high:.1f} ({interval.signature})"
        )
        baselines = {
            self.baseline_name: self.score_baseline(baseline, data),
            "copy": translation_metrics(sources, references),
        }
        return Comparison(metrics, baselines, remarks=(words,))

    # The baseline

    def fit_baseline(self, data: PairData) -> Lexicon:
        """Learn which token is the translation of which (IBM's first model)."""
        return Lexicon.fit(list(data.sources), list(data.targets), target_size=self.target_vocabulary.size)

    def save_baseline(self, baseline: Lexicon, folder: Path) -> None:
        """Write the lexicon."""
        baseline.save(folder)

    def load_baseline(self, folder: Path) -> Lexicon:
        """Read the lexicon of a run."""
        return Lexicon.load(folder)

    def score_baseline(self, baseline: Lexicon, data: PairData) -> dict[str, float]:
        """Measure translation word by word."""
        total = sum(baseline.nats(source, target) for source, target in zip(data.sources, data.targets, strict=True))
        nats = total / len(data.targets.values)
        texts = self._tokens(self.source_vocabulary, read_bytes(data.source_texts))
        said = [self.target_vocabulary.decode(baseline.translate(one)).strip() for one in texts]
        metrics = translation_metrics(said, data.references())
        return {"nats": nats, "perplexity": exponential(nats), **metrics}

    # Use

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translate texts by a beam of 5."""
        return [one.text for one in self.predict(texts)]

    def read_inputs(self, path: Path) -> list[str]:
        """Read the texts of a file, one a line; an empty line is an empty text."""
        lines = read_text([path]).documents[0].text.split("\n")
        return lines[:-1] if lines and not lines[-1] else lines

    def parse_inputs(self, text: str) -> list[str]:
        """Take every line of standard input as a text."""
        return text.splitlines()

    def steps_of(self, text: str) -> list[str]:
        """Name the steps in which the network reads a text."""
        return [
            self.source_vocabulary.piece(token) for token in self._tokens(self.source_vocabulary, [text])[0].tolist()
        ]

    def predict(
        self,
        inputs: Sequence[str],
        *,
        candidates: int = 1,
        beam: Beam = DEFAULT_BEAM,
        prefix: str = "",
        terms: Sequence[str] = (),
        sampling: Sampling | None = None,
        seed: int = 1,
        align: bool = False,
        others: Sequence[Translator] = (),
    ) -> list[Translation]:
        """Translate texts.

        Args:
            inputs: Texts.
            candidates: How many alternatives to name.
            beam: How to search.
            prefix: What each translation begins with.
            terms: What each translation holds.
            sampling: How to draw, where translations are not searched for.
            seed: Of drawing.
            align: Whether to say what was looked at.
            others: Translators with the same vocabularies, whose probabilities are averaged with this one's.

        Returns:
            One result a text; that of an empty text is empty.

        Raises:
            ConfigError: If others have other vocabularies, or an option does not fit.
        """
        search = TextSearch(
            self,
            others,
            beam=beam,
            prefix=prefix,
            terms=tuple(terms),
            sampling=sampling,
            seed=seed,
            align=align,
        )
        return search.translate(inputs, candidates=candidates)

    def stream(self, *, candidates: int = 5) -> Stream:
        """Refuse: a translator must know a whole sentence.

        Args:
            candidates: Unused.

        Raises:
            ConfigError: Always.
        """
        del candidates
        raise ConfigError(
            "a translator needs the whole sentence before it can say anything, so it cannot stream; use predict, "
            "which takes a sentence a line"
        )

    def show(self) -> list[str]:
        """Translate two sentences."""
        return ["", *(f"{one.source}  ->  {one.text}" for one in self.predict(EXAMPLES))]

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: 2,000 English sentences with French translations."""
        return sample_path("sentences")

    def save_assets(self, folder: Path) -> None:
        """Write the vocabularies and text.json."""
        save_vocabulary(self.source_vocabulary, folder / "vocabulary.json")
        if not self.config.joint:
            save_vocabulary(self.target_vocabulary, folder / "target-vocabulary.json")
        (folder / "text.json").write_text(json.dumps({"notes": self._notes}))

    @classmethod
    def load_assets(cls, folder: Path, config: TranslationConfig) -> Self:
        """Rebuild a translator from what `save_assets` wrote.

        Returns:
            The translator, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        path = folder / "text.json"
        with reading(path):
            notes = [str(note) for note in json.loads(path.read_text())["notes"]]
        source = load_vocabulary(folder / "vocabulary.json")
        target = source if config.joint else load_vocabulary(folder / "target-vocabulary.json")
        return cls(config, (source, target), notes=notes)
