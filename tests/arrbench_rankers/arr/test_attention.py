"""Masks by hand: a window is over logical positions, wherever in its row a key stands."""

import pytest
import torch
from transformers import AutoConfig

from arrbench_rankers.arr.attention import attention_mask

# a prompt of 3, then two branches of 2 behind it: positions 3, 4 and again 3, 4
POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 3, 4]])
VISIBLE = torch.tensor(
    [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 1, 1],
    ],
    dtype=torch.bool,
)[None]
WINDOW_OF_2 = [
    [1, 0, 0, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 0],
    [0, 1, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0],
    [0, 0, 0, 1, 1, 0, 0],
    [0, 0, 1, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 1, 1],
]
CHUNKS_OF_2 = [
    [1, 0, 0, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0],
    [0, 0, 1, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 1],
]


def made(kind, **config):
    settings = AutoConfig.for_model(kind, num_hidden_layers=2, **config)
    return attention_mask(VISIBLE, POSITIONS, POSITIONS, settings, torch.float32)


def seen(mask):
    assert mask.shape == (1, 1, 7, 7)
    assert mask.unique().tolist() == [torch.finfo(torch.float32).min, 0]
    return (mask[0, 0] == 0).int().tolist()


def test_without_windows_all_that_is_visible_is_seen():
    everything = VISIBLE[0].int().tolist()
    assert seen(made("llama")) == everything
    assert seen(made("mistral", sliding_window=None)) == everything
    assert seen(made("qwen2", sliding_window=2)) == everything  # use_sliding_window is off


def test_one_window_for_all_layers():
    assert seen(made("mistral", sliding_window=2)) == WINDOW_OF_2
    both = {"layer_types": ["sliding_attention"] * 2}
    assert seen(made("gemma3_text", sliding_window=2, **both)) == WINDOW_OF_2


def test_layers_of_two_kinds_have_two_masks():
    both = {"layer_types": ["sliding_attention", "full_attention"]}
    masks = made("gemma3_text", sliding_window=2, **both)
    assert seen(masks["sliding_attention"]) == WINDOW_OF_2
    assert seen(masks["full_attention"]) == VISIBLE[0].int().tolist()
    both = {"layer_types": ["chunked_attention", "full_attention"]}
    assert seen(made("llama4_text", attention_chunk_size=2, **both)["chunked_attention"]) == CHUNKS_OF_2


def test_queries_behind_a_cache_see_keys_by_their_positions():
    config = AutoConfig.for_model("mistral", sliding_window=2)
    mask = attention_mask(VISIBLE[:, 5:], POSITIONS[:, 5:], POSITIONS, config, torch.float32)
    assert (mask[0, 0] == 0).int().tolist() == WINDOW_OF_2[5:]


def test_half_precision_masks_are_finite():
    config = AutoConfig.for_model("llama")
    assert attention_mask(VISIBLE, POSITIONS, POSITIONS, config, torch.bfloat16).isfinite().all()


def test_recurrent_layers_are_refused():
    with pytest.raises(ValueError, match="'conv' can't read a tree"):
        made("lfm2", layer_types=["conv", "full_attention"])
