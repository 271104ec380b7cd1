"""LoRA: what is trained, what is saved, and that a loaded model is the one that was trained."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers import backbones
from arrbench_rankers.arr import lora
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.training import Example, Schedule, train
from arrbench_rankers.arr.trie import PrefixTree

RANK = 3


@pytest.fixture(scope="module")
def backbone(split, small_lm, tmp_path_factory):
    """A folder with a small random model and a tokenizer that knows the animals' words."""
    folder = tmp_path_factory.mktemp("backbone")
    texts = [q.text for q in split.queries]
    tokenizer = backbones.load_tokenizer("tiny", texts, [d.title for d in split.corpus], Context())
    tokenizer.save_pretrained(folder)
    small_lm("llama", vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    return folder


def fitted(backbone, split, context=None, epochs=2, **options):
    made = ArrStoical.Options(
        backbone=str(backbone),
        lora_rank=RANK,
        epochs=epochs,
        batch=4,
        warmup=2,
        learning_rate=1e-2,
        **options,
    )
    ranker = ArrStoical(made, context or Context())
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


def scores(ranker, split):
    return [dict(zip(r.ids, r.scores, strict=True)) for r in ranker.rank(split.queries, 11)]


@pytest.mark.parametrize(
    ("dtype", "recompute", "docid"),
    [("float32", False, "name"), ("bfloat16", True, "name"), ("float32", False, "atomic")],
)
def test_what_was_saved_are_adapters_that_rank_as_the_trained_model(
    backbone, split, tmp_path, dtype, recompute, docid
):
    context = Context(dtype=dtype, cache=tmp_path / "cache")
    ranker = fitted(backbone, split, context, gradient_checkpointing=recompute, docid=docid)
    assert ranker._model.dtype == getattr(torch, dtype)
    assert not [name for name, _ in ranker._model.named_parameters() if "lora" in name]
    ranker.save(tmp_path / "saved")
    assert not list((tmp_path / "saved").rglob("model*.safetensors"))
    (file,) = (tmp_path / "saved").rglob("*.safetensors")
    assert file.stat().st_size < (backbone / "model.safetensors").stat().st_size
    loaded = ArrStoical.load(tmp_path / "saved", replace(context, seed=7))
    assert scores(loaded, split) == scores(ranker, split)
    loaded.save(tmp_path / "again")
    assert scores(ArrStoical.load(tmp_path / "again", context), split) == scores(ranker, split)


def test_adapters_learn(backbone, split):
    found = scores(fitted(backbone, split, epochs=15, checkpoint_minutes=0), split)
    first = [max(scored, key=scored.get) for scored in found]
    assert first == [split.judgments.ranked(q.id)[0] for q in split.queries]


def test_adapters_do_not_rank_on_other_weights(backbone, split, tmp_path):
    ranker = fitted(backbone, split, Context(cache=tmp_path))
    ranker.save(tmp_path / "saved")
    file = tmp_path / "saved" / "adapters" / lora.BACKBONE_FILE
    assert json.loads(file.read_text()) == backbones.weights(str(backbone), Context())
    file.write_text(json.dumps({str(backbone): "another hash"}))
    with pytest.raises(UsageError, match=r"trained on .*another hash"):
        ArrStoical.load(tmp_path / "saved", Context())


def test_pickled_adapters_are_refused(backbone, split, tmp_path):
    ranker = fitted(backbone, split, Context(cache=tmp_path))
    ranker.save(tmp_path / "saved")
    weights = tmp_path / "saved" / "adapters" / lora.WEIGHTS_FILE
    torch.save({}, weights.with_name("adapter_model.bin"))
    weights.unlink()
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors; .* safetensors only"):
        ArrStoical.load(tmp_path / "saved", Context())


def test_a_backbone_from_scratch_is_not_adapted():
    with pytest.raises(UsageError, match="lora_rank=4 adapts a pretrained backbone; 'tiny'"):
        ArrStoical(ArrStoical.Options(lora_rank=4), Context())


def test_every_linear_layer_but_the_head_is_adapted_and_nothing_else_is_trained(small_lm):
    adapted = lora.adapt(small_lm("llama"), RANK)
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert len(trained) == 2 * len(linear) * 2  # two matrices, seven layers, two blocks
    assert all("lora_" in name and any(part in name for part in linear) for name in trained)


@pytest.mark.parametrize("tied", [True, False])
def test_the_rows_of_new_tokens_are_trained_merged_and_saved(small_lm, tied, tmp_path):
    model = small_lm("llama", tie_word_embeddings=tied)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    adapted = lora.adapt(model, RANK, new_tokens=[38, 39])
    plan = Schedule(5, 4, 1, 1e-2, 0, 0.0)
    tree = PrefixTree.build([(38, 39, 2)])
    example = Example(Row([1, 3], tree), np.ones(len(tree) - 1), tree.paths)
    train(adapted, [example] * 4, 0, plan, Objective(), Context(), None)
    merged, adapters = lora.merge(adapted, {})
    changed = {name: (p != before[name]).any(-1) for name, p in merged.named_parameters()}
    for name in ("model.embed_tokens.weight", *([] if tied else ["lm_head.weight"])):
        assert changed[name].nonzero().flatten().tolist() == [38, 39]
    adapters.save(tmp_path)
    again, _ = lora.load_merged(small_lm("llama", tie_word_embeddings=tied), tmp_path, {})
    for (name, one), (_, other) in zip(merged.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(one, other), name
