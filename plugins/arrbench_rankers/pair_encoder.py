"""The cross encoder's model: a sentence-transformers CrossEncoder that reads query and document at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Module, Transformer
from torch import Tensor, nn

from arrbench.ranker import Context
from arrbench_rankers.backbones import make_bidirectional, module_arguments, refusals
from arrbench_rankers.token_batches import by_length, padded, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from arrbench_rankers.cross_encoder import CrossEncoderOptions

PADDING, QUERY, DOCUMENT = 0, 1, 2  # whose token it is


@dataclass(frozen=True)
class PairTemplate:
    """Special tokens before, between and after a pair: their ids, and the type id of each part."""

    ids: tuple[list[int], list[int], list[int]]
    types: tuple[list[int], int, list[int], int, list[int]]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> PairTemplate:
        """Read off the tokenizer's own encoding of a pair."""
        pair = tokenizer.backend_tokenizer.encode("a", "b")
        owners = list(pair.sequence_ids)
        q, q_end = owners.index(0), len(owners) - owners[::-1].index(0)
        d, d_end = owners.index(1), len(owners) - owners[::-1].index(1)
        types = pair.type_ids
        return cls(
            ids=(pair.ids[:q], pair.ids[q_end:d], pair.ids[d_end:]),
            types=(types[:q], types[q], types[q_end:d], types[d], types[d_end:]),
        )

    @property
    def specials(self) -> int:
        return sum(len(part) for part in self.ids)

    def input_ids(self, query: Sequence[int], document: Sequence[int]) -> list[int]:
        before, between, after = self.ids
        return [*before, *query, *between, *document, *after]

    def owners(self, query: int, document: int) -> list[int]:
        """What stands before the query is the query's, all other special tokens are the document's."""
        before, between, after = (len(part) for part in self.ids)
        return [QUERY] * (before + query) + [DOCUMENT] * (between + document + after)

    def type_ids(self, query: int, document: int) -> list[int]:
        before, first, between, second, after = self.types
        return [*before, *[first] * query, *between, *[second] * document, *after]


class PairTransformer(Transformer):
    """A transformer over `query, document` that also says whose each token is.

    Attention between query and document is weaker by `cross_penalty` (in logits) than within each: the
    dual encoder that the weights come from never saw the other text, and full attention to it at once
    undoes what they know.
    """

    length: int  # tokens of a pair, special ones included
    cross_penalty: float
    template: PairTemplate
    words: PreTrainedTokenizerFast

    def prepare(self, length: int, cross_penalty: float) -> None:
        self.length = length
        self.cross_penalty = cross_penalty
        self.words = self.processor
        self.template = PairTemplate.of(self.words)
        self.model.config.num_labels = 1  # what the library takes for the number of scores

    def query_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """A query has at most half of the pair's tokens."""
        return token_ids(self.words, texts, self.length // 2, special=False)

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        room = self.length - self.length // 2 - self.template.specials
        return token_ids(self.words, texts, room, special=False)

    def preprocess(self, inputs: Any, *_: Any, **__: Any) -> dict[str, Any]:
        queries, documents = zip(*inputs, strict=True)
        return self.features(self.query_ids(queries), self.document_ids(documents))

    def features(
        self, queries: Sequence[Sequence[int]], documents: Sequence[Sequence[int]]
    ) -> dict[str, Any]:
        """Padded inputs of the pairs (queries[i], documents[i]), shape (pairs, longest)."""
        device, template = self.model.device, self.template
        pairs = list(zip(queries, documents, strict=True))
        ids = [template.input_ids(q, d) for q, d in pairs]
        owners = padded([template.owners(len(q), len(d)) for q, d in pairs], PADDING, device)
        features = {
            "input_ids": padded(ids, self.words.pad_token_id, device),
            "owners": owners,
        }
        if "token_type_ids" in self.words.model_input_names:
            types = [template.type_ids(len(q), len(d)) for q, d in pairs]
            features["token_type_ids"] = padded(types, 0, device)
        return features

    def attention(self, owners: Tensor) -> Tensor:
        """The additive attention mask of pairs, shape (pairs, 1, longest, longest)."""
        dtype = self.model.dtype
        together = owners[:, None, :, None] == owners[:, None, None, :]
        bias = torch.zeros(together.shape, dtype=dtype, device=owners.device)
        bias.masked_fill_(~together, -self.cross_penalty)
        return bias.masked_fill_((owners == PADDING)[:, None, None, :], torch.finfo(dtype).min)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        owners = features.pop("owners")
        masked = {**features, "attention_mask": self.attention(owners)}
        return {**super().forward(masked, **kwargs), "owners": owners}


class MeanProduct(Module):
    """Score of a pair: sum_i w_i (P mean(query tokens))_i (P mean(document tokens))_i + b.

    With w = 1, b = 0 and P a dual encoder's projection this is that encoder's inner product. A mean
    over no tokens is zero.
    """

    config_keys: list[str] = ["hidden", "dim"]  # noqa: RUF012 - as the library declares it

    def __init__(self, hidden: int, dim: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.dim = dim
        self.projection = nn.Linear(hidden, dim, bias=False)
        self.linear = nn.Linear(dim, 1)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        tokens, owners = features["token_embeddings"], features["owners"]
        query, document = (self.projection(_mean(tokens, owners == owner)) for owner in (QUERY, DOCUMENT))
        features["scores"] = self.linear(query * document)
        return features

    def save(self, output_path: str, *_: Any, safe_serialization: bool = True, **__: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)


def started_from(start: SentenceTransformer, options: CrossEncoderOptions, context: Context) -> CrossEncoder:
    """A cross encoder that starts as a dual encoder: its transformer and, in the head, its projection."""
    body: Any = start[0]
    projection: Any = start[2]
    with TemporaryDirectory() as folder:
        body.save(folder)
        pairs = PairTransformer(folder, **module_arguments())
    head = MeanProduct(projection.in_features, projection.out_features)
    head.projection.load_state_dict(projection.linear.state_dict())
    return _joined(pairs, head, options, context)


def loaded(folder: Path, options: CrossEncoderOptions, context: Context) -> CrossEncoder:
    """The model that `CrossEncoder.save` wrote, in the context's dtype and on its device.

    Raises UsageError for a folder that can't be loaded, or only with code of its own.
    """
    head_folder = folder / "1_MeanProduct"
    with refusals(f"the model in {folder}"):
        pairs = PairTransformer(str(folder), **module_arguments())
        shape = json.loads((head_folder / "config.json").read_text(encoding="utf-8"))
        head = MeanProduct(int(shape["hidden"]), int(shape["dim"]))
        head.load_state_dict(load_file(head_folder / "model.safetensors"))
    return in_dtype(_joined(pairs, head, options, context), context)


def in_dtype(model: CrossEncoder, context: Context) -> CrossEncoder:
    """The model in the precision that it is to rank in, in eval mode."""
    model.to(getattr(torch, context.dtype))
    model.eval()
    return model


def _joined(
    pairs: PairTransformer, head: MeanProduct, options: CrossEncoderOptions, context: Context
) -> CrossEncoder:
    make_bidirectional(pairs.model)
    pairs.prepare(options.length, options.cross_penalty)
    return CrossEncoder(modules=[pairs, head], device=context.device, activation_fn=nn.Identity())


@torch.inference_mode()
def pair_scores(
    model: CrossEncoder, queries: Sequence[Sequence[int]], documents: Sequence[Sequence[int]]
) -> list[float]:
    """Scores of the tokenized pairs (queries[i], documents[i]), in batches of similar length."""
    pairs: Any = model[0]
    scores = [0.0] * len(queries)
    lengths = [len(q) + len(d) for q, d in zip(queries, documents, strict=True)]
    for rows in by_length(lengths, model.device):
        features = pairs.features([queries[row] for row in rows], [documents[row] for row in rows])
        for row, score in zip(rows, model(features)["scores"].view(-1).float().tolist(), strict=True):
            scores[row] = score
    return scores


def _mean(tokens: Tensor, kept: Tensor) -> Tensor:
    weights = kept.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
