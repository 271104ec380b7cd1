"""A path a row: as packed rows where a model reads those, and as plain calls where it doesn't."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.ranker import Context
from arrbench_rankers import backbones
from arrbench_rankers.arr import one_by_one, packing
from arrbench_rankers.arr.best_first import best_first, search
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.reading import ONE_BY_ONE, PACKED
from arrbench_rankers.arr.search_order import ByScore
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree
from arrbench_rankers.dev_measure import ndcg_at_10

END = 2
docid_lists = st.lists(st.lists(st.integers(3, 7), max_size=4), min_size=1, max_size=8, unique_by=tuple).map(
    lambda docids: [(*docid, END) for docid in docids]
)
prompts = st.lists(st.integers(3, 39), min_size=1, max_size=6)


def test_a_batch_by_hand():
    tree = PrefixTree.build([(10, END), (10, 11, END), (12, END)])
    batch = one_by_one.collate([Row([1, 3], tree), Row([1, 4, 3], PrefixTree.build([(9,)]))], pad=0)
    assert batch["input_ids"].tolist() == [[1, 3, 12, 0], [1, 3, 10, 11], [1, 4, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]
    # edges: 10, 12 behind the root; end, 11 behind 10; end behind 12; end behind 10 11; 9
    assert batch["tokens"].tolist() == [10, 12, END, 11, END, END, 9]
    assert batch["sequence"].tolist()[2:] == [1, 1, 0, 1, 2]
    assert batch["place"].tolist() == [1, 1, 2, 2, 2, 3, 2]
    assert batch["counts"].tolist() == [6, 1]


def test_paths_to_what_is_not_asked_for_have_no_row():
    tree = PrefixTree.build([(10, 11, END), (12, 13, END)])
    (asked,) = np.flatnonzero(tree.token == 11)
    batch = one_by_one.collate([Row([3], tree, packing.Edges(np.array([asked]), np.array([END])))], pad=0)
    assert batch["input_ids"].tolist() == [[3, 10, 11]]
    assert (batch["sequence"].tolist(), batch["place"].tolist()) == ([0], [2])


def gradient(model, log_probs):
    model.zero_grad()
    log_probs.sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(prompts, docid_lists), min_size=1, max_size=3))
def test_log_probabilities_and_gradients_are_those_of_packed_rows(small_lm, asked):
    model = small_lm("llama")
    rows = [Row(prompt, PrefixTree.build(docids)) for prompt, docids in asked]
    alone = one_by_one.edge_log_probs(model, one_by_one.collate(rows, 0))
    packed = packing.edge_log_probs(model, packing.collate(rows, 0))
    torch.testing.assert_close(alone, packed, rtol=1e-4, atol=1e-4)
    one, other = gradient(model, alone), gradient(model, packed)
    assert (one - other).norm() <= 1e-4 * other.norm()


@pytest.mark.parametrize("family", ["mamba", "bloom"])
@torch.inference_mode()
def test_other_models_score_as_one_plain_call_a_docid(small_lm, family, monkeypatch):
    model = small_lm(family)
    asked = [([1, 7, 8, 9, 3], [(10, 11, END), (10, END), (12, END)]), ([1, 3], [(20, 21, 22, END)])]
    monkeypatch.setattr(one_by_one, "FLOATS", 1)  # a forward a sequence
    trees = [PrefixTree.build(docids) for _, docids in asked]
    found = exact_scores(model, [prompt for prompt, _ in asked], trees, False, reading=ONE_BY_ONE)
    for (prompt, docids), scores in zip(asked, found, strict=True):
        for docid, score in zip(docids, scores, strict=True):
            log_probs = model(torch.tensor([[*prompt, *docid]])).logits[0].log_softmax(-1)
            at = torch.arange(len(prompt) - 1, len(prompt) + len(docid) - 1)
            assert score == pytest.approx(log_probs[at, torch.tensor(docid)].sum().item(), abs=1e-4)


@torch.inference_mode()
def test_a_search_finds_what_it_finds_behind_a_cache(small_lm):
    model, random = small_lm("llama"), np.random.default_rng(0)
    docids = [
        (*docid, END) for docid in {tuple(random.integers(3, 9, random.integers(1, 5))) for _ in range(60)}
    ]
    tree = TreeTensors(PrefixTree.build(docids), 40, model.device, False, False)
    asked = model, [[1, 7, 8, 3], [1, 3], [1, 9, 3]], tree, ByScore(), best_first(5, 4, 1000)
    for one, other in zip(search(*asked, PACKED), search(*asked, ONE_BY_ONE), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_array_equal(one.documents, other.documents)
        assert (one.exact, one.nodes) == (other.exact, other.nodes) == (True, one.nodes)


@pytest.fixture(scope="module")
def mamba(split, tmp_path_factory):
    """A folder of a small random Mamba that knows the animals' words."""
    from transformers import MambaConfig, MambaForCausalLM

    folder = tmp_path_factory.mktemp("mamba")
    words = [*(d.title for d in split.corpus), *(q.text for q in split.queries), "0 1 2 3 4 5 6 7 8 9"]
    tokenizer = backbones.load_tokenizer("tiny", [], words, Context())
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        state_size=8,
        num_hidden_layers=2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    MambaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.filterwarnings("ignore:models of type 'mamba'")
def test_a_recurrent_backbone_trains_ranks_generates_and_is_saved(mamba, split, tmp_path):
    options = ArrStoical.Options(backbone=mamba, epochs=12, batch=4, warmup=3, learning_rate=2e-2)
    ranker = ArrStoical(options, Context())
    ranker.fit(split, split)
    ranker.index(split.corpus)
    assert ranker.facts["packed"] is False
    assert "'mamba'" in ranker.facts["not_packed_because"]
    assert ndcg_at_10(ranker.rank(split.queries, 10), split) > 0.8
    ranker.save(tmp_path)
    loaded = ArrStoical.load(tmp_path, Context())
    assert loaded.rank(split.queries, 100) == ranker.rank(split.queries, 100)
    assert loaded.generate(split.queries, 3) == ranker.generate(split.queries, 3)
    assert [ids[0] for ids in loaded.generate(split.queries, 3)] == [
        ranking.ids[0] for ranking in ranker.rank(split.queries, 1)
    ]


def test_a_packed_backbone_says_so(trained):
    assert trained.facts["packed"] is True
    assert "not_packed_because" not in trained.facts
