"""From the user's files to batches of token ids."""

from rnnkit.data.batching import Chunk, Lanes, TokenStream, encode_documents
from rnnkit.data.readers import Corpus, Document, FileReport, read_text, split_by_position
from rnnkit.data.samples import sample_path
from rnnkit.data.vocabulary import DOCUMENT, UNKNOWN, VOCABULARIES, Vocabulary, build_vocabulary

__all__ = [
    "DOCUMENT",
    "UNKNOWN",
    "VOCABULARIES",
    "Chunk",
    "Corpus",
    "Document",
    "FileReport",
    "Lanes",
    "TokenStream",
    "Vocabulary",
    "build_vocabulary",
    "encode_documents",
    "read_text",
    "sample_path",
    "split_by_position",
]
