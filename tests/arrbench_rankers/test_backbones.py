"""The tiny model, local folders, and what a wrong backbone says."""

import json
from pathlib import Path

import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers import backbones

TEXTS = ["The brown bear: a dog-like, big animal.", "bear bear dog"]


@pytest.fixture(scope="module")
def tokenizer():
    return backbones.load_tokenizer("tiny", TEXTS, ["giant panda"], Context())


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return backbones.load_encoder("tiny", tokenizer, Context())


def ids(tokenizer, text):
    return torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])


def test_words_are_lower_cased_and_split_at_punctuation(tokenizer) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("Brown DOG-like bear.").input_ids)
    assert tokens == ["<s>", "brown", "dog", "-", "like", "bear", "."]


def test_each_part_of_a_pair_looks_as_it_would_alone(tokenizer) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("dog", "bear").input_ids)
    assert tokens == ["<s>", "dog", "<s>", "bear"]


def test_kept_words_stay_and_rare_ones_are_unknown() -> None:
    texts = [f"w{number} " * (1 + (number % 2 == 0)) for number in range(2000)]
    tokenizer = backbones.load_tokenizer("tiny", texts, ["giant panda"], Context())
    assert len(tokenizer) == backbones.VOCABULARY
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("giant panda w998 w999").input_ids)
    assert tokens == ["<s>", "giant", "panda", "w998", "<unk>"]


def test_more_kept_words_than_the_vocabulary_all_stay() -> None:
    kept = [f"k{number}" for number in range(1500)]
    tokenizer = backbones.load_tokenizer("tiny", ["other"], kept, Context())
    assert tokenizer.unk_token_id not in tokenizer(" ".join(kept)).input_ids
    assert "other" not in tokenizer.get_vocab()


def test_the_tiny_model_has_the_stated_size(tokenizer) -> None:
    texts = [f"w{number}" for number in range(2000)]
    full = backbones.load_tokenizer("tiny", texts, [], Context())
    body = backbones.load_encoder("tiny", full, Context())
    causal = backbones.load_causal_lm("tiny", full, Context())
    assert 550_000 < backbones.parameter_count(body) < 650_000
    assert backbones.parameter_count(causal) == backbones.parameter_count(body)


def test_one_seed_gives_one_initialisation_and_leaves_the_global_generator_alone(tokenizer) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = backbones.load_encoder("tiny", tokenizer, Context(seed=3))
    assert torch.equal(before, torch.get_rng_state())
    second = backbones.load_encoder("tiny", tokenizer, Context(seed=3))
    other = backbones.load_encoder("tiny", tokenizer, Context(seed=4))
    weight = "layers.0.mlp.up_proj.weight"
    assert torch.equal(first.state_dict()[weight], second.state_dict()[weight])
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])


@torch.inference_mode()
def test_a_later_token_changes_an_earlier_one_in_the_encoder_only(tokenizer, encoder) -> None:
    causal = backbones.load_causal_lm("tiny", tokenizer, Context()).model
    one, two = ids(tokenizer, "the brown bear"), ids(tokenizer, "the brown dog")
    for mask in (None, torch.ones_like(one)):
        moved = (encoder(one, mask)[0] - encoder(two, mask)[0])[0, 0].abs().max()
        assert moved > 1e-3
        assert torch.equal(causal(one, mask)[0][0, :2], causal(two, mask)[0][0, :2])
    padding = torch.nn.functional.pad(one, (0, 2)), torch.nn.functional.pad(two, (0, 2))
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    moved = (encoder(padding[0], mask)[0] - encoder(padding[1], mask)[0])[0, 0].abs().max()
    assert moved > 1e-3


@torch.inference_mode()
def test_padding_and_neighbours_change_nothing(tokenizer, encoder) -> None:
    texts = ["bear", "the brown bear: a dog-like animal", "big dog"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    together = encoder(**batch)[0]
    for i, text in enumerate(texts):
        alone = encoder(**tokenizer(text, return_tensors="pt"))[0][0]
        torch.testing.assert_close(together[i, : len(alone)], alone, rtol=1e-5, atol=1e-5)
    filled = batch.input_ids.masked_fill(batch.attention_mask == 0, 9)
    moved = encoder(filled, batch.attention_mask)[0]
    real = batch.attention_mask.bool()
    torch.testing.assert_close(moved[real], together[real])


@torch.inference_mode()
def test_a_saved_folder_is_a_backbone(tokenizer, encoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    context = Context(offline=True, dtype="bfloat16")
    again = backbones.load_tokenizer(str(tmp_path), [], [], context)
    assert again("the brown dog", "bear").input_ids == tokenizer("the brown dog", "bear").input_ids
    loaded = backbones.load_encoder(str(tmp_path), again, context)
    assert loaded.dtype == torch.bfloat16
    one, two = ids(tokenizer, "the brown bear"), ids(tokenizer, "the brown dog")
    full = loaded.float()
    assert (full(one)[0] - full(two)[0])[0, 0].abs().max() > 1e-3
    torch.testing.assert_close(full(one)[0], encoder(one)[0], rtol=0.1, atol=0.1)


def test_pickled_weights_are_refused(tokenizer, encoder, tmp_path: Path) -> None:
    encoder.config.save_pretrained(tmp_path)
    torch.save(encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="safetensors"):
        backbones.load_encoder(str(tmp_path), tokenizer, Context())


def test_a_tokenizer_without_padding_gets_one_the_model_knows(tokenizer, encoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["pad_token"], config["eos_token"]
    file.write_text(json.dumps(config))
    padless = backbones.load_tokenizer(str(tmp_path), [], [], Context())
    assert padless.pad_token_id is not None
    model = backbones.load_encoder(str(tmp_path), padless, Context())
    assert model.get_input_embeddings().num_embeddings >= len(padless)


def test_weights_follow_the_content_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    before = backbones.weights(str(tmp_path), Context())
    (tmp_path / ".cache" / "touched").write_text("x")
    assert backbones.weights(str(tmp_path), Context()) == before
    (tmp_path / "config.json").write_text("{ }")
    assert backbones.weights(str(tmp_path), Context()) != before
    assert backbones.weights("tiny", Context()) == {}


def test_weights_of_a_cached_id_are_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert backbones.weights("some/model", Context(offline=True)) == {"some/model": commit}


@pytest.mark.parametrize("backbone", ["no-such/model", "/no/such/folder", "./nowhere", "a/b/c"])
def test_an_unknown_backbone_is_one_clear_line(backbone: str) -> None:
    context = Context(offline=True)
    for load in (
        lambda: backbones.load_tokenizer(backbone, [], [], context),
        lambda: backbones.weights(backbone, context),
    ):
        with pytest.raises(UsageError, match=backbone) as error:
            load()
        assert "\n" not in str(error.value)
        assert "tiny" in str(error.value)
