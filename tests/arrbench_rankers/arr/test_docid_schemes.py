"""What every docID scheme promises, and what each writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document
from arrbench.ties import id_hash
from arrbench_rankers.arr.docids.kmeans import KMeans
from arrbench_rankers.arr.docids.scheme import AskedScheme, DocIdScheme
from arrbench_rankers.arr.docids.spelling import decimal
from arrbench_rankers.arr.docids.texts import DocIdTexts
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.ragged import Ragged
from arrbench_rankers.backbones import load_tokenizer

SCHEMES = (
    "name",
    "name:tokens=1",
    "atomic",
    "ordinal",
    "sparse-code:dictionary=6:nonzeros=2",
    "kmeans:branches=3:leaf=4",
)
COLOURS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")


def corpus_of(n, seed=0):
    """Documents d0 … in a shuffled order, of three words each; some titles are alike, one is empty."""
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice(COLOURS, 3)) for _ in range(n)]
    titles[n // 2] = titles[0]
    titles[-1] = ""
    return Corpus(Document(f"d{i}", titles[i], titles[i]) for i in rng.permutation(n).tolist())


def embed(texts):
    """Counts of the colours, and a little of each word's place."""
    return np.array(
        [[sum((w == c) * (1 + i / 9) for i, w in enumerate(t.split())) for c in COLOURS] for t in texts],
        np.float32,
    )


def tokenizer_for(scheme, corpus):
    tokenizer = load_tokenizer("tiny", [], scheme.words(corpus), Context())
    scheme.extend(tokenizer, corpus)
    return tokenizer


def indexed(text, corpus, seed=0):
    scheme = AskedScheme.of(text).made(seed)
    tokenizer = tokenizer_for(scheme, corpus)
    return scheme, tokenizer, DocIdIndex.build(scheme, tokenizer, corpus, embed)


@pytest.mark.parametrize("text", SCHEMES)
def test_docids_are_unique_deterministic_and_independent_of_the_corpus_s_order(text):
    corpus = corpus_of(40)
    _, _, index = indexed(text, corpus)
    assert len(set(index.docids)) == 40
    _, _, again = indexed(text, corpus)
    assert list(again.docids) == list(index.docids)
    _, _, turned = indexed(text, Corpus(list(corpus)[::-1]))
    assert all(turned.docid(d) == index.docid(d) for d in corpus.ids)


@pytest.mark.parametrize("text", SCHEMES)
def test_text_names_the_document_that_it_was_written_for(text):
    _, tokenizer, index = indexed(text, corpus_of(40))
    written = DocIdTexts(tokenizer, index)
    assert [written.document(written.text(d)) for d in index.ids] == list(index.ids)
    assert written.document("no such docid") is None


@pytest.mark.parametrize("text", SCHEMES)
def test_no_docid_begins_another_and_closed_ones_end_with_the_end_token(text):
    scheme, tokenizer, index = indexed(text, corpus_of(40))
    assert (index.tree.document[index.tree.inner] == -1).all()
    if scheme.closed:
        assert {docid[-1] for docid in index.docids} == {tokenizer.eos_token_id}
    assert all(tokenizer.eos_token_id not in index.name(d) for d in index.ids)
    assert all(tokenizer.unk_token_id not in docid for docid in index.docids)


@pytest.mark.parametrize("text", SCHEMES)
def test_an_index_is_loaded_as_saved(text, tmp_path):
    _, _, index = indexed(text, corpus_of(40))
    index.save(tmp_path)
    loaded = DocIdIndex.load(tmp_path)
    assert isinstance(loaded.docids.tokens, np.memmap)
    assert list(loaded.docids) == list(index.docids)
    assert (loaded.ids, loaded.nbytes, loaded.longest) == (index.ids, index.nbytes, index.longest)
    assert (loaded.closed, loaded.numbered, loaded.corpus) == (index.closed, index.numbered, index.corpus)
    assert loaded.subset(index.ids[:3]) == [index.docid(d) for d in index.ids[:3]]


@pytest.mark.parametrize("text", [s for s in SCHEMES if s != "atomic"])
def test_a_loaded_scheme_writes_another_corpus_by_what_it_learnt_from_the_first(text, tmp_path):
    corpus, other = corpus_of(40), corpus_of(60, seed=1)
    scheme, tokenizer, first = indexed(text, corpus)
    scheme.save(tmp_path)
    loaded = AskedScheme.of(text).made(5)
    loaded.load(tmp_path)
    assert loaded.seed == scheme.seed
    assert list(DocIdIndex.build(loaded, tokenizer, corpus, embed).docids) == list(first.docids)
    here = DocIdIndex.build(scheme, tokenizer, other, embed)
    there = DocIdIndex.build(loaded, tokenizer, other, embed)
    assert list(here.docids) == list(there.docids)
    assert len(set(here.docids)) == 60


def texts_of(text, corpus):
    _, tokenizer, index = indexed(text, corpus)
    written = DocIdTexts(tokenizer, index)
    return {d: written.text(d).replace(" ", "") for d in corpus.ids}


def test_ordinal_counts_in_the_order_of_the_ids_hashes_with_zeros_in_front():
    written = texts_of("ordinal", Corpus(Document(f"{i:02}", "x", "") for i in range(13)))
    assert [written[d] for d in sorted(written, key=id_hash)] == [f"{i:02}" for i in range(13)]


def test_atomic_tokens_are_made_in_the_order_of_the_ids_hashes():
    _, _, index = indexed("atomic", corpus_of(40))
    tokens = [index.docid(d) for d in sorted(index.ids, key=id_hash)]
    assert tokens == sorted(tokens)


def test_atomic_writes_one_new_token_a_document_and_refuses_documents_without_one():
    corpus = corpus_of(12)
    scheme, tokenizer, index = indexed("atomic", corpus)
    assert {len(docid) for docid in index.docids} == {1}
    assert len(index.tree.inner) == 0
    part = DocIdIndex.build(scheme, tokenizer, Corpus(list(corpus)[:5]), embed)
    assert list(part.docids) == list(index.docids)[:5]
    with pytest.raises(UsageError, match=r"no token for 1 of 13 documents, 'new' first"):
        DocIdIndex.build(scheme, tokenizer, Corpus([*corpus, Document("new", "red", "")]), embed)


def test_a_sparse_code_s_atoms_ascend():
    corpus = Corpus(
        Document(f"d{i}", f"{a} {b}", "") for i, (a, b) in enumerate(zip(COLOURS, COLOURS[::-1], strict=True))
    )
    scheme, _, _ = indexed("sparse-code:dictionary=5:nonzeros=2", corpus)
    for text in texts_of("sparse-code:dictionary=5:nonzeros=2", corpus).values():
        atoms = [int(atom) for atom in text.split(",")][:2]
        assert atoms == sorted(atoms)
        assert max(atoms) < 5
    assert np.allclose(np.linalg.norm(scheme._learnt[1:], axis=1), 1, atol=1e-5)


def test_equal_sparse_codes_are_numbered_behind_a_comma_in_the_order_of_the_ids_hashes():
    titles = {"b": "red", "a": "red", "z": "blue pink", "c": "red", "y": "grey"}
    written = texts_of(
        "sparse-code:dictionary=5:nonzeros=2", Corpus(Document(d, t, "") for d, t in titles.items())
    )
    code, second, third = (written[d] for d in sorted("abc", key=id_hash))
    assert (second, third) == (f"{code},2", f"{code},3")
    assert len({written[d] for d in "ayz"}) == 3


def test_kmeans_parts_clusters_until_they_fit_and_numbers_their_documents():
    corpus = corpus_of(40)
    written = texts_of("kmeans:branches=3:leaf=4", corpus)
    paths = {d: [int(n) for n in text.split(",")] for d, text in written.items()}
    leaves = {}
    for document, (*path, number) in paths.items():
        assert all(cluster < 3 for cluster in path)
        leaves.setdefault(tuple(path), []).append((number, document))
    for members in leaves.values():
        assert [number for number, _ in sorted(members)] == list(range(len(members)))
        assert [d for _, d in sorted(members)] == sorted((d for _, d in members), key=id_hash)
    assert max(map(len, leaves.values())) <= 4


def test_kmeans_leaves_documents_together_that_are_alike():
    corpus = Corpus(Document(f"d{i:02}", "red green", "") for i in range(12))
    written = texts_of("kmeans:branches=3:leaf=4", corpus)
    assert sorted(written.values(), key=int) == [str(i) for i in range(12)]


@pytest.mark.parametrize("text", ["sparse-code", "kmeans"])
def test_one_document_is_enough(text):
    corpus = Corpus([Document("only", "red", "")])
    _, tokenizer, index = indexed(text, corpus)
    assert DocIdTexts(tokenizer, index).document(DocIdTexts(tokenizer, index).text("only")) == "only"


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(1, 4))
def test_decimal_writes_digits_as_text_does(numbers, width):
    digits, lengths = decimal(np.array(numbers), width)
    rows = np.split(digits, np.cumsum(lengths)[:-1])
    assert ["".join(map(str, row.tolist())) for row in rows] == [str(n).zfill(width) for n in numbers]


rows_of_tokens = st.lists(st.lists(st.integers(0, 5), max_size=4).map(tuple), max_size=6)


@given(rows_of_tokens, st.integers(0, 5), st.integers(0, 4))
def test_ragged_rows_are_joined_filtered_and_cut_as_lists_are(rows, dropped, most):
    ragged = Ragged.of(rows)
    assert list(ragged) == rows
    assert list(Ragged.beside(ragged, ragged)) == [row + row for row in rows]
    assert list(ragged.kept(ragged.tokens != dropped)) == [tuple(t for t in r if t != dropped) for r in rows]
    assert list(ragged.first(most)) == [row[:most] for row in rows]


class Written(DocIdScheme):
    """Codes as given."""

    rows: tuple[tuple[int, ...], ...] = ()

    def codes(self, tokenizer, corpus, embed):
        return Ragged.of(self.rows)


class Open(Written):
    closed = False


def write_as(cls, *rows):
    scheme = cls(cls.Options(), 0)
    scheme.rows = rows
    corpus = Corpus(Document(d, d, "") for d in ("a", "b"))
    return DocIdIndex.build(scheme, tokenizer_for(scheme, corpus), corpus, embed)


def test_codes_without_a_token_or_of_the_end_token_alone_become_counted_numbers():
    end = 3
    assert write_as(Written, (), (end,)).numbered == 2
    assert write_as(Written, (7, end), (7,)).numbered == 1
    assert write_as(Written, (7,), (8,)).numbered == 0


def test_a_scheme_that_writes_too_few_codes_wrong_tokens_or_open_docids_that_begin_others_is_named():
    with pytest.raises(UsageError, match=r"Written wrote 1 codes for 2 documents"):
        write_as(Written, (7,))
    with pytest.raises(
        UsageError, match=r"tokens from -1 to 7; the backbone's tokenizer has those from 0 to"
    ):
        write_as(Written, (7, -1), (7,))
    with pytest.raises(UsageError, match=r"tokens from 7 to 999; "):
        write_as(Written, (7,), (999,))
    with pytest.raises(UsageError, match=r"Open has no end token.*'b' begins another"):
        write_as(Open, (7, 8), (7,))
    assert write_as(Open, (8, 7), (7,)).docid("b") == (7,)


def test_a_tokenizer_without_what_a_scheme_writes_is_refused():
    corpus = corpus_of(5)
    bare = load_tokenizer("tiny", [], ["red"], Context())
    for text in ("ordinal", "kmeans"):
        with pytest.raises(UsageError, match=f"docid {text} needs a tokenizer that knows"):
            DocIdIndex.build(AskedScheme.of(text).made(0), bare, corpus, embed)


def test_specs_are_checked_by_name_and_option():
    assert AskedScheme.of("kmeans:branches=8").options == KMeans.Options(branches=8)
    with pytest.raises(UsageError, match="unknown docid 'atomc'; did you mean 'atomic'"):
        AskedScheme.of("atomc")
    with pytest.raises(UsageError, match="unknown option 'token' of docid 'name'; did you mean 'tokens'"):
        AskedScheme.of("name:token=3")
    with pytest.raises(UsageError, match="nonzeros=9 exceeds dictionary=4"):
        AskedScheme.of("sparse-code:dictionary=4:nonzeros=9")
