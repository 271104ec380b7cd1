"""Low-rank adaptation (LoRA, arXiv 2106.09685) through peft: train adapters, merge them, keep them apart.

What ranks is a plain model with the adapters merged into its weights. What is saved is the adapters
alone, megabytes beside a 7B model's 14 GB, with the name and revision of the backbone that they
belong to; loading reads the backbone again and merges them. The files are those peft writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arrbench.errors import UsageError

ADAPTER = "default"
WEIGHTS_FILE = "adapter_model.safetensors"
BACKBONE_FILE = "backbone.json"


@dataclass(frozen=True)
class Adapters:
    """Trained adapters: peft's configuration, their weights by peft's names.

    `backbone` is the revision, by name, of the weights that they belong to.
    """

    config: Any
    weights: Mapping[str, torch.Tensor]
    backbone: Mapping[str, str]

    def save(self, folder: Path) -> None:
        """Writes adapter_config.json, adapter_model.safetensors and backbone.json."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(str(folder))
        save_file({name: w.contiguous() for name, w in self.weights.items()}, folder / WEIGHTS_FILE)
        (folder / BACKBONE_FILE).write_text(json.dumps(dict(self.backbone), indent=1), encoding="utf-8")


def adapt(model: Any, rank: int, new_tokens: Sequence[int] = ()) -> Any:
    """`model` with adapters of a rank on every linear layer but the head; all else is frozen.

    The scale alpha is 2 · rank, without dropout. The embeddings, and the head's rows, of `new_tokens`,
    which the backbone has never seen, are trained in full. Changes `model` in place.
    """
    from peft import LoraConfig, get_peft_model

    embeddings = {model.get_input_embeddings(), model.get_output_embeddings()}
    if model.config.tie_word_embeddings:
        embeddings = {model.get_input_embeddings()}
    names = [name.rpartition(".")[2] for name, module in model.named_modules() if module in embeddings]
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        trainable_token_indices={name: list(new_tokens) for name in names} if new_tokens else None,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    # else peft asks the hub, at every checkpoint, whether the vocabulary has grown
    adapted.peft_config[ADAPTER].base_model_name_or_path = None
    return adapted


def merge(adapted: Any, backbone: Mapping[str, str]) -> tuple[Any, Adapters]:
    """The plain model, adapters merged into its weights, and the adapters."""
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    kept = {name: w.detach().cpu().clone() for name, w in weights.items()}
    config = adapted.peft_config[ADAPTER]
    return adapted.merge_and_unload(), Adapters(config, kept, backbone)


def load_merged(model: Any, folder: Path, backbone: Mapping[str, str]) -> tuple[Any, Adapters]:
    """The backbone `model` with the adapters saved in `folder` merged, and the adapters.

    Raises UsageError where they were trained on other weights than those named by `backbone`, or the folder
    has no safetensors: peft would read pickled weights then.
    """
    from peft import PeftModel

    trained_on = json.loads((folder / BACKBONE_FILE).read_text(encoding="utf-8"))
    if trained_on != dict(backbone):
        raise UsageError(
            f"the adapters in {folder} were trained on {trained_on} and the backbone here is "
            f"{dict(backbone)}; they rank only with the weights that they were trained on"
        )
    if not (folder / WEIGHTS_FILE).is_file():
        raise UsageError(f"{folder} has no {WEIGHTS_FILE}; weights are read from safetensors only")
    return merge(PeftModel.from_pretrained(model, str(folder)), backbone)
