"""Backbones on CUDA: what is packed there, and that a path a row scores there as on the CPU."""

import pytest
import torch

from arrbench_rankers.arr import one_by_one, packing, probe
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.reading import ONE_BY_ONE, PACKED
from arrbench_rankers.arr.trie import PrefixTree

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

SMALL = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
ROWS = [
    Row([1, 7, 8, 9, 3], PrefixTree.build([(10, 11, 2), (10, 2), (12, 13, 2)])),
    Row([1, 3], PrefixTree.build([(20, 2)])),
]


def made(family, **config):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL | config)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3.0)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [None, 4, 4096])
def test_windowed_models_are_packed(window, dtype):
    model = made("mistral", **ATTENTION, sliding_window=window).to("cuda:0", dtype)
    assert probe.reading(model) == (PACKED, "")


@pytest.mark.filterwarnings("ignore:models of type 'mamba'")
def test_recurrent_models_are_read_one_by_one():
    assert probe.reading(made("mamba", state_size=4).to("cuda:0"))[0] is ONE_BY_ONE


@torch.inference_mode()
@pytest.mark.parametrize("reads", [packing, one_by_one])
def test_edges_score_as_on_the_cpu(reads):
    model = made("mistral", **ATTENTION, sliding_window=4)
    batch = reads.collate(ROWS, 0)
    here = reads.edge_log_probs(model, batch)
    there = reads.edge_log_probs(model.to("cuda:0"), {name: t.to("cuda:0") for name, t in batch.items()})
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)
