"""Options of autoregressive ranking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arrbench.options import BaseOptions

Item = Literal["fractional", "stepwise", "top1"]


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
    length: Literal["sum", "mean"] = Field("sum", description="score: sum or mean of token log-probabilities")
    prompt: Literal["query", "candidates"] = Field(
        "query", description="what is read before writing: the query, or also its shuffled candidates"
    )
    docid_tokens: int | None = Field(
        None, ge=1, description="tokens of a title that a docID keeps; equal docIDs are numbered"
    )
    query_tokens: int = Field(64, ge=1, description="tokens kept of a query's text")
    epochs: float = Field(12, gt=0, description="passes over the training queries")
    batch: int = Field(16, ge=1, description="training queries in one forward pass")
    accumulation: int = Field(1, ge=1, description="forward passes in one training step")
    learning_rate: float = Field(7e-4, gt=0, description="AdamW's peak learning rate")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up before the linear decay")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    beam: int = Field(100, ge=1, description="least width of the beam search; never under what is asked for")
    exact_nodes: int = Field(
        4096,
        ge=0,
        description="largest prefix tree (nodes) of a corpus that is scored exactly, without a beam",
    )


class ArrNtpOptions(ArrOptions):
    """Options of `arr-ntp`."""

    item: Item = Field(
        "top1", description="item weights λ(r): 1/r^alpha, (n-r+1)/n, or the top document alone"
    )
