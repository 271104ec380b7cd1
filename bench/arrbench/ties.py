"""The order of what nothing else orders: documents that score the same, lines of a file."""

import hashlib


def tie_hash(query_id: str, document_id: str) -> bytes:
    """A hash that orders ties: stable everywhere, and unrelated to what ids look like.

    Id order is not neutral: ids often carry the answer (WordNet's offsets group a subtree).
    """
    return hashlib.blake2b(f"{query_id}\x00{document_id}".encode(), digest_size=8).digest()


def id_hash(any_id: str) -> bytes:
    """The same for what belongs to no query, such as the documents of a corpus."""
    return tie_hash("", any_id)
