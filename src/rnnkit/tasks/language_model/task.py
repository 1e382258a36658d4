"""Language modelling: the next token, the text's own score, and writing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from rnnkit.baselines.ngram import NGram, default_order
from rnnkit.data.batching import Chunk, Lanes
from rnnkit.data.documents import VALID_CHARACTERS, Blocks
from rnnkit.data.readers import Corpus, read_text, split_by_position
from rnnkit.data.samples import sample_path
from rnnkit.data.vocabulary import UNKNOWN, Vocabulary
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.data.vocabulary import save as save_vocabulary
from rnnkit.decoding.search import Sampling
from rnnkit.errors import CheckpointError
from rnnkit.kernels import State
from rnnkit.metrics import language_model_metrics
from rnnkit.tasks.base import Loss, Task
from rnnkit.tasks.language_model.adaptation import AdaptedScore, score_adapting
from rnnkit.tasks.language_model.beginning import grow_vocabulary, take_weights
from rnnkit.tasks.language_model.config import LanguageModelConfig
from rnnkit.tasks.language_model.corpus import (
    TokenCorpus,
    chunk_tensors,
    encode_corpus,
    first_lanes,
    reset_fresh,
)
from rnnkit.tasks.language_model.generation import continuations
from rnnkit.tasks.language_model.network import LanguageNetwork
from rnnkit.tasks.language_model.results import TextScore, TokenScore, text_score
from rnnkit.tasks.language_model.scoring import score_tokens
from rnnkit.tasks.language_model.stream import LanguageStream
from rnnkit.tasks.saved import reading

QUICK_TOKENS = 32_768  # read for a quick score: 0.3 s on two cores, off by less than 0.02 nats
QUICK_ROWS = 32
# Of the rows of a training batch that begin with fresh state: one in 3,200 tokens with the default bptt. Without it a
# long text begins only once an epoch, before the network has learnt anything, and what it makes of a fresh state is
# left to chance: of 4 short runs on the bundled sample, one gave 6.7 nats from a fresh state and 2.4 from a carried
# one; with 2 % all gave 2.4, and longer runs lose nothing.
FRESH_SHARE = 0.02


class LanguageModel(Task):
    """A model of text: trained from files, it scores, predicts, writes and streams.

    Args:
        config: Its options.
        vocabulary: Learnt from the training text.
        facts: What is remembered of the training text: how many "documents" it had, and "notes" from reading it.
    """

    name: ClassVar[str] = "language-model"
    aliases: ClassVar[tuple[str, ...]] = ("lm",)
    config_class: ClassVar[type] = LanguageModelConfig
    objective: ClassVar[str] = "nats"
    baseline_name: ClassVar[str] = "n-gram"
    uses: ClassVar[tuple[str, ...]] = (
        "evaluate {model} FILE",
        "generate {model} --prompt TEXT",
        "predict {model} TEXT",
        "stream {model} < FILE",
    )

    network: LanguageNetwork

    def __init__(self, config: LanguageModelConfig, vocabulary: Vocabulary, facts: dict[str, Any]) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.facts = facts
        self.network = LanguageNetwork(vocabulary.size, config)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    @property
    def separates_documents(self) -> bool:
        """Whether the training text had several documents, so that the model has learnt where one ends."""
        return self.facts["documents"] > 1

    def token_vectors(self) -> Tensor:
        """Return the vectors of all tokens as the network reads them, (vocabulary_size, embedding_size)."""
        return self.network.token_vectors()

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: LanguageModelConfig) -> Corpus:
        """Read text files or folders.

        Returns:
            The documents.

        Raises:
            DataError: If a file is missing, empty or no text.
        """
        return read_text(paths, document_separator=config.document_separator)

    @classmethod
    def split(cls, examples: Corpus, config: LanguageModelConfig) -> tuple[Corpus, Corpus, str]:
        """Keep the end of the text for validation."""
        train, valid = split_by_position(examples.documents, valid_share=config.valid_share)
        capped = config.valid_share * examples.characters > VALID_CHARACTERS
        part = f"{VALID_CHARACTERS:,} characters" if capped else f"{config.valid_share:.0%}"
        rule = f"the last {part} of the text {'are' if capped else 'is'} kept for validation"
        return Corpus(train, examples.files), Corpus(valid, ()), rule

    @classmethod
    def prepare(cls, examples: Corpus, config: LanguageModelConfig, *, start: Self | None = None) -> Self:
        """Learn the vocabulary from the training text and draw a network, or go on from a trained model's."""
        texts = Blocks(examples.documents)
        vocabulary = config.learn_vocabulary(texts) if start is None else grow_vocabulary(start, texts, config)
        task = cls(config, vocabulary, {"documents": len(examples.documents), "notes": examples.notes()})
        if start is not None:
            take_weights(task.network, start.network)
        return task

    def notes(self) -> list[str]:
        """Say what was noticed in the files and how the vocabulary came about."""
        kind, share = self.config.vocabulary, self.vocabulary.sampled_share
        sampled = f", learnt from {share:.0%} of the text, sampled evenly" if share < 1 else ""
        forgotten = self.vocabulary.forgotten_count
        rare = f", some seen {forgotten} times or fewer left out, for they are too many to count" if forgotten else ""
        return [*self.facts["notes"], f"vocabulary: {self.vocabulary.size:,} tokens ({kind}){sampled}{rare}"]

    def encode(self, examples: Corpus, folder: Path | None = None) -> TokenCorpus:
        """Turn documents into tokens, which stay on disk until they are used."""
        return encode_corpus(self.vocabulary, examples.documents, folder)

    @classmethod
    def load_data(cls, folder: Path) -> TokenCorpus:
        """Read tokens that a run has saved."""
        return TokenCorpus.load(folder)

    def batches(self, data: TokenCorpus, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)) -> Lanes:
        """Lay the text out in lanes for truncated back-propagation with carried state."""
        time = self.config.bptt
        return Lanes(data.stream, batch=batch_size, time=time, seed=seed, fresh_share=FRESH_SHARE, part=part)

    # Training and scoring

    def loss(self, batch: Chunk, carry: State | None, *, label_smoothing: float = 0.0) -> Loss:
        """Predict each token of a chunk from those before it, going on from the state of the chunk before."""
        network = self.network
        inputs, targets = chunk_tensors(batch, self.device)
        initial = network.stack.initial_state(len(inputs))
        state = initial if carry is None else reset_fresh(carry, initial, batch.fresh)
        outputs, state = network.read(inputs, state)
        dropped = network.output_dropout(outputs)
        total = network.loss(dropped, targets, label_smoothing=label_smoothing)
        count = int((batch.targets >= 0).sum())
        penalty = count * network.penalty(outputs, dropped) if network.penalised else None
        return Loss(total, count, tuple(part.detach() for part in state), penalty)

    def depths(self) -> list[nn.Module]:
        """The embedding, then each layer."""
        return [self.network.embedding, *self.network.stack.layers]

    def quick_score(self, data: TokenCorpus) -> float:
        """Estimate nats per token on the first QUICK_TOKENS of the text, in lanes that begin with fresh state."""
        total, count, carry, was_training = 0.0, 0, None, self.network.training
        self.network.eval()
        with torch.inference_mode():
            for chunk in first_lanes(data.stream, tokens=QUICK_TOKENS, batch=QUICK_ROWS, time=256):
                loss = self.loss(chunk, carry)
                total, count, carry = total + float(loss.total), count + loss.count, loss.carry
        self.network.train(was_training)
        return total / count

    def score(self, data: TokenCorpus) -> dict[str, float]:
        """Measure the text exactly: every token given all before it."""
        self.network.eval()
        return self._metrics(float(score_tokens(self.network, data.stream).sum()), data)

    def score_adapting(
        self,
        data: TokenCorpus,
        *,
        valid: TokenCorpus,
        train: TokenCorpus | None = None,
        cache: bool = False,
        ngram: NGram | None = None,
    ) -> tuple[dict[str, float], AdaptedScore]:
        """Measure the text with what goes on learning from it (Grave et al. 2017; Krause et al. 2018).

        Args:
            data: The text, read once in order.
            valid: Validation text, on which the constants are tuned.
            train: Training text, for dynamic evaluation; None keeps the weights.
            cache: Whether to have a continuous cache of the last 2,000 tokens.
            ngram: A fitted n-gram to mix in.

        Returns:
            The metrics, and the score with the constants that were chosen.
        """
        self.network.eval()
        training = None if train is None else train.stream
        scored = score_adapting(self.network, data.stream, valid=valid.stream, train=training, cache=cache, ngram=ngram)
        return self._metrics(float(scored.nats.sum()), data), scored

    def _metrics(self, nats: float, data: TokenCorpus) -> dict[str, float]:
        size = data.size
        metrics = language_model_metrics(
            nats, tokens=data.stream.targets, characters=size.characters, bytes=size.bytes, words=size.words
        )
        return {**metrics, "unknown_share": size.unknown / max(len(data.stream.tokens), 1)}

    def fit_baseline(self, data: TokenCorpus) -> NGram:
        """Fit an interpolated n-gram on the training tokens."""
        order = default_order(self.config.vocabulary)
        return NGram.fit(data.stream, vocabulary_size=self.vocabulary.size, order=order)

    def save_baseline(self, baseline: NGram, folder: Path) -> None:
        """Write ngram.npz."""
        baseline.save(folder / "ngram.npz")

    def load_baseline(self, folder: Path) -> NGram:
        """Read the n-gram of a run."""
        return NGram.load(folder / "ngram.npz")

    def score_baseline(self, baseline: NGram, data: TokenCorpus) -> dict[str, float]:
        """Measure the n-gram on the same tokens."""
        return self._metrics(sum(float(block.sum()) for block in baseline.score_blocks(data.stream)), data)

    # Use

    def read_inputs(self, path: Path) -> list[str]:
        """Read a file as one text."""
        return [document.text for document in read_text([path]).documents]

    def steps_of(self, text: str) -> list[str]:
        """Name the steps in which the network reads a text."""
        return [self.vocabulary.piece(token) for token in self.vocabulary.encode(text).tolist()]

    def predict(self, inputs: Sequence[str], *, candidates: int = 10) -> list[TextScore]:
        """Score texts token by token and name what is likely to follow each.

        Args:
            inputs: Texts; each is a document of its own.
            candidates: How many next tokens to name.

        Returns:
            One result a text.
        """
        return [self._predict(text, candidates) for text in inputs]

    def _predict(self, text: str, candidates: int) -> TextScore:
        stream = LanguageStream(self, candidates=candidates)
        events = [*stream.push(text), *stream.finish()]
        scores = [TokenScore(event.token, event.nats) for event in events]
        return text_score(text, scores, stream.next, unknown=int((self.vocabulary.encode(text) == UNKNOWN).sum()))

    def stream(self, *, candidates: int = 5) -> LanguageStream:
        """Begin a document that is still being written.

        Args:
            candidates: How many likely next tokens an event lists.

        Returns:
            The stream.
        """
        return LanguageStream(self, candidates=candidates)

    def generate(
        self,
        prompt: str = "",
        *,
        max_tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> str:
        """Continue a prompt.

        Args:
            prompt: What to continue; empty begins a document.
            max_tokens: The longest continuation, in tokens.
            temperature: 0 takes the likeliest token each time, 1 draws from the model's own distribution.
            top_k: Draw from the k likeliest tokens only.
            top_p: Draw from the fewest tokens whose probabilities sum to p.
            min_p: Draw from tokens at least this share as likely as the likeliest.
            repetition_penalty: Above 1 makes tokens already seen less likely.
            no_repeat_ngram: Never write the same n tokens in a row twice.
            stop: Strings that end the text.
            seed: Makes it repeatable.

        Returns:
            The continuation, without the prompt.

        Raises:
            ConfigError: If a number is out of range.
        """
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, no_repeat_ngram)
        pieces = self.write(prompt, max_tokens=max_tokens, sampling=sampling, stop=stop, seed=seed)
        return "".join(piece for _, piece in pieces)

    def write(
        self,
        prompt: str = "",
        *,
        samples: int = 1,
        max_tokens: int = 200,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Iterator[tuple[int, str]]:
        """Continue a prompt, giving the text as it is written.

        Args:
            prompt: What to continue; empty begins a document.
            samples: How many continuations to write side by side.
            max_tokens: The longest continuation, in tokens.
            sampling: How tokens are drawn.
            stop: Strings that end the text.
            seed: Makes it repeatable; sample i is what seed + i gives alone.

        Returns:
            Pairs of a sample's number and a piece of its text.

        Raises:
            ConfigError: If a number is out of range.
        """
        self.network.eval()
        chosen = secrets.randbits(31) if seed is None else seed
        return continuations(
            self, prompt, samples=samples, max_tokens=max_tokens, sampling=sampling, stop=stop, seed=chosen
        )

    def show(self) -> list[str]:
        """Write a little."""
        prompt = "ROMEO:"
        return ["", prompt + self.generate(prompt, max_tokens=400, temperature=0.8, top_p=0.9, seed=1)]

    def unknown_in(self, text: str) -> list[str]:
        """List the words or characters of a text that are not in the vocabulary, each once."""
        parts = dict.fromkeys(text if self.config.vocabulary == "character" else text.split())
        return [part for part in parts if (self.vocabulary.encode(part) == UNKNOWN).any()]

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: the first 100 kB of a collection of Shakespeare's plays."""
        return sample_path("shakespeare")

    def save_assets(self, folder: Path) -> None:
        """Write vocabulary.json and text.json."""
        save_vocabulary(self.vocabulary, folder / "vocabulary.json")
        (folder / "text.json").write_text(json.dumps(self.facts))

    @classmethod
    def load_assets(cls, folder: Path, config: LanguageModelConfig) -> Self:
        """Rebuild a model from what `save_assets` wrote.

        Returns:
            The model, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        vocabulary, path = load_vocabulary(folder / "vocabulary.json"), folder / "text.json"
        with reading(path):
            facts = json.loads(path.read_text())
            documents, notes = facts["documents"], facts["notes"]
        if not isinstance(documents, int) or not isinstance(notes, list):
            raise CheckpointError(f"{path} says documents {documents!r}, notes {notes!r}; expected a number and a list")
        return cls(config, vocabulary, facts)
