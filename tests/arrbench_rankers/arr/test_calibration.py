"""Invalid mass and calibration: a model whose probabilities are known, and a twin prefix by prefix."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.ranker import Context
from arrbench_rankers.arr import calibration
from arrbench_rankers.arr.calibration import Asked
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.ragged import Ragged
from arrbench_rankers.arr.ranker import Arr
from arrbench_rankers.arr.trie import PrefixTree

END = 2
corpora = st.lists(
    st.lists(st.integers(10, 13), min_size=1, max_size=3).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=2,
    max_size=12,
)


def index_of(docids):
    ids = tuple(map(str, range(len(docids))))
    return DocIdIndex(ids, Ragged.of(docids), PrefixTree.build(docids), closed=True, numbered=0, corpus="")


def naive(model, docids, asked, options):
    """Every prefix of every listed and own docID in a forward pass of its own."""
    sums = {}

    def count(name, depth, weight, value):
        total, mass = sums.get((name, depth), (0.0, 0.0))
        sums[name, depth] = (total + weight * value, mass + weight)

    for one in asked:
        ranked = list(enumerate(one.listed, 1))
        for kind, documents in (("listed", one.listed), ("own", one.own)):
            for place, d in enumerate(documents, 1):
                weight = place**-options.alpha if kind == "listed" else 1
                for t in range(len(docids[d])):
                    u = docids[d][:t]
                    with torch.no_grad():
                        p = model(torch.tensor([[*one.prompt, *u]])).logits[0, -1].softmax(-1).tolist()
                    allowed = {docid[t] for docid in docids if docid[:t] == u}
                    valid = sum(p[v] for v in allowed)
                    if kind == "own":
                        count("invalid_mass_own", t + 1, 1, 1 - valid)
                        continue
                    through = [(r, docids[i][t]) for r, i in ranked if docids[i][:t] == u]
                    y = {v: sum(r**-options.alpha for r, w in through if w == v) for v in allowed}
                    apart = sum(abs(p[v] / valid - y[v] / sum(y.values())) for v in allowed) / 2
                    count("invalid_mass", t + 1, weight, 1 - valid)
                    count("calibration", t + 1, weight, apart)
    return {f"{name}_depth_{depth}": total / mass for (name, depth), (total, mass) in sums.items()}


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


@settings(max_examples=15, deadline=None)
@given(corpora, st.data(), st.floats(0, 3))
def test_it_is_the_mean_over_prefixes_read_one_by_one(model, docids, data, alpha):
    positions = st.lists(st.integers(0, len(docids) - 1), unique=True, min_size=1, max_size=5)
    asked = [Asked([1, 5 + q, 3], data.draw(positions), data.draw(positions)) for q in range(2)]
    options = ArrOptions(alpha=alpha)
    found = calibration.facts(model, index_of(docids), asked, options)
    assert found == pytest.approx(naive(model, docids, asked, options), abs=1e-5)


class Even(torch.nn.Module):
    """A model that gives each of ten tokens a tenth whatever it reads."""

    dtype, device = torch.float32, torch.device("cpu")
    config = type("Config", (), {"pad_token_id": 0})

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Identity()

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, **_):
        return type("Output", (), {"logits": self.head(torch.zeros(*input_ids.shape, 10))})


def test_a_worked_example():
    # corpus "3 2", "4 2", "4 5 2"; listed, alpha=1: "4 2" (weight 1), "3 2" (1/2); the model's own: "4 5 2"
    docids = [(3, END), (4, END), (4, 5, END)]
    found = calibration.facts(Even(), index_of(docids), [Asked([1], [1, 0], [2])], ArrOptions(alpha=1))
    # step 1: two of ten tokens allowed; within the tree ½, ½ where 2/3, 1/3 is the target
    # step 2: after 4 two allowed (weight 1), ½, ½ against 1, 0; after 3 one (weight ½), as it should be
    assert found == pytest.approx(
        {
            "invalid_mass_depth_1": 0.8,
            "invalid_mass_depth_2": (1 * 0.8 + 0.5 * 0.9) / 1.5,
            "invalid_mass_own_depth_1": 0.8,
            "invalid_mass_own_depth_2": 0.8,
            "invalid_mass_own_depth_3": 0.9,
            "calibration_depth_1": 1 / 6,
            "calibration_depth_2": (1 * 0.5 + 0.5 * 0) / 1.5,
        }
    )


def test_no_query_has_no_facts(model):
    assert calibration.facts(model, index_of([(10, END)]), [], ArrOptions()) == {}


def test_a_training_leaves_them_in_the_record_s_facts(trained, split):
    facts = trained.facts
    assert {f"{name}_depth_{t}" for name in ("invalid_mass", "calibration") for t in (1, 2, 3)} <= set(facts)
    assert 0 <= facts["invalid_mass_depth_1"] < 0.1  # learnt by heart
    assert 0 <= facts["calibration_depth_1"] < 0.2
    untrained = Arr(Arr.Options(epochs=0.1, learning_rate=1e-9), Context())
    untrained.fit(split, split)
    assert untrained.facts["invalid_mass_depth_1"] > 0.4
    assert np.isfinite([v for name, v in untrained.facts.items() if "_depth_" in name]).all()
