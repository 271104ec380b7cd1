"""Registers with ir_datasets the collection that lies in $MADE_COLLECTION, as a user's own code would."""

import os
from pathlib import Path
from typing import NamedTuple

import ir_datasets
from ir_datasets.formats import JsonlDocs, TrecQrels, TrecScoredDocs, TsvDocs, TsvQueries
from ir_datasets.util import Download, LocalDownload, RequestsDownload


class Titled(NamedTuple):
    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


def register(folder: Path) -> None:
    def local(name: str) -> LocalDownload:
        return LocalDownload(folder / name)

    def dataset(name: str) -> ir_datasets.Dataset:
        parts = [TsvQueries(local(f"{name}.tsv")), TrecQrels(local(f"{name}.qrels"), {})]
        return ir_datasets.Dataset(documents, *parts, TrecScoredDocs(local(f"{name}.run")))

    documents = JsonlDocs(local("docs.jsonl"), Titled)
    ir_datasets.registry.register("made", ir_datasets.Dataset(documents))
    ir_datasets.registry.register("made/test", dataset("test"))
    ir_datasets.registry.register("made/train", dataset("train"))
    ir_datasets.registry.register("made/own", dataset("own"))
    nowhere = Download([RequestsDownload("http://127.0.0.1:9/docs.tsv")], folder / "downloaded.tsv")
    parts = [TsvQueries(local("test.tsv")), TrecQrels(local("test.qrels"), {})]
    ir_datasets.registry.register("made/far", ir_datasets.Dataset(TsvDocs(nowhere), *parts))


register(Path(os.environ["MADE_COLLECTION"]))
