"""arrbench rank: a saved model answers a query."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from arrbench.errors import UsageError
from arrbench.ties import id_hash


@click.command("rank")
@click.argument("record")
@click.argument("text")
@click.option("--k", type=click.IntRange(1, 10**9), default=10, show_default=True, help="Documents to show.")
@click.option("--candidates", metavar="IDS", default=None, help="Document ids to rerank, joined by blanks.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps …")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where records lie.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    record: str, text: str, k: int, candidates: str | None, device: str, out: Path, as_json: bool
) -> None:
    """Rank documents for TEXT with the model saved in RECORD (a folder, a key or the start of one)."""
    from arrbench import devices
    from arrbench.outcome import DOCUMENTS
    from arrbench.planning import cache_folder
    from arrbench.plugins import ranker_class
    from arrbench.ranker import Context, Query
    from arrbench.record import read
    from arrbench.store import RECORD, Store

    folder = Store(out).resolve(record)
    of = read(folder / RECORD)
    model = folder / "model"
    if not model.exists():
        raise UsageError(
            f"{folder} keeps no model: run it again without --no-save (its command: {of.command})"
        )
    if of.setting == "rerank" and candidates is None:
        raise UsageError(f"{of.label} was trained to rerank: give --candidates 'ID ID …'")
    os.environ["TQDM_DISABLE"] = "1"  # libraries' bars for loading weights
    _, cls = ranker_class(of.ranker)
    context = Context(
        devices.choose(device)["device"], of.dtype, of.threads, of.seed, cache_folder(), offline=True
    )
    pool = None if candidates is None else _pool(candidates, folder / DOCUMENTS)
    query = Query("", text, pool)
    ranking = cls.load(model, context).rank([query], k)[0]
    scored = zip(ranking.ids, ranking.scores, strict=True)
    places = sorted(scored, key=lambda place: (-place[1], id_hash(place[0])))[:k]
    if as_json:
        click.echo(
            json.dumps([{"id": d, "score": float(s)} for d, s in places], indent=1, ensure_ascii=False)
        )
        return
    for i, (document, score) in enumerate(places, start=1):
        click.echo(f"{i:3}  {score:12.4f}  {document}")


def _pool(words: str, documents: Path) -> tuple[str, ...]:
    """The ids that words name, each among the documents that the model was saved with."""
    pool = words.split()
    if not pool:
        raise UsageError("--candidates is empty; give document ids joined by blanks")
    twice = next((i for n, i in enumerate(pool) if i in pool[:n]), None)
    if twice is not None:
        raise UsageError(f"--candidates: document {twice!r} is given twice")
    if documents.exists():  # records of before the ids were kept have none
        known = set(documents.read_text(encoding="utf-8").split("\n"))
        strange = [i for i in pool if i not in known]
        if strange:
            raise UsageError(
                f"--candidates: {', '.join(map(repr, strange[:5]))} "
                f"{'is' if len(strange) == 1 else 'are'} not among the {len(known)} documents of this record"
            )
    return tuple(sorted(pool, key=id_hash))
