"""A small world for the tests of `arr`: animals, their ranked lists, a model trained on them."""

import pytest

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split

PATHS = {
    "dog": ["dog", "canine", "carnivore", "animal"],
    "wolf": ["canine", "carnivore", "animal"],
    "house cat": ["cat", "feline", "carnivore", "animal"],
    "big cat": ["cat", "feline", "carnivore", "animal"],
    "sparrow": ["song bird", "bird", "animal"],
    "hen": ["bird", "animal"],
    "trout": ["fish", "animal"],
    "bird dog": ["dog", "canine", "carnivore", "animal"],
}
WORDS = ("barks", "howls", "purrs", "roars", "sings", "clucks", "swims", "points")


def split_of(names, corpus):
    queries = [Query(name, f"{name} that {WORDS[list(PATHS).index(name)]}") for name in names]
    grades = {name: {d: len(PATHS[name]) - r for r, d in enumerate(PATHS[name])} for name in names}
    return Split(tuple(queries), Judgments(grades), corpus)


@pytest.fixture(scope="session")
def animals():
    """Eleven documents, some of whose titles begin others."""
    titles = [
        "dog",
        "dog house",
        "cat",
        "cat fish",
        "canine",
        "feline",
        "carnivore",
        "animal",
        "bird",
        "song bird",
        "fish",
    ]
    return Corpus(Document(title, title, title) for title in titles)


@pytest.fixture(scope="session")
def split(animals):
    return split_of(list(PATHS), animals)


@pytest.fixture(scope="session")
def trained(split):
    """An `arr-stoical` that has learnt the animals by heart."""
    from arrbench_rankers.arr.ranker import ArrStoical

    ranker = ArrStoical(ArrStoical.Options(epochs=40, batch=4, warmup=5, learning_rate=3e-3), Context())
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}
FAMILY_CONFIG = {
    "gpt2": {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "falcon": {"ffn_hidden_size": 48},
    "gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": WINDOW,
    "gemma3_text": WINDOW | {"layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 256},
    "gpt_oss": WINDOW | {"num_local_experts": 2, "num_experts_per_tok": 1},
    "llama4_text": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "attention_chunk_size": 4,
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
        "layer_types": ["chunked_attention", "full_attention"],
        "no_rope_layers": [1, 0],
    },
    "mamba": {"state_size": 4},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "mistral-windowed": WINDOW,
    "phi3": {"sliding_window": 4},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
}


@pytest.fixture(scope="session")
def small_lm():
    """Makes a random causal LM of a family, 40 tokens wide, end token 2: small_lm("llama", **config)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(family, attention=None, **config):
        torch.manual_seed(0)
        made = AutoConfig.for_model(family.split("-")[0], **SMALL | FAMILY_CONFIG.get(family, {}) | config)
        model = AutoModelForCausalLM.from_config(made, attn_implementation=attention).eval()
        for parameter in model.parameters():  # away from the initial near-uniform predictions
            parameter.data.mul_(3.0)
        return model

    return make
