"""GGUF files as backbones: converted once, equal to what they hold, and clear when they are broken."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers import backbones, gguf_file

LETTERS = list("abcdefgh")
TOKENS = ["<unk>", "<s>", "</s>", *LETTERS, "ab", "cd", *(f"<{i}>" for i in range(19))]
WIDTH, HIDDEN, HEADS = 32, 64, 2


def write_gguf(path: Path) -> np.ndarray:
    """A one-layer llama of random weights, with a byte-pair tokenizer; its embedding table."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    table = random.standard_normal((len(TOKENS), WIDTH)).astype(np.float32)
    writer.add_tensor("token_embd.weight", table, raw_dtype=gguf.GGMLQuantizationType.F32)
    shapes = {
        "blk.0.attn_q.weight": (WIDTH, WIDTH),
        "blk.0.attn_k.weight": (WIDTH, WIDTH),
        "blk.0.attn_v.weight": (WIDTH, WIDTH),
        "blk.0.attn_output.weight": (WIDTH, WIDTH),
        "blk.0.ffn_gate.weight": (HIDDEN, WIDTH),
        "blk.0.ffn_up.weight": (HIDDEN, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, HIDDEN),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        "output_norm.weight": (WIDTH,),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return table


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "small.gguf"
    write_gguf(path)
    return path


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return Context(cache=tmp_path_factory.mktemp("cache"), offline=True)


def test_a_gguf_file_is_a_backbone_with_the_weights_it_holds(context, tmp_path):
    path = tmp_path / "small.gguf"
    table = write_gguf(path)
    tokenizer = backbones.load_tokenizer(str(path), [], [], context)
    assert tokenizer.convert_ids_to_tokens(tokenizer("abe", add_special_tokens=False).input_ids) == [
        "ab",
        "e",
    ]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    model = backbones.load_causal_lm(str(path), tokenizer, context)
    assert model.config.model_type == "llama"
    embeddings = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(embeddings[: len(table)], table)
    encoder = backbones.load_encoder(str(path), tokenizer, context)
    assert torch.equal(encoder.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert torch.equal(encoder.layers[0].mlp.up_proj.weight, model.model.layers[0].mlp.up_proj.weight)


def test_it_is_converted_once_and_by_its_content(file, context, tmp_path, monkeypatch):
    folder = gguf_file.converted(file, context.cache)
    assert {p.suffix for p in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    copy = tmp_path / "renamed.gguf"
    copy.write_bytes(file.read_bytes())
    monkeypatch.setattr(gguf_file, "_convert", None)  # a second conversion would fail
    assert gguf_file.converted(copy, context.cache) == folder
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert list(backbones.weights(str(copy), context).values()) == [gguf_file.content_hash(file)]


def test_a_conversion_that_fails_leaves_nothing_and_says_why(file, context, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:400])
    fresh = replace(context, cache=tmp_path / "cache")
    with pytest.raises(UsageError, match=r"cut.gguf' is a GGUF file that can't be read") as error:
        backbones.load_tokenizer(str(cut), [], [], fresh)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_other_files_and_folders_without_a_config_are_named(file, context, tmp_path):
    text = tmp_path / "model.gguf"
    text.write_text("not weights")
    with pytest.raises(UsageError, match=r"model.gguf' is no GGUF file"):
        backbones.weights(str(text), context)
    with pytest.raises(UsageError, match=r"without config.json; give its file .*small.gguf"):
        backbones.load_tokenizer(str(file.parent), [], [], context)
