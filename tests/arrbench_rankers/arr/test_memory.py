"""The memory that a training needs, against models that were built and a 7B model's known size."""

import copy

import pytest
import torch
from transformers import AutoConfig

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers import training_memory
from arrbench_rankers.arr import lora
from arrbench_rankers.arr.memory import Load, check_fits, need
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.training_memory import GIB


@pytest.fixture(scope="module")
def mistral():
    """Mistral-7B-v0.3's published shape: 7.25 billion parameters."""
    return AutoConfig.for_model(
        "mistral",
        vocab_size=32768,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        sliding_window=None,
        tie_word_embeddings=False,
    )


FULL = Load(torch.float32, torch.float32, None, False, 1, 1)
ADAPTERS = Load(torch.bfloat16, torch.bfloat16, 16, True, 16, 512)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("rank", [None, 3])
def test_weights_gradients_and_adam_take_what_a_real_training_holds(small_lm, family, rank):
    model = small_lm(family)
    config = copy.deepcopy(model.config)
    model = lora.adapt(model, rank) if rank else model
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], foreach=False)
    model(input_ids=torch.tensor([[1, 5, 6]])).logits.sum().backward()
    optimizer.step()

    def held(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    states = [t for s in optimizer.state.values() for name, t in s.items() if name != "step"]
    load = Load(torch.float32, torch.float32, rank, False, 1, 3)
    needed = need(config, 40, load)
    assert needed.weights == held(model.parameters())
    assert needed.gradients == held(p.grad for p in model.parameters() if p.grad is not None)
    assert needed.optimizer == held(states)


def test_new_tokens_grow_the_vocabulary(mistral):
    grown = need(mistral, 32768 + 1000, FULL).weights - need(mistral, 32768, FULL).weights
    assert grown == 1000 * 4096 * 4 * 2  # embeddings and head
    assert mistral.vocab_size == 32768


def test_a_7b_model_takes_four_times_its_weights_in_full_and_little_more_than_them_adapted(mistral):
    parameters = 7_248_023_552
    full = need(mistral, 32768, FULL)
    assert full.weights == 4 * parameters
    assert (full.gradients, full.optimizer) == (4 * parameters, 8 * parameters)
    adapted = need(mistral, 32768, ADAPTERS)
    adapters = 41_943_040
    assert adapted.weights == 2 * parameters + (4 + 2) * adapters
    assert adapted.optimizer == 8 * adapters
    assert 14 * GIB < adapted.total < 40 * GIB  # an 80 GB card holds it, and so does one of 48


def test_recomputing_keeps_a_fraction_of_the_activations(mistral):
    kept = need(mistral, 32768, Load(torch.bfloat16, torch.bfloat16, 16, False, 16, 512)).activations
    recomputed = need(mistral, 32768, ADAPTERS).activations
    assert recomputed < kept / 5


@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_of_activations_is_near_what_autograd_keeps(small_lm, recompute):
    layers = 40 if recompute else 6  # so many that one of them, recomputed in the backward pass, is little
    model = small_lm("llama", num_hidden_layers=layers, max_position_embeddings=256).train()
    if recompute:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    rows, width = 4, 100
    own = {p.data_ptr() for p in model.parameters()}
    seen = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    mask = torch.zeros(rows, 1, width, width)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(
            input_ids=torch.ones(rows, width, dtype=torch.long), attention_mask=mask, use_cache=False
        ).logits
        loss = (logits - logits.logsumexp(-1, keepdim=True)).sum()
    load = Load(torch.float32, torch.float32, None, recompute, rows, width)
    estimated = need(model.config, 40, load).activations
    kept = sum(seen.values())
    assert torch.isfinite(loss)
    assert 0.5 * kept < estimated < 2 * kept


def test_what_cannot_fit_is_refused_with_the_numbers_and_what_would_help(mistral):
    options = ArrOptions(backbone="mistralai/Mistral-7B-Instruct-v0.3")
    card = 80 * 10**9
    with pytest.raises(
        UsageError,
        match=r"'mistralai/Mistral-7B-Instruct-v0.3' on cuda:0 needs about 2\d\d\.\d GiB \(weights 27\.0, "
        r"gradients 27\.0, optimizer 54\.0, activations .*16 rows of 512 tokens, and 74\.5 GiB are free; "
        r"what helps: lora_rank=16, --dtype bfloat16, gradient_checkpointing=true, batch=8",
    ):
        check_fits(options, Context(device="cuda:0"), mistral, 32768, 512, card)
    adapted = ArrOptions(backbone=options.backbone, lora_rank=16, gradient_checkpointing=True)
    check_fits(adapted, Context(device="cuda:0", dtype="bfloat16"), mistral, 32768, 512, card)


def test_a_training_that_cannot_fit_does_not_start(split, monkeypatch, tmp_path):
    from arrbench_rankers import backbones

    def never(*arguments):
        raise AssertionError("weights were read")

    monkeypatch.setattr(training_memory, "available", lambda device: 10**6)
    monkeypatch.setattr(backbones, "load_causal_lm", never)
    with pytest.raises(UsageError, match="'tiny' on cpu needs about"):
        ArrStoical(ArrStoical.Options(), Context(cache=tmp_path)).fit(split, split)


def test_a_processor_s_free_memory_is_some_of_what_there_is():
    import psutil

    assert 0 < training_memory.available(torch.device("cpu")) < psutil.virtual_memory().total
