"""Embeddings of texts by a causal LM, against one text at a time; and the rows of new tokens."""

import numpy as np
import pytest
import torch

from arrbench.ranker import Context
from arrbench_rankers import backbones
from arrbench_rankers.arr import embedding

TEXTS = ["red wine", "", "red", "green apple tree red wine green", "wine", "apple " * 9]


@pytest.fixture(scope="module")
def tokenizer():
    return backbones.load_tokenizer("tiny", TEXTS, [], Context())


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_a_text_s_embedding_is_the_mean_over_its_first_tokens_alone(family, small_lm, tokenizer, monkeypatch):
    monkeypatch.setattr(embedding, "TOKENS", 6)
    monkeypatch.setattr(embedding, "BATCH_TOKENS", 12)
    model = small_lm(family)
    found = embedding.embeddings(model, tokenizer, TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:6]
        if not ids:
            assert not row.any()
            continue
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        np.testing.assert_allclose(row, states.mean(0).numpy(), rtol=1e-4, atol=1e-5)


def test_new_tokens_start_alike_under_one_seed(small_lm, tokenizer, tmp_path):
    small_lm("llama").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    grown = backbones.load_tokenizer(str(tmp_path), [], [], Context())
    grown.add_tokens([f"<document {i}>" for i in range(60)])

    def rows(seed):
        torch.rand(1)  # whatever was drawn before
        model = backbones.load_causal_lm(str(tmp_path), grown, Context(seed=seed))
        return model.get_input_embeddings().weight.detach()

    one, same, other = rows(1), rows(1), rows(2)
    assert len(one) == len(grown)
    assert torch.equal(one, same)
    assert torch.equal(one[:40], other[:40])
    assert not torch.equal(one[40:], other[40:])
