"""docIDs of scheme `name`: short, unique, closed by an end token, whatever the titles hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document
from arrbench.ties import id_hash
from arrbench_rankers.arr.docids.name import Name
from arrbench_rankers.arr.docids.unique import write
from arrbench_rankers.arr.trie import PrefixTree
from arrbench_rankers.backbones import load_tokenizer


def corpus_of(*titles):
    return Corpus(Document(f"d{i:02}", title, title) for i, title in enumerate(titles))


def in_order(written, documents=None):
    """The docIDs of documents d00 … (or of some of them) in the order in which they are numbered."""
    numbered = sorted(documents or range(len(written)), key=lambda i: id_hash(f"d{i:02}"))
    return [written[i] for i in numbered]


def spelt(corpus, known=None, tokens=None):
    """Each docID as text, by a tokenizer that knows the words of `known`, else of the corpus."""
    scheme = Name(Name.Options(tokens=tokens), seed=0)
    keep = scheme.words(corpus) if known is None else known
    tokenizer = load_tokenizer("tiny", [], keep, Context())
    docids = write(scheme, tokenizer, corpus, None).docids
    assert all(docid[-1] == tokenizer.eos_token_id for docid in docids)
    tree = PrefixTree.build(docids)  # refuses docIDs that are alike
    assert (tree.document[tree.inner] == -1).all()
    return [" ".join(tokenizer.convert_ids_to_tokens(docid[:-1])) for docid in docids]


def test_a_title_is_its_own_docid():
    assert spelt(corpus_of("Dog", "dog house", "cat")) == ["dog", "dog house", "cat"]


def test_equal_titles_are_numbered_in_the_order_of_the_ids_hashes():
    written = spelt(corpus_of(*["bank"] * 5))
    assert in_order(written) == ["bank", "bank 2", "bank 3", "bank 4", "bank 5"]
    assert written != sorted(written)


def test_a_number_that_another_title_bears_is_passed_over():
    written = spelt(corpus_of("bank", "bank", "bank 2", "Bank"))
    assert written[2] == "bank 2"
    assert in_order(written, (0, 1, 3)) == ["bank", "bank 3", "bank 4"]


def test_numbers_from_ten_on_are_written_digit_by_digit():
    written = spelt(corpus_of(*["bank"] * 12))
    assert in_order(written)[8:] == ["bank 9", "bank 1 0", "bank 1 1", "bank 1 2"]


def test_a_title_is_cut_at_the_tokens_asked_for_and_numbered_where_another_is_left_alike():
    titles = ("red garden hose", "red garden hose, coiled", "red", "red garden-hose")
    written = spelt(corpus_of(*titles), tokens=2)
    assert written[2] == "red"
    assert in_order(written, (0, 1, 3)) == ["red garden", "red garden 2", "red garden 3"]
    assert spelt(corpus_of(*titles), tokens=4)[1] == "red garden hose ,"


def test_a_title_without_tokens_is_a_number():
    written = spelt(corpus_of("", " ", "dog"))
    assert written[2] == "dog"
    assert in_order(written, (0, 1)) == ["1", "2"]


def test_titles_that_tokenize_alike_are_numbered():
    known = ["dog", " ".join("0123456789")]
    assert sorted(spelt(corpus_of("yeti", "unicorn", "dog"), known)) == ["<unk>", "<unk> 2", "dog"]


def test_a_title_that_spells_the_end_token_ends_no_docid_early():
    assert spelt(corpus_of("dog </s> house", "dog")) == ["dog house", "dog"]


def test_a_tokenizer_without_digits_is_refused_where_numbers_are_needed():
    with pytest.raises(UsageError, match=r"'(yeti|unicorn)'.*digits"):
        spelt(corpus_of("yeti", "unicorn"), known=["dog"])


def test_a_tokenizer_without_an_end_token_is_refused():
    tokenizer = load_tokenizer("tiny", [], ["dog"], Context())
    tokenizer.eos_token = None
    with pytest.raises(UsageError, match="no end-of-sequence token"):
        write(Name(Name.Options(), 0), tokenizer, corpus_of("dog"), None)


def test_a_corpus_without_documents_is_refused():
    with pytest.raises(UsageError, match="no document"):
        spelt(corpus_of())


@given(
    st.lists(
        st.sampled_from(["a", "a 2", "a 3", "", "2", "b a", "a 2 2", "zz", "yy", "</s>"]),
        min_size=1,
        max_size=12,
    )
)
def test_any_titles_get_docids_that_are_unique_and_no_prefix_of_another(titles):
    corpus = corpus_of(*titles)
    assert len(set(spelt(corpus, ["a b", " ".join("0123456789")]))) == len(titles)


def test_the_corpus_s_order_changes_no_docid():
    documents = list(corpus_of("a", "a", "a 2", "", "zz", "yy"))
    one = dict(zip((d.id for d in documents), spelt(Corpus(documents)), strict=True))
    other = dict(zip((d.id for d in documents[::-1]), spelt(Corpus(documents[::-1])), strict=True))
    assert one == other
