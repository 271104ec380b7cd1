"""arrbench rank: a saved model answers a query."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from arrbench.errors import UsageError


@click.command("rank")
@click.argument("record")
@click.argument("text")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="Documents to show.")
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
    from arrbench.planning import cache_folder
    from arrbench.plugins import ranker_class
    from arrbench.ranker import Context, Query
    from arrbench.record import read
    from arrbench.store import RECORD, Store
    from arrbench.ties import id_hash

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
    pool = sorted(candidates.split(), key=id_hash) if candidates is not None else None
    query = Query("", text, None if pool is None else tuple(pool))
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
