"""Asks a package index which advisories there are for the very files that the locks name.

`python -m deploy.supply.audit`, by `make audit`. The index is pip's own (its login left out) or `--source`,
asked by its JSON interface, release by release. First it is asked about releases whose weaknesses everybody
knows: who has nothing to say of those is no advisory source. Then a package counts as audited only if the
answer is about that name and version, knows one of the locked hashes, and has a list of advisories, be it
empty: everything else, silence above all, is *not audited*, and never fine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import requests
from packaging.utils import canonicalize_name
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from deploy.supply.lockfile import ROOT, BadLock, Pin, read_lock

LOCKS = tuple(sorted((ROOT / "locks").glob("*.txt")))
FINE, KNOWN, NOT_AUDITED = 0, 1, 2
WEAK = (
    (
        Pin(
            "urllib3",
            "1.24.1",
            ("61bf29cada3fc2fbefad4fdf059ea4bd1b4a86d2b6d15e1c7c0b582b9752fe39",),
            marker=None,
            wanted_by=(),
        ),
        "CVE-2019-11324",
    ),
    (
        Pin(
            "requests",
            "2.19.0",
            ("421cfc8d9dde7d6aff68196420afd86b88c65d77d8da9cf83f4ecad785d7b9d6",),
            marker=None,
            wanted_by=(),
        ),
        "CVE-2018-18074",
    ),
)
"""Releases, each with an advisory that whoever knows advisories has. One may be missing from a mirror."""
AT_ONCE = 4
TOLD = 20
"""Packages that are named for one reason."""
SECONDS = 20.0
ANSWER_READ = 8 << 20
"""Bytes of one answer; those of the largest releases have some hundred kilobytes."""


class Advisory(NamedTuple):
    """One known weakness of one version."""

    id: str
    aliases: tuple[str, ...]
    fixed_in: tuple[str, ...]
    summary: str


class Answer(NamedTuple):
    """What became of the question about one package."""

    pin: Pin
    advisories: tuple[Advisory, ...] = ()
    missing: str | None = None
    """Why it is not audited; None where it is."""
    yanked: str | None = None
    """Why its makers took the release back; None where they did not."""


class Verdict(NamedTuple):
    """Exit code and what people read."""

    code: int
    lines: tuple[str, ...]


# -- the judge -----------------------------------------------------------------------------------


def judged(pin: Pin, answer: Any) -> Answer:
    """What an index's description of a release says about the locked package. Never raises."""
    info = answer.get("info") if isinstance(answer, dict) else None
    if not isinstance(info, dict):
        return Answer(pin, missing="the answer describes no release")
    told = canonicalize_name(str(info.get("name"))), str(info.get("version"))
    if told != (pin.name, pin.version):
        return Answer(pin, missing=f"the answer is about {_line(' '.join(told))}")
    if not set(_digests(answer.get("urls"))) & set(pin.hashes):
        return Answer(pin, missing="the answer knows none of the locked files")
    known = answer.get("vulnerabilities")
    if not isinstance(known, list) or not all(isinstance(entry, dict) for entry in known):
        return Answer(pin, missing="the answer has no list of advisories")
    yanked = info.get("yanked_reason") or "no reason given" if info.get("yanked") else None
    standing = tuple(_advisory(entry) for entry in known if not entry.get("withdrawn"))
    return Answer(pin, standing, yanked=_line(yanked) if yanked else None)


def _digests(files: Any) -> Iterator[str]:
    for file in files if isinstance(files, list) else ():
        digests = file.get("digests") if isinstance(file, dict) else None
        if isinstance(digests, dict):
            yield str(digests.get("sha256")).lower()


def _advisory(entry: dict[str, Any]) -> Advisory:
    summary = entry.get("summary") or entry.get("details") or "nothing more is told"
    return Advisory(
        id=_line(entry.get("id") or "an advisory without a name"),
        aliases=tuple(map(_line, _texts(entry.get("aliases")))),
        fixed_in=tuple(map(_line, _texts(entry.get("fixed_in")))),
        summary=_line(summary),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _line(text: object) -> str:
    """One printable line: what an index says is text of strangers."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:200].strip()


def verdict(
    pins: Iterable[Pin], answers: Iterable[Answer], accepted: frozenset[str] = frozenset()
) -> Verdict:
    """Fine only if every package of the locks is answered for, with no advisory that nobody accepted."""
    by_pin = {(answer.pin.name, answer.pin.version): answer for answer in answers}
    wanted = {(pin.name, pin.version): pin for pin in pins}
    found = [by_pin.get(key, Answer(pin, missing="it was not asked about")) for key, pin in wanted.items()]
    lines = list(_gaps(found))
    is_complete, is_known = not lines and bool(found), False
    for answer in found:
        if answer.yanked is not None:
            lines.append(f"taken back by its makers: {_named(answer)}: {answer.yanked}")
        for advisory in answer.advisories:
            is_accepted = bool(accepted & {advisory.id, *advisory.aliases})
            is_known |= not is_accepted
            lines.append(_told(answer, advisory, "accepted" if is_accepted else "KNOWN"))
    audited = sum(answer.missing is None for answer in found)
    lines.append(f"{audited} of {len(found)} locked packages audited")
    if not is_complete:
        lines.append("not audited")
    return Verdict(KNOWN if is_known else FINE if is_complete else NOT_AUDITED, tuple(lines))


def _gaps(answers: list[Answer]) -> Iterator[str]:
    """What is not audited, by the reason; of very many with the same one their number."""
    by_reason: dict[str, list[str]] = {}
    for answer in answers:
        if answer.missing is not None:
            by_reason.setdefault(answer.missing, []).append(_named(answer))
    for why, names in by_reason.items():
        told = ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")
        yield f"not audited, {why}: {told}"


def _named(answer: Answer) -> str:
    return f"{answer.pin.name} {answer.pin.version}"


def _told(answer: Answer, advisory: Advisory, word: str) -> str:
    names = ", ".join((advisory.id, *advisory.aliases))
    mended = f"fixed in {', '.join(advisory.fixed_in)}" if advisory.fixed_in else "no version mends it yet"
    return f"{word}: {_named(answer)}: {names}: {advisory.summary} ({mended})"


# -- the source ----------------------------------------------------------------------------------


class Unreachable(Exception):
    """The source could not be asked, or has no advisories to give."""


def ask(source: str, pins: tuple[Pin, ...]) -> Iterator[Answer]:
    """The source's answer about each package.

    Raises Unreachable where nobody answers, or the answers about weak releases tell of no weakness.
    """
    with requests.Session() as session:
        again = Retry(
            total=2,
            backoff_factor=0.3,
            status_forcelist=(429, 502, 503, 504),
            raise_on_status=False,
            respect_retry_after_header=False,  # whoever is asked to wait for an hour asks again by hand
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again, pool_maxsize=AT_ONCE))
        silent = []
        for weak, advisory in WEAK:
            answer = _asked(session, source, weak)
            if any(advisory in (known.id, *known.aliases) for known in answer.advisories):
                break
            silent.append(f"{_named(answer)} ({answer.missing or f'{advisory} is not in its list'})")
        else:
            raise Unreachable(f"the source does not tell what everybody knows of {', '.join(silent)}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda pin: _asked_softly(session, source, pin), pins)


def _asked_softly(session: requests.Session, source: str, pin: Pin) -> Answer:
    try:
        return _asked(session, source, pin)
    except Unreachable as error:
        return Answer(pin, missing=str(error))


def _asked(session: requests.Session, source: str, pin: Pin) -> Answer:
    try:
        with session.get(f"{source}/{pin.name}/{pin.version}/json", timeout=SECONDS, stream=True) as answer:
            if answer.status_code != 200:
                return Answer(pin, missing=f"the source answered {answer.status_code}")
            body = answer.raw.read(ANSWER_READ + 1, decode_content=True)
    except (requests.RequestException, HTTPError, OSError) as error:  # `raw` raises urllib3's own
        raise Unreachable(f"the source does not answer ({type(error).__name__})") from error
    if len(body) > ANSWER_READ:
        return Answer(pin, missing="the answer is too large")
    try:
        return judged(pin, json.loads(body))
    except (ValueError, RecursionError):
        return Answer(pin, missing="the answer is no JSON")


def pips_own() -> str:
    """Where the index that pip uses describes releases. Raises Unreachable where pip does not name it."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--help"]
    wide = {**os.environ, "COLUMNS": "10000"}  # so that no address is broken in two
    done = subprocess.run(command, env=wide, capture_output=True, text=True, check=True)  # noqa: S603
    told = " ".join(done.stdout.split())
    # pip shows the value that counts, of its files and variables too, with the password covered.
    index = re.search(r"--index-url <url> [^()]*\(default (https?://[^\s)]+)\)", told)
    if index is None:
        raise Unreachable("pip does not say which index it uses: name a source")
    return re.sub(r"://[^/@]*@", "://", index[1]).rstrip("/").removesuffix("/simple") + "/pypi"


# -- the program ---------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Ask, judge, tell; returns 0 audited and nothing known, 1 something is known, 2 not audited."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.supply.audit", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "locks", nargs="*", type=Path, default=LOCKS, help="lock files; all of locks/ by default"
    )
    parser.add_argument("--source", help="address below which /NAME/VERSION/json describes a release")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="ID", help="an advisory to live with"
    )
    options = parser.parse_args(arguments)
    try:
        pins = tuple({(p.name, p.version): p for lock in options.locks for p in read_lock(lock)}.values())
        source = (options.source or pips_own()).rstrip("/")
        found = verdict(pins, ask(source, pins), frozenset(options.accept))
    except (Unreachable, BadLock, OSError, subprocess.CalledProcessError) as error:
        found = Verdict(NOT_AUDITED, (f"not audited: {error}",))
    sys.stdout.write("\n".join(found.lines) + "\n")
    return found.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
