"""Whether a query is itself a document of the corpus, which it would then find first."""

from __future__ import annotations

from unicodedata import normalize

from arrbench.ranker import Corpus, Document
from arrbench.tasks.collection_notes import ExcludeSelf


def excludes_own(rule: ExcludeSelf, query_id: str, text: str, grades: dict[str, int], corpus: Corpus) -> bool:
    """Whether the document of the query's id is excluded from its ranking.

    `yes` goes by the id alone, as BEIR and Pyserini do. `auto` asks for the same text, too, since ids
    of queries and documents may coincide by chance, and for a document that is not judged relevant.
    """
    if rule == "no" or query_id not in corpus.positions:
        return False
    if rule == "yes":
        return True
    said = _form(text)
    return grades.get(query_id, 0) <= 0 and said != "" and said in _forms(corpus.by_id(query_id))


def _forms(document: Document) -> set[str]:
    """What the query may repeat: the title, the text as it is shown, or the text without the title."""
    return {_form(document.title), _form(document.text), _form(document.text.removeprefix(document.title))}


def _form(text: str) -> str:
    """Neither case counts, nor white space, nor the way accents are written."""
    return " ".join(normalize("NFC", text.casefold()).split())
