"""Decisions told in values alone: workloads from policy text, sites, pasts, and a world that answers.

`World` plays the cycle: it gives a decision the facts that it asks for, one round after the other, and
notes them, so that a test can say what was asked and what was not.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from automator.core.decide import (
    Decision,
    Facts,
    Limits,
    Need,
    Release,
    Sighting,
    Stay,
    Unavailable,
    decide,
    site_key,
)
from automator.core.facts import Signature
from automator.core.history import FileChange, FileVersion, SiteHistory, site_history
from automator.core.policy import Workload, parse_policies
from automator.core.reference import Image, TagList
from automator.core.release import Member as Block
from automator.core.release import ReleaseRecord, compose
from automator.core.site import Site, locate
from automator.core.together import Member, decide_group
from automator.reasons import Reason

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
"""A Saturday."""
SEMVER = 'semver: ">=1.0 <2"'
PLATFORMS = ("linux/amd64", "linux/arm64")
LONG_AGO = NOW - timedelta(days=30)


def digest(text: str) -> str:
    """A digest of its own for each text of up to 32 characters."""
    return "sha256:" + text.encode().hex().rjust(64, "0")[-64:]


def workload(*lines: str, name: str = "web") -> Workload:
    """A valid workload with these keys, of the image `ghcr.io/acme/NAME`."""
    (found,) = workloads({name: "\n".join(lines)})
    return found


def workloads(keys: Mapping[str, str]) -> tuple[Workload, ...]:
    """Valid workloads by name, of one policy file, with their keys."""
    text = "version: 1\nworkloads:\n"
    for name, lines in keys.items():
        text += f"  {name}:\n    image: ghcr.io/acme/{name}\n"
        text += "".join(f"    {line}\n" for line in lines.splitlines())
    policies = parse_policies({"policies/shop.yaml": text})
    assert not policies.problems, [why.sentence for _, why in policies.problems]
    return tuple(w for w in policies.workloads if isinstance(w, Workload))


def sites(*versions: str, name: str = "web") -> tuple[Site, ...]:
    """One site for each version (`1.4.2`, `7@sha256:…`), each in a file of its own."""
    return tuple(
        site.at(f"apps/{name}/{i}.yaml")
        for i, version in enumerate(versions)
        for site in locate(f"image: ghcr.io/acme/{name}:{version}\n", "x.yaml").sites
    )


@dataclass(frozen=True)
class Wrote:
    """A value in a site's past, and who wrote it: a person, or a release of ours."""

    value: str
    ours: bool = False
    who: str = "Ann"
    """Its author, where it is not ours."""
    kind: str = "release"
    actor: str | None = None
    """Who asked for it, where it is ours."""
    reason: str | None = None
    """Why, where it is ours and its trailers say so."""


def past(site: Site, *values: Wrote | str) -> SiteHistory:
    """The site's history: `values`, newest first, the first of which it holds now."""
    name = "web" if site.repository is None else site.repository.path.rpartition("/")[2]
    steps = [value if isinstance(value, Wrote) else Wrote(value) for value in values]
    texts = [f"image: ghcr.io/acme/{name}:{step.value}\n" for step in steps]
    versions = []
    for i, step in enumerate(steps):
        before = texts[i + 1] if i + 1 < len(texts) else None
        message = "by hand"
        if step.ours:
            block = Block(name, f"ghcr.io/acme/{name}", steps[i + 1].value, step.value, (site.label,))
            message = compose(
                ReleaseRecord(step.kind, (block,), actor=step.actor, reason=step.reason), why="a test"
            )
        change = FileChange(
            commit=f"{i:040x}",
            author="automator" if step.ours else step.who,
            time=NOW - timedelta(days=i + 1),
            message=message,
            path=site.file,
            before=None if before is None else f"old{i}",
            after=f"new{i}",
        )
        sides = [None if text is None else located(text, site) for text in (before, texts[i])]
        versions.append(FileVersion(change, *sides))
    return site_history(tuple(versions), site, True)


def built(tag: str) -> datetime:
    """When the image of a tag was built: some time of its own, not in the order of the tags."""
    return LONG_AGO + timedelta(seconds=zlib.crc32(tag.encode()) % 1_000_000)


def located(text: str, like: Site) -> tuple[Site, ...]:
    return tuple(site.at(like.file) for site in locate(text, "x.yaml").sites)


@dataclass
class World:
    """All that registries, history and memory would answer for one workload.

    `images` that are not named have both platforms and a digest of their own; what is not in `since` is
    seen for the first time when it is asked for.
    """

    workload: Workload
    sites: tuple[Site, ...]
    tags: Sequence[str]
    images: Mapping[str, Image | Unavailable] = field(default_factory=dict)
    since: Mapping[str, datetime | Sighting] = field(default_factory=dict)
    pasts: Mapping[str, SiteHistory] = field(default_factory=dict)
    """By file; a site without one has always held what it holds."""
    withdrawn: frozenset[str] = frozenset()
    now: datetime = NOW
    lines: tuple[str, ...] = ()
    """The keys of the workload, where a test wants to add to them."""
    unsigned: Mapping[str, Signature | Unavailable] = field(default_factory=dict)
    """By digest; any other digest is signed by whoever must have signed it."""
    asked: list[Need] = field(default_factory=list)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        seen = {
            tag: at if isinstance(at, Sighting) else Sighting(_digest_of(self.image(tag)), at)
            for tag, at in self.since.items()
        }
        self.facts = Facts(seen=seen, withdrawn=self.withdrawn)

    def again(self, **changes: Any) -> World:
        """The same world, of which nobody has asked anything yet."""
        return replace(self, asked=[], **changes)

    def rank(self, tag: str | None) -> Any:
        """Place of a tag in the order of the policy; None where it has none."""
        if tag is None:
            return None
        return built(tag) if self.workload.rule.order == "newest" else self.workload.rule.rank(tag)

    def image(self, tag: str) -> Image | Unavailable:
        """What the registry answers for a tag."""
        return self.images.get(tag) or Image(digest(tag), platforms=PLATFORMS)

    @property
    def listed(self) -> TagList:
        return TagList(self.workload.listed, tuple(self.tags), self.now, str(self.tags))

    @property
    def member(self) -> Member:
        return Member(self.workload, self.sites, self.listed, self.facts)

    def answer(self, need: Need) -> None:
        """Learn what a decision asked for."""
        self.asked.append(need)
        images = dict(self.facts.images)
        seen = dict(self.facts.seen)
        for tag in need.images:
            images[tag] = found = self.image(tag)
            known = seen.get(tag)
            if isinstance(found, Image) and (known is None or known.digest != found.digest):
                seen[tag] = Sighting(found.digest, self.now)
        histories = dict(self.facts.histories)
        for site in need.histories:
            histories[site_key(site)] = self.pasts.get(site.file) or past(site, value_of(site))
        self.facts = replace(
            self.facts,
            built={**self.facts.built, **{tag: built(tag) for tag in need.built}},
            images=images,
            seen=seen,
            histories=histories,
            signatures={
                **self.facts.signatures,
                **{w: self.unsigned.get(w[0]) or Signature(self.now, True) for w in need.signatures},
            },
            upstreams={**self.facts.upstreams, **dict.fromkeys(need.upstreams)},
        )

    def decide(self, lookups: int = 200) -> Decision:
        """Ask until there is a decision."""
        for _ in range(100):
            found = decide(self.workload, self.sites, self.listed, self.facts, self.now, Limits(lookups))
            if not isinstance(found, Need):
                return found
            self.answer(found)
        raise AssertionError(f"it asks on and on: {self.asked}")

    @property
    def looked_up(self) -> list[str]:
        """Tags that the registry was asked about, in order."""
        return [tag for need in self.asked for tag in need.images]

    def applied(self, release: Release) -> World:
        """The same world after the release was made: its sites hold the target, written by us."""
        moved = {
            site_key(site): replace(
                site,
                tag=release.tag,
                digest=release.image.digest
                if release.workload.pin == "digest" or site.digest is not None
                else None,
            )
            for site in release.sites
        }
        after = tuple(moved.get(site_key(site), site) for site in self.sites)
        pasts = dict(self.pasts)
        for old, new in zip(self.sites, after, strict=True):
            held = [value_of(old)] if old.file not in self.pasts else self._values(old)
            if new != old:
                pasts[new.file] = past(new, Wrote(value_of(new), ours=True), *held)
        known = {**dict(self.since), **dict(self.facts.seen)}
        return self.again(sites=after, since=known, pasts=pasts)

    def _values(self, site: Site) -> list[Wrote | str]:
        held = self.pasts[site.file].held
        return [Wrote(str(v), ours=v.record is not None and i + 1 < len(held)) for i, v in enumerate(held)]


def value_of(site: Site) -> str:
    """What a site holds, as a file spells it behind the repository."""
    return (site.tag or "") + (f"@{site.digest}" if site.digest else "")


def _digest_of(image: Image | Unavailable) -> str:
    assert isinstance(image, Image)
    return image.digest


def decide_together(
    worlds: Iterable[World],
    *,
    blocked: Mapping[str, Reason] | None = None,
    now: datetime = NOW,
    lookups: int = 200,
) -> dict[str, Decision]:
    """Decide the worlds' workloads as one group, in the order given."""
    worlds = list(worlds)
    by_name = {world.workload.name: world for world in worlds}
    group = worlds[0].workload.group
    assert group is not None
    for _ in range(200):
        members = [world.member for world in worlds]
        answers = decide_group(group, members, blocked or {}, now, Limits(lookups))
        needs = {name: need for name, need in answers.items() if isinstance(need, Need)}
        if not needs:
            return {name: found for name, found in answers.items() if not isinstance(found, Need)}
        for name, need in needs.items():
            by_name[name].answer(need)
    raise AssertionError("it asks on and on")


def code(decision: Decision) -> str:
    """The reason's code of a workload that stays."""
    assert isinstance(decision, Stay), decision
    return decision.reason.code


def told(decision: Decision) -> str:
    """A decision in a word: the tag that is released, or the code of the reason to stay."""
    return f"to {decision.tag}" if isinstance(decision, Release) else decision.reason.code
