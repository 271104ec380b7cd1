"""Packed lines on CUDA: the loss, its gradient and the remedies are the CPU's."""

import numpy as np
import pytest
import torch

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr.docids.name import Name
from arrbench_rankers.arr.examples import examples
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.packing import edge_log_probs
from arrbench_rankers.arr.training import Collator
from arrbench_rankers.backbones import load_causal_lm, load_tokenizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

TITLES = ["dog", "dog house", "cat", "cat fish", "canine", "animal"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny", [], [*TITLES, "0 1 2 3 4 5 6 7 8 9"], Context())


@pytest.fixture(scope="module")
def batch(tokenizer):
    corpus = Corpus(Document(title, title, title) for title in TITLES)
    queries = tuple(Query(f"q{i}", title) for i, title in enumerate(TITLES))
    grades = {f"q{i}": {title: 2, "animal": 1} for i, title in enumerate(TITLES[:-1])}
    train = Split(queries, Judgments(grades), corpus)
    index = DocIdIndex.build(Name(Name.Options(), seed=0), tokenizer, corpus, None)
    options = ArrOptions(order=1.0, off_list=2, beta=1.0)
    made = examples(train, lambda asked: [[3, 4 + i] for i in range(len(asked))], index, options, seed=0)
    return Collator(0)(made)


def loss_and_gradient(tokenizer, batch, device, finishing):
    model = load_causal_lm("tiny", tokenizer, Context(device=device))
    there = {name: tensor.to(device) for name, tensor in batch.items()}
    loss = Objective(order=1.0, finish=0.5).loss(edge_log_probs(model, there), there, finishing)
    loss.backward()
    return loss.item(), np.concatenate([p.grad.cpu().numpy().ravel() for p in model.parameters()])


@pytest.mark.parametrize("finishing", [False, True])
def test_loss_and_gradient_are_the_cpu_s(tokenizer, batch, finishing):
    here, gradient = loss_and_gradient(tokenizer, batch, "cpu", finishing)
    there, other = loss_and_gradient(tokenizer, batch, "cuda:0", finishing)
    assert there == pytest.approx(here, rel=1e-4)
    assert np.linalg.norm(gradient - other) <= 1e-3 * np.linalg.norm(gradient)
