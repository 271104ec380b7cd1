"""Which models read packed trees: asked of each, by comparison; where they don't, a path has a row."""

import warnings

import pytest
import torch

from arrbench.errors import UsageError
from arrbench_rankers.arr import attention, probe
from arrbench_rankers.arr.reader import NodeReader
from arrbench_rankers.arr.reading import ONE_BY_ONE, PACKED

HUGE = {"sliding_window": 4096}  # no row of the probe's exceeds it; a small model of the kind must tell


@pytest.mark.parametrize("attending", [None, "eager"])
@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("llama", {}),
        ("qwen3", {}),
        ("qwen3", HUGE),
        ("mistral-windowed", {}),
        ("mistral-windowed", HUGE),
        ("gemma3_text", {}),
        ("gemma3_text", HUGE),
        ("gpt_neox", {}),
        ("llama4_text", {"attention_chunk_size": 8192}),
    ],
)
def test_models_that_read_packed_trees(small_lm, family, config, attending):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe.reading(small_lm(family, attending, **config)) == (PACKED, "")


@pytest.mark.parametrize(
    ("family", "config", "cause"),
    [
        ("mamba", {}, "'mamba' .*in one row: ValueError: layers of type 'linear_attention'"),
        ("bloom", {}, "'bloom' .*in one row: ValueError"),
        ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, "'mpt' .*log-probabilities differ by"),
        ("gpt_neo", {}, "'gpt_neo' .*differ by .*, with window_size = 4"),
    ],
)
def test_models_that_do_not_fall_back_with_a_warning(small_lm, family, config, cause):
    with pytest.warns(UserWarning, match=cause):
        reading, fault = probe.reading(small_lm(family, **config))
    assert reading is ONE_BY_ONE
    assert fault.startswith(f"models of type '{family}' misread packed docIDs")


@pytest.mark.parametrize("family", ["mistral-windowed", "gemma3_text", "qwen3"])
def test_a_window_that_the_mask_forgets_is_noticed(small_lm, family, monkeypatch):
    monkeypatch.setattr(attention, "_near", lambda *_: torch.ones(1, 1, 1, dtype=torch.bool))
    with pytest.warns(UserWarning, match="sliding_window = 4"):
        assert probe.reading(small_lm(family, **HUGE))[0] is ONE_BY_ONE


def test_a_cache_that_is_read_wrongly_is_noticed(small_lm, monkeypatch):
    read = NodeReader.read

    def misread(self, *asked):
        logits, places = read(self, *asked)
        return logits * 1.1, places

    monkeypatch.setattr(NodeReader, "read", misread)
    with pytest.warns(UserWarning, match="behind a cache"):
        assert probe.reading(small_lm("llama"))[0] is ONE_BY_ONE


def test_half_precision_is_judged_by_its_own_rounding(small_lm):
    assert probe.reading(small_lm("llama").to(torch.bfloat16))[0] is PACKED
    assert probe.reading(small_lm("mistral-windowed").to(torch.float16))[0] is PACKED


def test_the_global_generator_is_left_alone(small_lm):
    model = small_lm("mistral-windowed")
    torch.manual_seed(7)
    before = torch.get_rng_state()
    probe.reading(model)
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_that_reads_nothing_is_refused(small_lm, monkeypatch):
    model = small_lm("llama")
    monkeypatch.setattr(model, "forward", None)
    with pytest.raises(UsageError, match="type 'llama' can't be read") as error:
        probe.reading(model)
    assert "\n" not in str(error.value)
