"""Words, stack, tag scores, chain: the network of a tagger."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from rnnkit.decoding.crf import LinearChain
from rnnkit.kernels import State
from rnnkit.layers import LAYERS, LockedDropout, Pooling, Stack
from rnnkit.sequences import valid_mask, zero_padding
from rnnkit.tasks.tagging.config import TaggingConfig
from rnnkit.tasks.tagging.data import WordBatch
from rnnkit.tasks.tagging.features import FEATURES, FIRST_CHARACTER, UNKNOWN, WordFeatures
from rnnkit.tasks.tagging.reader import LanguageReader
from rnnkit.tasks.tagging.tags import TagSet

CHARACTER_WIDTH = 3  # of the convolution
BEFORE = AFTER = 2  # neighbours whose features score a word's tag directly


class WordFront(nn.Module):
    """Vectors of words from their number, characters and features.

    Args:
        words: What training has seen.
        config: Sizes.
    """

    counts: Tensor

    def __init__(self, words: WordFeatures, config: TaggingConfig) -> None:
        super().__init__()
        self.word_dropout = config.word_dropout
        counts = torch.zeros(len(words.words) + 1)
        counts[1 : len(words.counts) + 1] = torch.tensor(words.counts, dtype=torch.float32)
        self.register_buffer("counts", counts, persistent=False)
        self.embedding = nn.Embedding(len(words.words) + 1, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)
        self.output_size = config.embedding_size
        self.characters = None
        if config.characters is not None:
            self.characters = CharacterReader(len(words.characters) + FIRST_CHARACTER, config)
            self.output_size += self.characters.output_size
        self.features = None
        if config.feature_size:
            self.features = nn.Embedding(len(words.features) + 1, config.feature_size)
            nn.init.normal_(self.features.weight, std=config.feature_size**-0.5)
            self.output_size += (len(FEATURES) - 1) * config.feature_size  # the word has its vector already

    def forward(self, words: WordBatch) -> Tensor:
        """Make vectors of distinct words: (words, output_size)."""
        ids = words.ids
        if self.training and self.word_dropout:
            counts = self.counts[ids]
            seen = (torch.rand_like(counts) >= self.word_dropout / (self.word_dropout + counts)) | (counts == 0)
            ids = torch.where(seen, ids, UNKNOWN)
        parts = [self.embedding(ids)]
        if self.characters is not None:
            parts.append(self.characters(words.characters, words.lengths))
        if self.features is not None:
            parts.append(self.features(words.features[:, 1:]).flatten(1))
        return torch.cat(parts, dim=1)


class CharacterReader(nn.Module):
    """A word's vector from its characters.

    That is the highest answer of each filter of a convolution (Ma and Hovy 2016), or the last outputs of a
    bidirectional layer (Lample et al. 2016).

    Args:
        num_characters: How many there are.
        config: Kind and sizes.
    """

    def __init__(self, num_characters: int, config: TaggingConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, config.character_size)
        nn.init.normal_(self.embedding.weight, std=config.character_size**-0.5)
        self.convolution = self.layers = None
        if config.characters == "cnn":
            self.convolution = nn.Conv1d(
                config.character_size, config.character_units, CHARACTER_WIDTH, padding=CHARACTER_WIDTH // 2
            )
            self.output_size = config.character_units
        else:
            self.layers = Stack(LAYERS[config.layer], config.character_size, config.character_units, bidirectional=True)
            self.pooling = Pooling("last", self.layers.output_size, bidirectional=True)
            self.output_size = self.layers.output_size

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """Read words: (words, longest), (words,) -> (words, output_size)."""
        vectors = zero_padding(self.embedding(characters), lengths)
        if self.layers is not None:
            return self.pooling(self.layers(vectors, lengths=lengths)[0], lengths)
        assert self.convolution is not None
        answers = gelu(self.convolution(vectors.transpose(1, 2)))  # (words, units, longest)
        mask = valid_mask(lengths, characters.shape[1])[:, None]
        return answers.masked_fill(~mask, -torch.inf).amax(2)


class TaggerNetwork(nn.Module):
    """Scores of tags for each word of a sentence, and the chain that links them.

    Args:
        words: What training has seen.
        chain: Of the tags.
        config: Sizes and dropouts.
        reader: A language model that reads along, if there is one.
    """

    def __init__(
        self, words: WordFeatures, chain: LinearChain, config: TaggingConfig, reader: LanguageReader | None
    ) -> None:
        super().__init__()
        num_tags = len(chain.allowed_start)
        self.front, self.reader = WordFront(words, config), reader
        self.input_dropout = LockedDropout(config.input_dropout)
        size = self.front.output_size + (reader.output_size if reader else 0)
        self.stack = config.make_stack(size, bidirectional=config.bidirectional)
        self.dropout = LockedDropout(config.dropout)
        self.output = nn.Linear(self.stack.output_size, num_tags)
        nn.init.zeros_(self.output.bias)
        self.chain = chain
        self.direct = DirectScores(words, num_tags, config) if config.direct else None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.output.weight.device

    @property
    def streamable(self) -> bool:
        """Whether every word's scores need nothing that follows."""
        return self.stack.streamable

    def forward(self, inputs: Tensor, words: WordBatch, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Score the tags of sentences.

        Args:
            inputs: (batch, time) places in `words`.
            words: The distinct words of the sentences.
            lengths: (batch,).
            context: (batch, time, size) of the language model after each word, where there is one.

        Returns:
            (batch, time, tags), of no meaning past each length.
        """
        vectors = self._vectors(inputs, words, context)
        outputs, _ = self.stack(self.input_dropout(vectors), lengths=lengths)
        scores = self.output(self.dropout(outputs))
        return scores if self.direct is None else scores + self.direct(inputs, words, lengths)

    def _vectors(self, inputs: Tensor, words: WordBatch, context: Tensor | None) -> Tensor:
        vectors = self.front(words)[inputs]
        return vectors if context is None else torch.cat([vectors, context.to(vectors.dtype)], dim=2)

    # Live

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the parts of a live state: of the stack, and what the last words say of their neighbours."""
        return (*(f"stack.{name}" for name in self.stack.state_names), *(("direct",) if self.direct else ()))

    def initial_state(self, batch: int) -> State:
        """Return the state before a sentence: (batch, ...) for each of `state_names`."""
        return (*self.stack.initial_state(batch), *((self.direct.initial_state(batch),) if self.direct else ()))

    def features(self, inputs: Tensor, words: WordBatch, context: Tensor | None = None) -> Tensor:
        """Return what `running` reads of words: their vectors, and what they say of tags directly.

        Args:
            inputs: (batch, time) places in `words`, all of them valid.
            words: The distinct words.
            context: (batch, time, size) of the language model after each word, where there is one.

        Returns:
            (batch, time, features).
        """
        vectors = self._vectors(inputs, words, context)
        return vectors if self.direct is None else torch.cat([vectors, self.direct.said(inputs, words, None)], dim=2)

    def running(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Score the next words of sentences, going on from `state`.

        Args:
            features: (batch, time, size) of `features`.
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, time, tags), and the state after the last word.
        """
        count, size = len(self.stack.state_names), self.stack.input_size
        outputs, after = self.stack(features[..., :size], state[:count])
        scores = self.output(outputs)
        if self.direct is None:
            return scores, after
        direct, last = self.direct.total(features[..., size:], state[count])
        return scores + direct, (*after, last)


class DirectScores(nn.Module):
    """A linear model of tags from the features of a word and its neighbours, as hand-made features of a CRF are.

    Args:
        words: What training has seen.
        num_tags: How many.
        config: Direction and dropout.
    """

    def __init__(self, words: WordFeatures, num_tags: int, config: TaggingConfig) -> None:
        super().__init__()
        self.after = AFTER if config.bidirectional else 0
        self.num_tags, self.size = num_tags, (BEFORE + 1 + self.after) * num_tags
        self.table = nn.EmbeddingBag(len(words.features) + 1, self.size, mode="sum")
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.table.weight)

    def initial_state(self, batch: int) -> Tensor:
        """Return what the words before a sentence say: nothing, (batch, BEFORE * size)."""
        return self.table.weight.new_zeros(batch, BEFORE * self.size)

    def forward(self, inputs: Tensor, words: WordBatch, lengths: Tensor) -> Tensor:
        """Add up what each word of sentences and its neighbours say.

        Args:
            inputs: (batch, time) places in `words`.
            words: The distinct words of the sentences.
            lengths: (batch,).

        Returns:
            (batch, time, tags).
        """
        return self.total(self.said(inputs, words, lengths), self.initial_state(inputs.shape[0]))[0]

    def said(self, inputs: Tensor, words: WordBatch, lengths: Tensor | None) -> Tensor:
        """Return what each word says of its tag and its neighbours', (batch, time, size), zero past each length."""
        return zero_padding(self.dropout(self.table(words.features))[inputs], lengths)

    def total(self, said: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Add up for each word what it and its neighbours say.

        Args:
            said: (batch, time, size).
            state: (batch, BEFORE * size) of the words before.

        Returns:
            (batch, time, tags), and the state after the last word.
        """
        batch, time, _ = said.shape
        before = state.view(batch, BEFORE, self.size).to(said.dtype)
        joined = torch.cat([before, said, said.new_zeros(batch, self.after, self.size)], dim=1)
        parts = joined.view(batch, -1, BEFORE + 1 + self.after, self.num_tags)
        # what the word at a distance says of this one stands in its part for that distance
        total = sum(parts[:, place : place + time, place] for place in range(parts.shape[2]))
        assert isinstance(total, Tensor)
        return total, joined[:, time : time + BEFORE].flatten(1)


def chain_of(tags: TagSet, *, learnt: bool) -> LinearChain:
    """Make a chain that gives none but proper sequences of tags."""
    starts, follows, ends = map(torch.from_numpy, tags.allowed())
    return LinearChain(len(tags), starts=starts, follows=follows, ends=ends, learnt=learnt)
