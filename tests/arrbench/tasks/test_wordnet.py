import math

import pytest
from pydantic import ValidationError

from arrbench.errors import UsageError
from arrbench.task import SPLITS, DataSource
from arrbench.tasks.wordnet import WordNet, WordNetPaper, WordNetRerank


def build(cls, folder, **options):
    return cls(cls.Options(**options), DataSource(folder, cache=folder.parent))


def queries(task, name):
    return {q.id: q for q in task.split(name).queries}


@pytest.fixture(scope="module")
def rerank(wordnet_dir):
    return build(WordNetRerank, wordnet_dir)


@pytest.fixture(scope="module")
def paper(wordnet_dir):
    return build(WordNetPaper, wordnet_dir)


def test_the_default_is_retrieval_among_the_mammals_that_have_hyponyms(mammals):
    assert mammals.setting == "retrieve"
    assert mammals.headline == "ndcg@10"
    assert mammals.facts["edition"] == "WordNet 3.0"
    assert mammals.facts["root"] == "mammal%1:05:00::"
    assert mammals.facts["synsets"] == 1182  # 1,176 if only first hypernyms counted
    assert mammals.facts["documents"] == len(mammals.split("test").corpus) == 293
    assert sum(len(mammals.split(name).queries) for name in SPLITS) == 1181  # all but the root
    assert len(mammals.split("test").queries) == mammals.facts["queries_test"] == 171


def test_a_list_worked_by_hand(mammals):
    for name in SPLITS:
        if "corgi%1:05:00::" in queries(mammals, name):
            split = mammals.split(name)
    query = next(q for q in split.queries if q.id == "corgi%1:05:00::")
    assert query.text.startswith("corgi: either of two Welsh breeds of long-bodied short-legged dogs")
    ranked = split.judgments.ranked(query.id)
    assert [split.corpus.by_id(d).title for d in ranked] == [
        "dog", "canine", "carnivore", "placental", "mammal",
    ]  # fmt: skip
    assert [split.judgments.gain(query.id, d) for d in ranked] == [5, 4, 3, 2, 1]
    assert split.judgments.gain(query.id, "bovid%1:05:00::") == 0
    dog = split.corpus.by_id("dog%1:05:00::")
    assert dog.text == "dog"
    assert query.excluded == {query.id}  # corgi has hyponyms, so it is a document too


def test_gains_run_from_n_to_1(mammals):
    for name in SPLITS:
        split = mammals.split(name)
        assert set(split.judgments.grades) == {q.id for q in split.queries}  # and no other split's
        for query, grades in split.judgments.grades.items():
            assert sorted(grades.values()) == list(range(1, len(grades) + 1))
            assert grades["mammal%1:05:00::"] == 1
            assert query not in grades


@pytest.mark.parametrize("task", ["mammals", "rerank", pytest.param("paper", marks=pytest.mark.slow)])
def test_splits_share_no_query_and_test_lists_hold_only_documents_trained_on(task, request):
    task = request.getfixturevalue(task)
    train, dev, test = (set(queries(task, name)) for name in SPLITS)
    assert not train & dev
    assert not train & test
    assert not dev & test
    trained = {d for grades in task.split("train").judgments.grades.values() for d in grades}
    for name in ("dev", "test"):
        assert all(trained.issuperset(g) for g in task.split(name).judgments.grades.values())


@pytest.mark.parametrize("task", ["mammals", "rerank"])
def test_a_query_that_is_a_document_is_excluded_from_its_own_ranking(task, request):
    task = request.getfixturevalue(task)
    split = task.split("test")
    both = [q for q in split.queries if q.id in split.corpus.positions]
    assert len(both) == task.facts["test_queries_that_are_documents"] == 49
    assert all(q.excluded == ({q.id} if q in both else set()) for q in split.queries)


def test_without_the_exclusion_a_perfect_ranking_would_be_capped(mammals):
    """Itself first, then the path: the loss that the exclusion undoes is worth a tenth of nDCG."""
    split = mammals.split("test")
    values = []
    for query in split.queries:
        gains = sorted(split.judgments.grades[query.id].values(), reverse=True)
        shift = 3 if query.excluded else 2
        values.append(
            sum(g / math.log2(i + shift) for i, g in enumerate(gains))
            / sum(g / math.log2(i + 2) for i, g in enumerate(gains))
        )
    assert 0.88 < sum(values) / len(values) < 0.95


def test_reranking_mixes_two_paths(rerank):
    assert rerank.setting == "rerank"
    split = rerank.split("test")
    for query in split.queries:
        path = set(split.judgments.grades[query.id])
        others = set(query.candidates) - path
        assert path < set(query.candidates)
        assert query.id not in query.candidates
        assert others <= set(split.corpus.ids)
        assert max(split.judgments.gain(query.id, d) for d in others) == 0


def test_test_candidates_hold_no_document_that_training_never_ranked(rerank):
    """Else being unseen would give a negative away."""
    trained = {d for grades in rerank.split("train").judgments.grades.values() for d in grades}
    assert all(trained.issuperset(q.candidates) for q in rerank.split("test").queries)


@pytest.mark.parametrize("negatives", ["random", "same-depth"])
def test_other_kinds_of_negatives_add_one_candidate(forest, negatives):
    task = build(WordNet, forest, root="noun0.n.01", setting="rerank", negatives=negatives)
    for name in SPLITS:
        split = task.split(name)
        assert all(len(q.candidates) == len(split.judgments.grades[q.id]) + 1 for q in split.queries)


@pytest.mark.slow
def test_the_papers_protocol(paper):
    assert paper.facts["synsets"] == 82115
    assert paper.facts["queries_test"] == len(paper.split("test").queries) == 5000
    assert round(paper.facts["multi_parent_share"], 3) == 0.027
    split = paper.split("test")
    for query in split.queries:
        grades = split.judgments.grades[query.id]
        assert grades["entity%1:03:00::"] == 1
        assert len(query.candidates) == len(grades) + 1
    assert {d for q in split.queries for d in q.candidates} <= set(split.corpus.ids)


def test_texts_by_option(forest):
    usual = build(WordNet, forest, root="noun0.n.01").split("dev")
    other = build(WordNet, forest, root="noun0.n.01", text="lemma", document="lemma+gloss").split("dev")
    name = usual.queries[0].id.partition("%")[0]
    assert usual.queries[0].text == f"{name}: number {name.removeprefix('noun')}"
    assert other.queries[0].text == name
    assert usual.corpus.by_id("noun3%1:03:00::").text == "noun3"
    assert other.corpus.by_id("noun3%1:03:00::").text == "noun3: number 3"
    assert other.corpus.by_id("noun3%1:03:00::").title == "noun3"
    assert other.judgments == usual.judgments


def test_a_sense_key_is_as_good_a_root_as_a_name(forest):
    named, keyed = (build(WordNet, forest, root=root) for root in ("noun1.n.01", "noun1%1:03:00::"))
    assert named.fingerprint() == keyed.fingerprint()
    assert named.facts["synsets"] < 400


def test_line_ends_and_a_missing_index_change_nothing(forest, tmp_path):
    text = (forest / "data.noun").read_bytes()
    (tmp_path / "data.noun").write_bytes(text.replace(b"\n", b"\r\n"))
    here, there = (build(WordNetRerank, folder, root="noun0.n.01") for folder in (forest, tmp_path))
    assert here.fingerprint() == there.fingerprint()


def test_the_fingerprint_tells_settings_apart(forest):
    usual = build(WordNet, forest, root="noun0.n.01")
    fewer = build(WordNet, forest, root="noun0.n.01", test_queries=20)
    lemmas = build(WordNet, forest, root="noun0.n.01", text="lemma")
    rerank = build(WordNetRerank, forest, root="noun0.n.01")
    assert fewer.facts["queries_test"] == 20
    assert set(queries(fewer, "test")) < set(queries(usual, "test"))
    assert queries(fewer, "train") == queries(usual, "train")
    assert len({task.fingerprint() for task in (usual, fewer, lemmas, rerank)}) == 4


@pytest.mark.parametrize(
    ("root", "says"),
    [
        ("nuon1.n.01", r"nuon1\.n\.01.*noun1\.n\.01"),
        ("noun99.n.01", "3 nouns below it.*wider root"),
        ("noun399.n.01", "0 nouns below it.*wider root"),
    ],
)
def test_a_root_that_will_not_do(forest, root, says):
    with pytest.raises(UsageError, match=says):
        build(WordNet, forest, root=root)


@pytest.mark.parametrize(
    "options",
    [
        {"negatives": "random"},  # nothing to put them into
        {"setting": "retrive"},
        {"setting": "rerank", "negatives": "hard"},
        {"test_queries": 0},
        {"rooot": "mammal.n.01"},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        WordNet.Options(**options)


@pytest.mark.parametrize("cls", [WordNet, WordNetRerank, WordNetPaper])
def test_options_survive_json(cls):
    options = cls.Options()
    assert cls.Options.model_validate_json(options.model_dump_json()) == options


def test_a_damaged_folder_names_file_and_line(forest, tmp_path):
    (tmp_path / "data.noun").write_bytes((forest / "data.noun").read_bytes()[:20_000])
    with pytest.raises(UsageError, match=r"data\.noun:\d+: "):
        build(WordNet, tmp_path)
