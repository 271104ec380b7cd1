"""One archive from the package indexes that pip is configured with, its content known by its hash.

The file is found and read without pip: `pip download` runs the build code of a source package to
learn its metadata. Nothing of an archive is run here, and no tool to build it is fetched.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arrbench.errors import one_line
from arrbench.pip_settings import NoPipError, PipSettings, read_pip_settings

if TYPE_CHECKING:
    from unearth import PackageFinder

Kind = Literal["wheel", "sdist"]


class CannotFetchError(Exception):
    """One source did not deliver; another may."""


def download(requirement: str, sha256: str, kind: Kind, folder: Path) -> Path:
    """The file of `requirement` (name==version) with that SHA-256: in `folder`, or where it lies already.

    Looks at pip's find-links first, then its indexes, one after another: whichever has it will do. Raises
    CannotFetchError with what each said.
    """
    settings = _settings()
    faults: list[str] = []
    with closing(_session(settings)) as session:
        for finder in _finders(settings, session, requirement.partition("==")[0], kind):
            with _warnings_of_unearth() as said:
                try:
                    file = _from_one(finder, requirement, sha256, folder)
                except Exception as error:  # whatever its client and an index's pages raise
                    said.append(f"{_shown(finder)}: {error or type(error).__name__}")
                    file = None
            if file is not None:
                return file
            faults += map(one_line, said)
    looked = "; ".join(dict.fromkeys(faults)) or "no index and no folder of packages has it"
    raise CannotFetchError(f"{requirement} ({kind}) was not found where pip looks for packages: {looked}")


def _settings() -> PipSettings:
    try:
        return read_pip_settings()
    except NoPipError as error:
        raise CannotFetchError(str(error)) from None


def _from_one(finder: PackageFinder, requirement: str, sha256: str, folder: Path) -> Path | None:
    """The file out of the one source of `finder`; None where it has no such version."""
    hashes = {"sha256": [sha256]}
    for package in finder.find_matches(requirement, allow_yanked=True, hashes=hashes):
        return finder.download(package.link, folder, hashes)
    if next(iter(finder.find_matches(requirement, allow_yanked=True)), None) is not None:
        raise CannotFetchError(f"its {requirement} is another file: the SHA-256 is not {sha256}")
    return None


def _finders(settings: PipSettings, session: Any, name: str, kind: Kind) -> Iterator[PackageFinder]:
    """One finder a place, so that one that can't be reached keeps nobody from asking the next."""
    from unearth import PackageFinder

    def finder(url: str | None = None, find_links: str | None = None) -> PackageFinder:
        """With neither, over the public index."""
        return PackageFinder(
            session,
            index_urls=[] if url is None else [url],
            find_links=[] if find_links is None else [find_links],
            ignore_compatibility=True,
            only_binary=[name] if kind == "wheel" else [],
            no_binary=[name] if kind == "sdist" else [],
        )

    yield from (finder(find_links=place) for place in settings.find_links)
    if not settings.no_index:
        yield from (finder(url) for url in (settings.index_url, *settings.extra_index_urls))


def _session(settings: PipSettings) -> Any:
    """unearth's HTTP client with pip's certificates, proxy, timeout and trusted hosts; it never prompts.

    Raises CannotFetchError where one of them can't be used, such as a certificate file that is not there.
    """
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    try:
        trusted: ssl.SSLContext | bool = True
        if settings.cert is not None or settings.client_cert is not None:
            trusted = ssl.create_default_context(cafile=settings.cert)
            if settings.client_cert is not None:
                trusted.load_cert_chain(settings.client_cert)
        session = PyPIClient(
            trusted_hosts=settings.trusted_hosts,
            verify=trusted,
            timeout=settings.timeout_s,
            proxy=settings.proxy,
            follow_redirects=True,
        )
    except (OSError, ValueError) as error:
        given = f"cert={settings.cert}, client-cert={settings.client_cert}, proxy, trusted-host"
        raise CannotFetchError(f"pip's settings ({given}) can't be used: {one_line(error)}") from None
    urls = [url for url in (settings.index_url, *settings.extra_index_urls) if url is not None]
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=urls)
    return session


def _shown(finder: PackageFinder) -> str:
    """The finder's place, without the password that its URL may hold."""
    from unearth import Link

    place = finder.sources[0]["url"]
    return Link(place).redacted if "://" in place else place


@contextmanager
def _warnings_of_unearth() -> Iterator[list[str]]:
    """What unearth warns of, for an error's text and not for the terminal."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("unearth"), Listener(logging.WARNING)
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagated
