"""Options of autoregressive ranking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arrbench.options import BaseOptions

Item = Literal["fractional", "stepwise", "top1"]
Decode = Literal["exact", "best-first", "beam", "greedy", "sample"]


class ArrOptions(BaseOptions):
    """Options of autoregressive ranking; the defaults are those of `arr-stoical`."""

    backbone: str = Field(
        "tiny", description="causal LM: tiny, a Hugging Face id, a local folder or a GGUF file"
    )
    item: Item = Field(
        "fractional", description="item weights λ(r): 1/r^alpha, (n-r+1)/n, or the top document alone"
    )
    alpha: float = Field(2.0, ge=0, description="exponent of item=fractional; unused by the others")
    beta: float | None = Field(
        None, ge=0, description="exponent of the prefix-tree token targets; none: one-hot targets"
    )
    top: float = Field(1.0, ge=0, description="factor on λ(1) alone: a margin of the first document")
    order: float = Field(
        0.0, ge=0, description="weight of a Plackett-Luce loss on the order of the listed documents' scores"
    )
    finish: float = Field(
        0.0, ge=0, description="last epochs, trained by next-token prediction of the top document alone"
    )
    off_list: int = Field(
        0, ge=0, description="docIDs drawn from the corpus a query, whose own prefixes are taught too"
    )
    length: Literal["sum", "mean"] = Field("sum", description="score: sum or mean of token log-probabilities")
    normalise: Literal["vocabulary", "tree"] = Field(
        "vocabulary",
        description="what a token's probability is over: the vocabulary, or what the prefix tree allows "
        "(of the candidates, when reranking)",
    )
    prompt: Literal["query", "candidates"] = Field(
        "query", description="what is read before writing: the query, or also its shuffled candidates"
    )
    docid: str = Field(
        "name", description='docID scheme, one of `arrbench list`; with options: "name:tokens=16"'
    )
    query_tokens: int = Field(64, ge=1, description="tokens kept of a query's text")
    epochs: float = Field(12, gt=0, description="passes over the training queries")
    batch: int = Field(16, ge=1, description="training queries in one forward pass")
    accumulation: int = Field(1, ge=1, description="forward passes in one training step")
    learning_rate: float = Field(7e-4, gt=0, description="AdamW's peak learning rate")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up before the linear decay")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    lora_rank: int | None = Field(
        None, ge=1, description="rank of LoRA adapters on all linear layers; none: every weight is trained"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: slower, far less memory"
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        description="minutes between checkpoints from which a killed training goes on; 0: none are kept",
    )
    decode: Decode | None = Field(
        None,
        description="exact: read every docID; best-first: top k, proved; beam; greedy; sample (drawn without "
        "replacement, normalise=tree); none: exact up to dense_nodes, then best-first",
    )
    dense_nodes: int = Field(
        25,
        ge=0,
        description="without decode: inner nodes a document asked for, up to which a tree is read whole",
    )
    budget: int = Field(
        2000,
        ge=1,
        description="nodes that a best-first search reads for a query before it gives up its proof",
    )
    block: int | None = Field(
        None, ge=1, description="nodes a best-first search reads in one pass; none: as timed passes suggest"
    )
    beam: int = Field(
        20, ge=1, description="width of decode=beam, whatever k: fewer than k documents may be found"
    )


class ArrNtpOptions(ArrOptions):
    """Options of `arr-ntp`."""

    item: Item = Field(
        "top1", description="item weights λ(r): 1/r^alpha, (n-r+1)/n, or the top document alone"
    )
