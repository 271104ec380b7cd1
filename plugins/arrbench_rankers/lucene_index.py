"""A Lucene index of term frequencies: written from a stream of texts, searched for bags of words.

Documents are known by their number, which is the order they were written in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

WORDS = "words"  # terms and their frequencies; the text is not kept
NUMBER = "number"
RAM_BUFFER_MIB = 128.0  # terms held in memory before they are written out

Hits = list[tuple[int, float]]  # document number and score, best first, equal scores by number


def analyser(jnius: Any, stem: bool, stop: bool) -> Any:
    """Anserini's DefaultEnglishAnalyzer: words, possessives, lower case, stop words, Porter's stemmer."""
    english = jnius.autoclass("io.anserini.analysis.DefaultEnglishAnalyzer")
    return english.fromArguments("porter" if stem else "none", not stop, None)


def terms(jnius: Any, analyser: Any, text: str) -> list[str]:
    """The terms that the index and its queries make of a text."""
    return list(jnius.autoclass("io.anserini.analysis.AnalyzerUtils").analyze(analyser, text))


def write(jnius: Any, folder: Path, analyser: Any, texts: Iterable[str]) -> None:
    """Index the texts, one document each, into an empty folder, in one segment."""
    jclass = jnius.autoclass
    settings = jclass("org.apache.lucene.index.IndexWriterConfig")(analyser)
    # These two keep documents in the order they come in, and the work on one thread.
    settings.setMergePolicy(jclass("org.apache.lucene.index.LogDocMergePolicy")())
    settings.setMergeScheduler(jclass("org.apache.lucene.index.SerialMergeScheduler")())
    settings.setRAMBufferSizeMB(RAM_BUFFER_MIB)
    writer = jclass("org.apache.lucene.index.IndexWriter")(_directory(jnius, folder), settings)
    words, number = _words_field(jnius), jclass("org.apache.lucene.document.IntPoint")(NUMBER, 0)
    document = jclass("org.apache.lucene.document.Document")()
    document.add(words)
    document.add(number)
    for i, text in enumerate(texts):
        words.setStringValue(text)
        number.setIntValue(i)
        writer.addDocument(document)
    writer.forceMerge(1)
    writer.close()


class Searcher:
    """BM25 over an index that `write` made. Any thread may search; see `detach`."""

    def __init__(self, jnius: Any, folder: Path, analyser: Any, k1: float, b: float) -> None:
        jclass = jnius.autoclass
        self._jnius = jnius
        self._analyser = analyser
        reader = jclass("org.apache.lucene.index.DirectoryReader").open(_directory(jnius, folder))
        searcher = jclass("org.apache.lucene.search.IndexSearcher")
        searcher.setMaxClauseCount(2**31 - 1)  # a query may have any number of words
        self.documents: int = reader.numDocs()
        self._searcher = searcher(jnius.cast("org.apache.lucene.index.IndexReader", reader))
        self._searcher.setSimilarity(jclass("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
        self._searcher.setQueryCache(None)  # a repeated query costs what it cost the first time
        self._words = jclass("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._numbers = jclass("org.apache.lucene.document.IntPoint")
        self._both = jclass("org.apache.lucene.search.BooleanQuery$Builder")
        self._occur = jclass("org.apache.lucene.search.BooleanClause$Occur")
        self._restricting = Lock()
        self._json = jclass("com.fasterxml.jackson.databind.ObjectMapper")()

    def search(self, text: str, k: int, among: Sequence[int] | None = None) -> Hits:
        """The best k of the documents that hold a term of the text, all of them or those `among`.

        A text is analysed, never parsed: no character of it is an operator.
        """
        if k < 1:
            return []
        query = self._words.buildQuery(WORDS, self._analyser, text)
        if among is not None:
            query = self._restricted(query, among)
        # One call brings all hits over as text; asking each for its number and score takes ten times as long.
        found = json.loads(self._json.writeValueAsString(self._searcher.search(query, k)))
        return [(hit["doc"], hit["score"]) for hit in found["scoreDocs"]]

    def _restricted(self, query: Any, among: Sequence[int]) -> Any:
        numbers = self._numbers.newSetQuery(NUMBER, *among)
        # pyjnius has one method object a class, bound anew at each look-up: threads that call a method
        # on objects of their own would call it on each other's.
        with self._restricting:
            both = self._both()
            both.add(query, self._occur.MUST)
            both.add(numbers, self._occur.FILTER)
            return both.build()

    def detach(self) -> None:
        """Let go of the calling thread: each that searched must, before it ends."""
        self._jnius.detach()


def _directory(jnius: Any, folder: Path) -> Any:
    path = jnius.autoclass("java.nio.file.Paths").get(str(folder))
    return jnius.autoclass("org.apache.lucene.store.MMapDirectory")(path)


def _words_field(jnius: Any) -> Any:
    jclass = jnius.autoclass
    kind = jclass("org.apache.lucene.document.FieldType")()
    kind.setIndexOptions(jclass("org.apache.lucene.index.IndexOptions").DOCS_AND_FREQS)
    kind.setTokenized(True)
    kind.freeze()
    nothing = jnius.cast("java.lang.CharSequence", jclass("java.lang.String")(""))
    return jclass("org.apache.lucene.document.Field")(WORDS, nothing, kind)
