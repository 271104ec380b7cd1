"""What is asked of a ranker before any work: its options, whether it can run here, what it loads.

A third party's ranker is asked in a process of its own, so that nothing it does can end a plan, and
this process never imports it. Run as a module, this is that process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from arrbench import labels, plain, plugins, spec
from arrbench.errors import UsageError, readable
from arrbench.options import BaseOptions, named_files
from arrbench.plugins import Plugin
from arrbench.ranker import Context, Generative, Ranker
from arrbench.respondent import Doing, Respondent, respond
from arrbench.spec import Spec
from arrbench.trial import RankerChoice

ANSWER_S = 600.0  # that a ranker may take to check itself, or to hash what it loads
_CHOICE = TypeAdapter(RankerChoice)
_SPEC = TypeAdapter(Spec)


def choose(words: str | Spec) -> RankerChoice:
    """The ranker that words stand for, without its weights and inputs; UsageError names what is wrong."""
    asked = spec.parse(words) if isinstance(words, str) else words
    plugin = plugins.find(asked.name, "ranker", "baseline")
    if not _foreign(plugin, asked):
        return _choose(asked)
    answer = _asker().ask(plugin.title, {"what": "choose", "asked": _SPEC.dump_python(asked, mode="json")})
    try:
        return _CHOICE.validate_python(answer)
    except ValidationError as error:
        raise UsageError(f"{plugin.title} wrote into its process's answers") from error


def check(choice: RankerChoice) -> None:
    """UsageError where the ranker, or a machine that lacks what its options need, can't run it."""
    if _foreign(choice.plugin, choice.spec):
        asked = _SPEC.dump_python(choice.spec, mode="json")
        _asker().ask(choice.plugin.title, {"what": "check", "asked": asked})
    else:
        _check(choice.spec)


def inputs(choice: RankerChoice, context: Context) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Weights that the ranker loads, and all else that its figures depend on: revisions or hashes by name."""
    if not _foreign(choice.plugin, choice.spec):
        return _inputs(choice.spec, context)
    where = {"device": context.device, "dtype": context.dtype, "offline": context.offline}
    asked = _SPEC.dump_python(choice.spec, mode="json")
    request = {"what": "inputs", "asked": asked, "context": where, "cache": str(context.cache)}
    weights, others = _asker().ask(choice.plugin.title, request)
    return plain.text_by_name("weights()", weights), plain.text_by_name("inputs()", others)


def _foreign(plugin: Plugin, asked: Spec) -> bool:
    """Whether answering may run a third party's code: the ranker itself, or one that an option names."""
    others = {p.name for p in plugins.installed("ranker", "baseline", "docid") if p.foreign}
    words = {word for value in asked.given.values() for word in re.split(r'[\s:,="|]+', value)}
    return plugin.foreign or bool(others & words)


@cache
def _asker() -> Respondent:
    return Respondent("arrbench.choosing")


@contextmanager
def session() -> Iterator[None]:
    """Ask third parties' rankers in a new process, in the environment as it is now, and end it afterwards."""
    _asker().close()
    try:
        yield
    finally:
        _asker().close()


def _choose(asked: Spec) -> RankerChoice:
    plugin, cls, understood = _understood(asked)
    with plugin.blamed("when its options were read"):
        options = understood.options.model_dump(mode="json")
        json.dumps(options, allow_nan=False)
        return RankerChoice(
            spec=understood.spec,
            plugin=plugin,
            asked=understood.plain(),
            options=options,
            defaults=cls.Options().model_dump(mode="json"),
            code=plugin.source_hash(),
            learns=plain.yes_or_no("learns()", cls.learns(understood.options)),
            generates=issubclass(cls, Generative),
            tuning=readable(cls.tuning),
            query_independent=cls.query_independent,
            settings=cls.settings,  # type: ignore[arg-type]
            libraries=tuple(cls.libraries),
            software=plugin.versions(cls.libraries),
        )


def _check(asked: Spec) -> None:
    plugin, cls, options = _options(asked)
    with plugin.blamed("in check()"):
        cls.check(options)


def _inputs(asked: Spec, context: Context) -> tuple[dict[str, str], dict[str, str]]:
    plugin, cls, options = _options(asked)
    with plugin.blamed("in weights()"):
        weights = plain.text_by_name("weights()", cls.weights(options, context))
    with plugin.blamed("in inputs()"):
        others = plain.text_by_name("inputs()", cls.inputs(options, context))
    return weights, {**named_files(options), **others}


def _options(asked: Spec) -> tuple[Plugin, type[Ranker], BaseOptions]:
    plugin, cls, understood = _understood(asked)
    return plugin, cls, understood.options


def _understood(asked: Spec) -> tuple[Plugin, type[Ranker], labels.Asked]:
    plugin, cls = plugins.ranker_class(asked.name)
    with plugin.blamed("when its options were read"):
        return plugin, cls, labels.ask(asked, cls.Options, "ranker")


def _answer(request: Any, doing: Doing) -> Any:
    asked = _SPEC.validate_python(request["asked"])
    doing("when imported", plugins.IMPORT_S)
    plugins.ranker_class(asked.name)
    match request["what"]:
        case "choose":
            doing("when its options were read", plugins.IMPORT_S)
            return _CHOICE.dump_python(_choose(asked), mode="json")
        case "check":
            doing("in check()", ANSWER_S)
            return _check(asked)
        case _:
            doing("in weights() or inputs()", ANSWER_S)
            return _inputs(asked, Context(cache=Path(request["cache"]), **request["context"]))


if __name__ == "__main__":
    plugins.set_apart()
    respond(_answer)
