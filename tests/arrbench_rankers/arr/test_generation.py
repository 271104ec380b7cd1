"""The unconstrained beam search against exhaustive enumeration of a small vocabulary."""

import itertools

import numpy as np
import pytest
import torch

from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.generation import generate
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

END = 2
PROMPTS = [[1, 7, 8, 3], [1, 3], [1, 9, 10, 11, 12, 3]]


def generated(model, docids, width, tokens):
    tree = TreeTensors(PrefixTree.build(docids), model.config.vocab_size, model.device, False, False)
    scores, documents = generate(model, PROMPTS, tree, END, width, tokens)
    return zip(PROMPTS, scores.numpy(), documents.tolist(), strict=True)


@pytest.mark.parametrize("tokens", [1, 2])
def test_as_wide_as_the_vocabulary_it_is_exhaustive(small_lm, tokens):
    model = small_lm("llama", vocab_size=13)
    docids = [(10, END), (11, END), (11, 12, END)]
    sequences = [
        sequence
        for n in range(1, tokens + 1)
        for sequence in itertools.product(range(13), repeat=n)
        if END not in sequence[:-1] and (sequence[-1] == END or n == tokens)
    ]
    for prompt, scores, documents in generated(model, docids, 13, tokens):
        exact = exact_scores(model, [prompt], [PrefixTree.build(sequences)], False, False)[0]
        best = np.argsort(-exact)[:13]
        assert scores == pytest.approx(exact[best], abs=1e-4)
        spelt = [docids.index(s) if s in docids else -1 for s in (sequences[i] for i in best)]
        assert documents == spelt


def test_docids_without_an_end_token_finish_where_no_other_goes_on(small_lm):
    model = small_lm("llama", vocab_size=13)
    docids = [(10, 11), (12,), (11, 5)]
    sequences = [
        s
        for s in [(a,) for a in range(13)] + list(itertools.product(range(13), repeat=2))
        if (len(s) == 2 and s[0] not in (END, 12)) or s in ((END,), (12,))
    ]
    for prompt, scores, documents in generated(model, docids, 13, 2):
        with torch.no_grad():
            first = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
            then = [model(torch.tensor([[*prompt, a]])).logits[0, -1].log_softmax(-1) for a in range(13)]
        exact = np.array([(first[s[0]] + (then[s[0]][s[1]] if len(s) > 1 else 0)).item() for s in sequences])
        best = np.argsort(-exact)[:13]
        assert scores == pytest.approx(exact[best], abs=1e-4)
        assert documents == [docids.index(sequences[i]) if sequences[i] in docids else -1 for i in best]
