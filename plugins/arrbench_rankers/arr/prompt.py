"""The prompt T(q̄): the query, and on request its shuffled candidates, as tokens."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from arrbench.errors import UsageError
from arrbench.ranker import Query

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Style = Literal["query", "candidates"]
_log = logging.getLogger(__name__)


@dataclass
class Prompter:
    """Writes prompts: `<s> query <sep>` or `<s> query <sep> docID … docID <sep>`.

    Without a token of its own for it, <sep> is a line break. The query's text keeps its first
    `query_tokens` tokens. Candidates stand in an order drawn from (seed, query id), whatever the
    order they are given in; the last of them are left out where the prompt would exceed
    `max_tokens`, all that the model reads. The ids of queries that lost text gather in `cut_texts`;
    `cut_candidates` counts, by query id, the candidates left out. The first prompt that the model
    can't read in full is warned of.
    """

    tokenizer: PreTrainedTokenizerFast
    style: Style
    query_tokens: int
    max_tokens: int
    seed: int
    cut_texts: set[str] = field(default_factory=set)
    cut_candidates: dict[str, int] = field(default_factory=dict)
    _warned: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        bos, sep = self.tokenizer.bos_token_id, self.tokenizer.sep_token_id
        line_break = self.tokenizer("\n", add_special_tokens=False)["input_ids"]
        self._opening: list[int] = [] if bos is None else [bos]
        self._separator: list[int] = line_break if sep is None else [sep]
        if not self._separator:
            raise UsageError(
                "the backbone's tokenizer has neither a separator token nor one for a line break"
            )

    def count_anew(self) -> None:
        """What is counted from here on is of the queries that follow alone."""
        self.cut_texts.clear()
        self.cut_candidates.clear()

    def write(self, queries: Sequence[Query], docid: Callable[[str], Sequence[int]]) -> list[list[int]]:
        """One prompt a query, never empty; `docid` gives a document's docID, its end token left out.

        Raises UsageError where the prompt is to show candidates and a query has none.
        """
        if not queries:
            return []
        encoded = self.tokenizer([q.text for q in queries], add_special_tokens=False)["input_ids"]
        return [self._prompt(q, text, docid) for q, text in zip(queries, encoded, strict=True)]

    def _prompt(self, query: Query, text: list[int], docid: Callable[[str], Sequence[int]]) -> list[int]:
        readable = max(0, self.max_tokens - len(self._opening) - len(self._separator))
        room = min(self.query_tokens, readable)
        if len(text) > room:
            self.cut_texts.add(query.id)
        if min(len(text), self.query_tokens) > readable:
            self._warn(query, "its text is cut")
        prompt = [*self._opening, *text[:room], *self._separator]
        if self.style == "query":
            return prompt
        if query.candidates is None:
            raise UsageError(
                f"prompt=candidates needs candidates and query {query.id!r} has none; "
                "use it with a reranking task, or prompt=query"
            )
        for shown, candidate in enumerate(self._shuffled(query)):
            name = [*docid(candidate), *self._separator]
            if len(prompt) + len(name) > self.max_tokens:
                self.cut_candidates[query.id] = len(query.candidates) - shown
                self._warn(query, f"{len(query.candidates) - shown} of its candidates are left out")
                break
            prompt += name
        return prompt

    def _warn(self, query: Query, cut: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the prompt of query %r is longer than the %d tokens that the model reads: %s; "
                "this and any other is counted, not told of again",
                query.id,
                self.max_tokens,
                cut,
            )

    def _shuffled(self, query: Query) -> list[str]:
        def draw(document_id: str) -> bytes:
            return hashlib.blake2b(f"{self.seed}\x00{query.id}\x00{document_id}".encode()).digest()

        return sorted(query.candidates or (), key=draw)
