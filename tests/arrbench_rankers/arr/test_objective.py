"""What a training minimises beside the SToICaL loss: the order of scores, and the last epochs' NTP."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr.docids.name import Name
from arrbench_rankers.arr.examples import examples
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.order import plackett_luce
from arrbench_rankers.arr.ranker import Arr
from arrbench_rankers.arr.training import Collator
from arrbench_rankers.backbones import load_tokenizer
from arrbench_rankers.dev_measure import ndcg_at_10

scores_of_lists = st.lists(st.lists(st.floats(-50, 5), min_size=1, max_size=6), min_size=1, max_size=4)


def padded(lists):
    longest = max(map(len, lists))
    scores = torch.tensor([[*scores, *[7.0] * (longest - len(scores))] for scores in lists])
    return scores, torch.tensor([[i < len(scores) for i in range(longest)] for scores in lists])


def test_the_likelihood_of_an_order_by_hand():
    # weights e^s 3 : 1 : 2, in this order: 3/6 · 1/3 · 2/2
    scores = torch.tensor([[3.0, 1.0, 2.0]]).log()
    assert plackett_luce(scores, torch.ones(1, 3, dtype=torch.bool)).item() == pytest.approx(np.log(6) / 3)


@given(scores_of_lists)
def test_it_is_the_chance_of_drawing_the_list_in_its_order(lists):
    losses = []
    for scores in lists:
        weights, loss = np.exp(np.array(scores)), 0.0
        for place in range(len(scores)):
            loss -= np.log(weights[place] / weights[place:].sum()) / len(scores)
        losses.append(loss)
    scores, listed = padded(lists)
    assert plackett_luce(scores, listed).item() == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-4)


def test_padding_has_no_gradient():
    scores, listed = padded([[-1.0, -400.0, -3.0], [-2.0]])
    scores.requires_grad_()
    plackett_luce(scores, listed).backward()
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[~listed] == 0).all()
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1:].sum()


@pytest.fixture(scope="module")
def world(split):
    scheme = Name(Name.Options(), seed=0)
    tokenizer = load_tokenizer("tiny", [], scheme.words(split.corpus), Context())
    index = DocIdIndex.build(scheme, tokenizer, split.corpus, None)

    def make(train=split, **options):
        prompts = [[1, 2 + number] for number in range(len(train.queries))]
        return examples(train, lambda queries: prompts[: len(queries)], index, ArrOptions(**options), seed=3)

    return make


def loss_of(made, objective, finishing=False):
    """The objective under made-up log-probabilities, and these by example."""
    batch = Collator(0)(made)
    torch.manual_seed(0)
    log_probs = -torch.rand(len(batch["tokens"]))
    return objective.loss(log_probs, batch, finishing).item(), log_probs.split(batch["counts"].tolist())


def score(log_probs, path):
    return sum(log_probs[edge - 1].item() for edge in path if edge)


@pytest.mark.parametrize("item", ["fractional", "top1"])
def test_the_order_loss_reads_every_listed_document_s_score(world, split, item):
    made = world(item=item, order=0.5)
    assert [len(example.paths) for example in made] == [
        len(split.judgments.ranked(q.id)) for q in split.queries
    ]
    together, log_probs = loss_of(made, Objective(order=0.5))
    stoical = np.mean(
        [-(torch.from_numpy(e.targets) * lp).sum().item() for e, lp in zip(made, log_probs, strict=True)]
    )
    lists = [[score(lp, path) for path in e.paths] for e, lp in zip(made, log_probs, strict=True)]
    assert together == pytest.approx(stoical + 0.5 * plackett_luce(*padded(lists)).item(), rel=1e-5)


def test_without_it_the_top_document_s_edges_are_all_that_ntp_reads(world):
    for example in world(item="top1"):
        assert example.targets.tolist() == [1] * len(example.targets)
        assert example.paths.tolist() == [list(range(1, len(example.targets) + 1))]


@pytest.mark.parametrize("beta", [None, 1.0])
def test_the_finish_is_next_token_prediction_of_the_top_document(world, beta):
    made = world(beta=beta, finish=1)
    found, log_probs = loss_of(made, Objective(order=1, finish=0.5), finishing=True)
    top = [-score(lp, e.paths[0]) for e, lp in zip(made, log_probs, strict=True)]
    assert found == pytest.approx(np.mean(top), rel=1e-5)


def test_the_finish_is_the_last_share_of_the_steps():
    objective = Objective(finish=1 / 12)
    assert [step for step in range(24) if objective.finishing(step, 24)] == [22, 23]
    assert not any(Objective().finishing(step, 24) for step in range(24))
    assert all(Objective(finish=2).finishing(step, 24) for step in range(24))


def test_a_margin_weighs_the_first_document_alone(world):
    for plain, marked in zip(world(alpha=0), world(alpha=0, top=3), strict=True):
        more = marked.targets - plain.targets
        assert more.sum() == pytest.approx(2 * (plain.paths[0] > 0).sum())
        assert set(np.flatnonzero(more) + 1) == set(plain.paths[0]) - {0}


@pytest.mark.parametrize("options", [{"order": 1.0}, {"finish": 2}, {"top": 2}, {"off_list": 3}])
def test_every_remedy_trains(split, options):
    ranker = Arr(Arr.Options(epochs=20, batch=4, warmup=5, learning_rate=3e-3, **options), Context())
    ranker.fit(split, split)
    ranker.index(split.corpus)
    assert ndcg_at_10(ranker.rank(split.queries, 10), split) > 0.8


def test_targets_that_are_no_numbers_are_refused_by_the_query_s_name():
    corpus = Corpus(Document(title, title, title) for title in ("dog", "cat"))
    train = Split((Query("q7", "a dog"),), Judgments({"q7": {"dog": 2, "cat": 1}}), corpus)
    with pytest.raises(UsageError, match=r"query 'q7' \(2 documents\).*top=1e\+300 must be smaller"):
        Arr(Arr.Options(top=1e300), Context()).fit(train, train)


def losses_of_a_training(split, **options):
    reports = []
    context = Context(report=lambda phase, done, total, **figures: reports.append(figures))
    Arr(Arr.Options(epochs=10, batch=4, warmup=5, **options), context).fit(split, split)
    return [figures["loss"] for figures in reports if "loss" in figures]


def test_a_training_that_is_all_finish_is_one_of_next_token_prediction(split):
    finished, ntp = losses_of_a_training(split, finish=10), losses_of_a_training(split, item="top1")
    assert finished == pytest.approx(ntp, rel=1e-2)
    plain, half = losses_of_a_training(split), losses_of_a_training(split, finish=5)
    assert half[0] == plain[0]  # the first 10 of 20 steps
    assert half[1] < plain[1]  # fewer documents' losses in the sum
