"""WordNet: rank the hypernyms of a noun, nearest first (the task of arXiv 2601.05588, and fairer ones).

A query is a noun synset below the root chosen; its ranked list is its hypernym path up to and with the
root; the r-th of n has gain n - r + 1. Ids are sense keys, so splits and figures survive an edition's
offsets and line ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Document, Query
from arrbench.task import SPLITS, DataSource, Judgments, Setting, Split, SplitName, Task
from arrbench.tasks import wordnet_fetch
from arrbench.tasks.wordnet_candidates import CandidateLists, Negatives
from arrbench.tasks.wordnet_dict import Synset, read_nouns
from arrbench.tasks.wordnet_splits import Assignment, assign, sample
from arrbench.tasks.wordnet_tree import Tree, grow

Text = Literal["lemma", "lemma+gloss"]


class WordNetOptions(BaseOptions):
    root: str = Field(
        "mammal.n.01", description="top of the hierarchy: a name like animal.n.01 or a sense key"
    )
    setting: Setting = Field("retrieve", description="search all nouns with hyponyms, or rerank candidates")
    negatives: Negatives | None = Field(
        None, description="candidates beside the path, when reranking only (other-path unless said)"
    )
    text: Text = Field("lemma+gloss", description="what a query's text is")
    document: Text = Field("lemma", description="what a document's text is")
    test_queries: int | None = Field(None, ge=1, description="at most so many test queries, drawn by hash")

    @model_validator(mode="after")
    def _negatives_need_candidates(self) -> WordNetOptions:
        if self.setting == "retrieve" and self.negatives is not None:
            raise ValueError(
                f"negatives={self.negatives} needs setting=rerank; the task to retrieve with is wordnet"
            )
        return self


class RerankOptions(WordNetOptions):
    setting: Setting = Field("rerank", description="search all nouns with hyponyms, or rerank candidates")
    negatives: Negatives | None = Field("other-path", description="candidates beside the path")


class PaperOptions(RerankOptions):
    root: str = Field(
        "entity.n.01", description="top of the hierarchy: a name like animal.n.01 or a sense key"
    )
    negatives: Negatives | None = Field("random", description="candidates beside the path")
    test_queries: int | None = Field(5000, ge=1, description="at most so many test queries, drawn by hash")


class WordNet(Task):
    """Retrieval of a noun's hypernyms among all nouns below a root that have hyponyms."""

    Options: ClassVar[type[BaseOptions]] = WordNetOptions
    options: WordNetOptions
    measures = (
        "ndcg@10",
        "ndcg",
        "overlap@1",
        "overlap@3",
        "overlap@5",
        "overlap_paper@1",
        "overlap_paper@3",
        "overlap_paper@5",
        "recall@10",
        "mrr",
    )
    licence = "WordNet 3.0 licence, Princeton University"
    texts_may_be_republished = True

    def __init__(self, options: BaseOptions, source: DataSource) -> None:
        super().__init__(options, source)
        nouns = read_nouns(wordnet_fetch.locate(source))
        tree = grow(nouns, nouns.find(self.options.root))
        self._synsets = {synset.key: synset for synset in tree.synsets.values()}
        self._paths = _paths(tree)
        assignment = self._assign()
        queries = dict(assignment.queries)
        if self.options.test_queries is not None:
            queries["test"] = sample(queries["test"], self.options.test_queries)
        candidates = self._candidates(tree, queries)
        if self.setting == "retrieve":
            documents = {tree.synsets[offset].key for offset in tree.inner}
        else:
            documents = {document for ids in candidates.values() for document in ids}
        corpus = Corpus(self._document(document) for document in sorted(documents))
        self._splits = {name: self._split(queries[name], candidates, corpus) for name in SPLITS}
        self.facts = {
            "edition": f"WordNet {nouns.edition}",
            "root": tree.root.key,
            "synsets": len(tree.synsets),
            "documents": len(corpus),
            **{f"queries_{name}": len(queries[name]) for name in SPLITS},
            "queries_moved_to_train": assignment.moved,
            "test_queries_left_out": len(assignment.queries["test"]) - len(queries["test"]),
            "test_queries_that_are_documents": sum(bool(q.excluded) for q in self._splits["test"].queries),
            "multi_parent_share": tree.multi_parent_share,
        }

    @classmethod
    def find(cls, source: DataSource) -> Path | None:
        """WordNet's folder on this machine, if it is there."""
        return wordnet_fetch.find(source)

    @classmethod
    def fetch(cls, cache: Path) -> Path:
        """WordNet 3.0, fetched into the cache unless it lies there."""
        return wordnet_fetch.fetch(cache)

    @property
    def setting(self) -> Setting:
        return self.options.setting

    def split(self, name: SplitName) -> Split:
        return self._splits[name]

    def _assign(self) -> Assignment:
        assignment = assign({query: path for query, path in self._paths.items() if path})
        empty = [name for name in SPLITS if not assignment.queries[name]]
        if empty:
            raise UsageError(
                f"root {self.options.root!r} has {len(self._paths) - 1} nouns below it, which leaves no "
                f"{' and no '.join(empty)} queries; choose a wider root, such as mammal.n.01"
            )
        return assignment

    def _candidates(
        self, tree: Tree, queries: Mapping[SplitName, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        if self.setting == "retrieve":
            return {}
        lists = CandidateLists(tree, self._paths, self.options.negatives or "other-path")
        return {query: lists.of(query) for ids in queries.values() for query in ids}

    def _split(
        self, ids: tuple[str, ...], candidates: Mapping[str, tuple[str, ...]], corpus: Corpus
    ) -> Split:
        queries = tuple(
            Query(
                id=query,
                text=_shown(self._synsets[query], self.options.text),
                candidates=candidates.get(query),
                excluded=frozenset({query} if query in corpus.positions else ()),
            )
            for query in ids
        )
        grades = {query: _gains(self._paths[query]) for query in ids}
        return Split(queries, Judgments(grades), corpus)

    def _document(self, key: str) -> Document:
        synset = self._synsets[key]
        return Document(key, synset.name, _shown(synset, self.options.document))


class WordNetRerank(WordNet):
    """Reranking of a noun's hypernyms, shuffled together with another noun's."""

    Options = RerankOptions


class WordNetPaper(WordNet):
    """The paper's protocol: the whole hierarchy, each path with one random noun, 5,000 test queries."""

    Options = PaperOptions


def _paths(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Sense key -> the sense keys of its hypernym path, nearest first; () for the root."""
    key = {offset: synset.key for offset, synset in tree.synsets.items()}
    return {key[offset]: tuple(key[above] for above in tree.path(offset)) for offset in tree.synsets}


def _gains(path: tuple[str, ...]) -> dict[str, int]:
    """n - r + 1 for the r-th of n."""
    return {document: len(path) - i for i, document in enumerate(path)}


def _shown(synset: Synset, text: Text) -> str:
    return synset.name if text == "lemma" else f"{synset.name}: {synset.gloss}"
