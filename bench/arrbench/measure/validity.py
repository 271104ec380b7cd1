"""Constraint violations of generative rankers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from arrbench.ranker import Query

CITATION = "constraint violation rate (CVR), arXiv 2601.05588"


def constraint_violations(
    generations: Mapping[str, Sequence[str | None]],
    queries: Sequence[Query],
    corpus_ids: Collection[str],
    top: int = 10,
) -> float:
    """Share, 0 to 1, of the top beams of an unconstrained beam search that spell no valid docID.

    `generations` holds, by query id, the document ids spelt, best beam first, None for a beam that
    spells none or did not finish. Valid is a candidate when reranking, else a document of the
    corpus. `top` beams a query are counted, or as many as it has valid docIDs: with 8 candidates,
    two of 10 beams could not be valid however good the model. A beam that was not returned is a
    violation, so that nothing is gained by returning the valid ones only. A docID spelt by two beams
    is valid in both; so is the query's own document. The share is over all beams of all queries.

    Raises ValueError where there is no beam to count.
    """
    counted = valid = 0
    for query in queries:
        allowed = corpus_ids if query.candidates is None else frozenset(query.candidates)
        beams = min(top, len(allowed))
        counted += beams
        valid += sum(d is not None and d in allowed for d in generations.get(query.id, ())[:beams])
    if not counted:
        raise ValueError(f"no beam to count: {len(queries)} queries, {len(corpus_ids)} documents, top {top}")
    return 1.0 - valid / counted
