"""The order of documents that score the same."""

import hashlib


def tie_hash(query_id: str, document_id: str) -> bytes:
    """A hash that orders ties: stable everywhere, and unrelated to what ids look like.

    Id order is not neutral: ids often carry the answer (WordNet's offsets group a subtree).
    """
    return hashlib.blake2b(f"{query_id}\x00{document_id}".encode(), digest_size=8).digest()
