"""A policy's test bench: what a policy says of a list of tags at a moment, from texts alone.

Each line of a tags file is a tag and what is known of it; what it does not say is taken to be in order
(seen long ago, there for every platform), so that a bare list of tags tries filters, range and order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from automator.core.decide import Decision, Need, decide
from automator.core.explain import Question, Verdict, explain
from automator.core.facts import Facts, Sighting, Signature, SignatureKey, Unavailable, site_key
from automator.core.guards import upstream_names
from automator.core.history import SiteHistory
from automator.core.policy import Workload
from automator.core.policycompile import TIME_SPAN, parse_time
from automator.core.reference import DIGEST, TAG, Image, TagList
from automator.core.site import Site, locate
from automator.errors import UsageError
from automator.reasons import reason

LONG_AGO = datetime(1950, 1, 1, tzinfo=UTC)
"""Older than any `min_age`, at the earliest time at which a policy can be tried."""
MAX_TAGS = 200_000


class TagLine(NamedTuple):
    """One line of a tags file."""

    tag: str
    seen: datetime | None = None
    """Since when its digest stands under it."""
    built: datetime | None = None
    digest: str | None = None
    platforms: tuple[str, ...] | None = None
    signed: tuple[str, ...] | None = None
    """Keys that signed it; None for all that are asked for."""


class Trial(NamedTuple):
    """What a policy said."""

    decision: Decision
    verdicts: tuple[Verdict, ...]
    sites: tuple[Site, ...]


def read_tags_file(name: str, text: str) -> tuple[TagLine, ...]:
    """The tags of a file: one on a line, then `seen=TIME`, `built=TIME`, `digest=sha256:…`,
    `platforms=linux/amd64,linux/arm64` and `signed=KEY,KEY` (`signed=` for by nobody) in any order; `#`
    begins a comment.

    Raises UsageError (`usage/tags-file`) that names the line.
    """
    found: list[TagLine] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(found) >= MAX_TAGS:
            raise _wrong(name, number, f"it is more than {MAX_TAGS} tags")
        if TAG.fullmatch(words[0]) is None:
            raise _wrong(name, number, f'"{words[0]}" is no tag')
        found.append(_tag_line(name, number, words))
    return tuple(found)


def _tag_line(name: str, number: int, words: list[str]) -> TagLine:
    told: dict[str, Any] = {}
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key in ("seen", "built"):
            time = parse_time(value)
            if time is None:
                problem = f'"{word}" holds no time {TIME_SPAN}, such as 2026-12-01T09:00:00Z'
                raise _wrong(name, number, problem)
            told[key] = time
        elif key == "digest" and DIGEST.fullmatch(value):
            told[key] = value
        elif key in ("platforms", "signed") and "=" in word:
            told[key] = tuple(filter(None, value.split(",")))
        else:
            raise _wrong(name, number, f'"{word}" is none of seen=, built=, digest=, platforms= and signed=')
    return TagLine(words[0])._replace(**told)


def _wrong(name: str, number: int, problem: str) -> UsageError:
    return UsageError(reason("usage/tags-file", place=f"{name}:{number}", problem=problem))


def try_policy(workload: Workload, lines: Sequence[TagLine], current: str | None, now: datetime) -> Trial:
    """What the policy of a workload says of tags at a time, for a site at `current`; without it, for one
    where any version may be taken, as at adoption, or that is at the tag that is followed. People's
    verdicts and upstream workloads are unknown here: nothing was turned away, and `after` waits.

    Raises UsageError (`usage/current`) where `current` is no tag.
    """
    site = _site(workload, current)
    tags = TagList(workload.repository, tuple(line.tag for line in lines), now, "")
    known = _facts(workload, lines, site)
    decision = decide(workload, (site,), tags, known, now)
    # Every fact is given, so nothing can be missing; what a tag list lacks was never asked for.
    assert not isinstance(decision, Need), decision
    return Trial(decision, explain(Question(workload, (site,), known, now, decision), tags), (site,))


def _site(workload: Workload, current: str | None) -> Site:
    """A place that holds the current version."""
    value = current or workload.rule.followed or "none"
    tag, at, digest = value.partition("@")
    if TAG.fullmatch(tag) is None or (at and DIGEST.fullmatch(digest) is None):
        raise UsageError(reason("usage/current", current=current))
    text = f"image: {workload.repository}:{value}\n"
    (site,) = (site.at("current.yaml") for site in locate(text, "current.yaml").sites)
    return replace(site, tag=None) if current is None and workload.rule.followed is None else site


def _facts(workload: Workload, lines: Sequence[TagLine], site: Site) -> Facts:
    images: dict[str, Image | Unavailable] = {}
    seen: dict[str, Sighting] = {}
    built: dict[str, datetime | None] = {}
    signatures: dict[SignatureKey, Signature | Unavailable] = {}
    for line in lines:
        digest = line.digest or _made_up(line.tag)
        platforms = workload.guards.platforms if line.platforms is None else line.platforms
        images[line.tag] = Image(digest, line.built, platforms=platforms)
        seen[line.tag] = Sighting(digest, line.seen or LONG_AGO)
        signatures[(digest, workload.guards.signed_by)] = _signature(workload, line)
        built[line.tag] = line.built
    if site.tag is not None and site.tag not in images:
        answer = "it is not in the file"
        why = reason("registry/not-found", repository=workload.repository, what=site.tag, answer=answer)
        images[site.tag] = Unavailable(why)
        built[site.tag] = None
    upstreams: Mapping[str, None] = {}
    if workload.guards.after is not None:
        upstreams = dict.fromkeys(upstream_names(workload.guards.after))
    return Facts(
        built=built,
        images=images,
        histories={site_key(site): SiteHistory((), complete=True)},
        seen=seen,
        signatures=signatures,
        upstreams=upstreams,
    )


def _signature(workload: Workload, line: TagLine) -> Signature:
    signed = line.signed
    lacks = (k for k in workload.guards.signed_by if signed is not None and not set(k) & set(signed))
    lacking = next(lacks, ())
    return Signature(LONG_AGO, not lacking, lacking)


def _made_up(tag: str) -> str:
    return f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"
