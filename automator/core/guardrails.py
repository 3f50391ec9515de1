"""Guard rails: rules are read, and workloads are held to those that are about them.

A workload can be stricter than a rail, never laxer: what it does not say, the rail says; what it says
against a rail holds it. So another rail never makes a release possible that was not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from automator.core.duration import format_duration, parse_duration
from automator.core.policycompile import KEY_NAME, PLATFORM, bad_path
from automator.core.policyfile import read_reserved_file
from automator.core.policykeys import RuleKeys, RulesFileKeys, WorkloadKeys, key_names
from automator.core.policyvalues import Path, Place, Problem
from automator.core.rail import Rail
from automator.core.reference import Repository, parse_repository
from automator.core.workload import Workload
from automator.errors import InvalidReference
from automator.reasons import Reason, one_line, reason

DEMANDS = (
    *("registries", "images", "require", "forbid"),
    *("platforms", "signed_by", "min_age", "step", "deliver"),
)
STEPS = ("patch", "minor", "major")
"""From the smallest jump to the largest."""

_KNOWN = key_names(WorkloadKeys)


# -- reading ------------------------------------------------------------------------------------------


class Flaw(NamedTuple):
    """Why a rule cannot be used."""

    path: Path
    """Which part of it: `(0, "images", 1)`, `(0,)` for the rule as a whole."""
    found: str
    expected: str

    @property
    def key(self) -> str:
        """`rules[0].images[1]`."""
        return "rules" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)


def parse_rails(
    rules: Sequence[RuleKeys], file: str, place_of: Callable[[int], object]
) -> tuple[tuple[Rail, ...], tuple[Flaw, ...]]:
    """The rules of a file as rails, and everything that is wrong with them.

    `place_of` says where a rule is written, by its number from 0. A rule with a flaw is no rail: who
    reads it stops everything until it is mended.
    """
    rails: list[Rail] = []
    flaws: list[Flaw] = []
    for number, keys in enumerate(rules):
        found = list(_flaws(keys))
        flaws += [flaw._replace(path=(number, *flaw.path)) for flaw in found]
        if not found:
            rails.append(_rail(keys, (file, number), str(place_of(number))))
    return tuple(rails), tuple(flaws)


def read_rails(file: str, text: str) -> tuple[tuple[Rail, ...], tuple[Problem, ...]]:
    """The rails of a `_rules.yaml`, and everything that is wrong with it. Never raises."""
    keys, problems, places = read_reserved_file(file, text, RulesFileKeys)
    if keys is None:
        return (), problems

    def place_of(*path: str | int) -> Place:
        ends = (places.get(("rules", *path[:end])) for end in range(len(path), 0, -1))
        return next((place for place in ends if place is not None), Place(file, 1))

    rails, flaws = parse_rails(keys.rules, file, place_of)
    return rails, tuple((place_of(*flaw.path), _told(flaw, place_of(*flaw.path))) for flaw in flaws)


def _told(flaw: Flaw, place: Place) -> Reason:
    return reason(
        "policy/invalid-value",
        place=place,
        key=flaw.key,
        problem=f"expected {flaw.expected}, found {flaw.found}",
        hint=f"write {flaw.expected}",
    )


def _rail(keys: RuleKeys, rank: tuple[str, int], place: str) -> Rail:
    return Rail(
        rank=rank,
        place=place,
        name=None if keys.name is None else one_line(keys.name),
        paths=tuple(keys.paths or ()),
        owners=tuple(keys.owners or ()),
        environments=tuple(keys.environments or ()),
        registries=tuple(filter(None, map(_host, keys.registries or ()))),
        images=tuple(filter(None, map(_image_glob, keys.images or ()))),
        require=tuple(keys.require or ()),
        forbid=tuple(keys.forbid or ()),
        platforms=tuple(keys.platforms or ()),
        signed_by=tuple(dict.fromkeys(keys.signed_by or ())),
        min_age=_age(keys.min_age),
        step=keys.step,
        deliver=keys.deliver,
    )


def _flaws(keys: RuleKeys) -> Iterator[Flaw]:
    """What is wrong with one rule; paths begin below it."""
    if all(getattr(keys, demand) is None for demand in DEMANDS):
        yield Flaw((), "a rule that demands nothing", "a demand such as `registries` or `min_age`")
    if bad := bad_path(keys.paths):
        expected = "a gitignore-style glob such as `apps/shop/**`"
        yield Flaw(("paths", bad[0]), f'"{(keys.paths or [])[bad[0]]}": {bad[1]}', expected)
    for key, read, expected in (
        ("registries", _host, "a registry host such as ghcr.io or registry.example.com:5000"),
        ("images", _image_glob, "an image repository, or a glob of whole ones such as ghcr.io/acme/*"),
        ("platforms", PLATFORM.fullmatch, "a platform such as linux/amd64 or linux/arm/v7"),
        ("signed_by", KEY_NAME.fullmatch, "the name of a key of the daemon's config"),
    ):
        for i, text in enumerate(getattr(keys, key) or ()):
            if not read(text):
                yield Flaw((key, i), f'"{text}"', expected)
    for key in ("require", "forbid"):
        for i, name in enumerate(getattr(keys, key) or ()):
            yield from _name_flaws((key, i), name)
    for name in sorted(set(keys.require or ()) & set(keys.forbid or ())):
        yield Flaw(("forbid", (keys.forbid or []).index(name)), f"`{name}`, required too", "another key")
    if keys.min_age is not None and not _age(keys.min_age):
        yield Flaw(("min_age",), f'"{keys.min_age}"', "a duration longer than zero, such as 30m, 12h or 7d")


def _name_flaws(path: Path, name: str) -> Iterator[Flaw]:
    if name not in _KNOWN:
        close = difflib.get_close_matches(name, _KNOWN, 1)
        expected = f"the key `{close[0]}`" if close else "a key of a workload, such as `owner`"
        yield Flaw(path, f'"{name}"', expected)


def _age(text: str | None) -> timedelta | None:
    """None for what is no duration."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError:
        return None


def _host(text: str) -> str | None:
    """A registry host as repositories have it, or None."""
    try:
        found = parse_repository(f"{text}/a/b")
    except InvalidReference:
        return None
    return found.registry if found.path == "a/b" else None


_GLOB = re.compile(r"[a-z0-9._*:\[\]-]+(?:/[a-z0-9._*-]+)*", re.ASCII)


def _image_glob(text: str) -> str | None:
    """A glob over repositories in the spelling of theirs, or None for one that could cover none."""
    if "*" not in text:
        try:
            return str(parse_repository(text))
        except InvalidReference:
            return None
    host, slash, path = text.partition("/")
    if "*" not in host:
        host = _host(host) or ""
    found = f"{host.lower()}{slash}{path}"
    return found if _GLOB.fullmatch(found) else None


# -- binding ------------------------------------------------------------------------------------------


def concerns(rail: Rail, workload: Workload, files: Collection[str]) -> bool:
    """Whether a rail is about a workload whose sites are in these files."""
    if rail.owners and workload.owner not in rail.owners:
        return False
    if rail.environments and workload.environment not in rail.environments:
        return False
    return not rail.paths or any(map(_paths(rail.paths).match_file, files))


def bind(workload: Workload, files: Collection[str], rails: Iterable[Rail]) -> Workload | Reason:
    """The workload under the rails that are about it: as strict as the strictest of them all. A reason
    (`rule/violated`) where it says something against one of them, the first by place.

    `files` are those of its sites. The order of the rails does not matter, and a bound workload may be
    bound again.
    """
    about = _about(workload, files, rails)
    for rail in about:
        for violation in _violations(rail, workload):
            return violation
    return _tightened(workload, about) if about else workload


def violations(workload: Workload, files: Collection[str], rails: Iterable[Rail]) -> Iterator[Reason]:
    """Everything that a workload says against the rails that are about it (`rule/violated`), by place of
    the rails: `bind` gives the first of them."""
    for rail in _about(workload, files, rails):
        yield from _violations(rail, workload)


def _about(workload: Workload, files: Collection[str], rails: Iterable[Rail]) -> list[Rail]:
    return sorted((r for r in rails if concerns(r, workload, files)), key=lambda rail: rail.rank)


@lru_cache(maxsize=1024)
def _paths(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(patterns)


def _tightened(workload: Workload, rails: Sequence[Rail]) -> Workload:
    guards = workload.guards
    ages = [age for age in (guards.min_age, *(rail.min_age for rail in rails)) if age is not None]
    least = [age for age in (guards.least_age, *(rail.min_age for rail in rails)) if age is not None]
    steps = [step for step in (guards.step, *(rail.step for rail in rails)) if step is not None]
    demanded = {platform for rail in rails for platform in rail.platforms}
    signers = {rail.signed_by for rail in rails if rail.signed_by}
    tighter = replace(
        guards,
        min_age=max(ages, default=None),
        least_age=max(least, default=None),
        step=min(steps, key=STEPS.index, default=None),
        platforms=(*guards.platforms, *sorted(demanded.difference(guards.platforms))),
        signed_by=(*guards.signed_by, *sorted(signers.difference(guards.signed_by))),
    )
    delivery = workload.delivery
    if any(rail.deliver is not None for rail in rails):
        delivery = replace(delivery, deliver="pull-request")
    pin = "digest" if demanded or signers else workload.pin
    return replace(workload, guards=tighter, pin=pin, delivery=delivery)


def _violations(rail: Rail, workload: Workload) -> Iterator[Reason]:
    """What a workload says against a rail."""
    set_keys = {key for key, _ in workload.keys}

    def violation(key: str, found: str, wanted: str) -> Reason:
        return reason(
            "rule/violated",
            place=workload.place_of(key),
            found=found,
            rule=rail.label,
            rule_place=rail.place,
            wanted=wanted,
        )

    for key, repository in _sources(workload):
        if rail.registries and repository.registry not in rail.registries:
            yield violation(key, f"`{key}` is {repository}", f"an image of {', '.join(rail.registries)}")
    repository = workload.repository
    if rail.images and not any(_covers(glob, str(repository)) for glob in rail.images):
        yield violation("image", f"`image` is {repository}", f"an image like {', '.join(rail.images)}")
    for key in rail.require:
        if key not in set_keys or _blank(workload, key):
            yield violation(key, f"`{key}` is not set", f"`{key}`")
    for key in rail.forbid:
        if key in set_keys:
            yield violation(key, f"`{key}` is set", f"no `{key}`")
    if rail.platforms and "pin" in set_keys and workload.pin == "tag":
        wanted = f"platforms ({', '.join(rail.platforms)}), which bind a digest"
        yield violation("pin", "`pin` is tag", wanted)
    if rail.signed_by and "pin" in set_keys and workload.pin == "tag":
        wanted = f"a signature ({' or '.join(rail.signed_by)}), which binds a digest"
        yield violation("pin", "`pin` is tag", wanted)
    if rail.deliver is not None and workload.delivery.deliver == "push":
        yield violation("deliver", "`deliver` is push", "`deliver: pull-request`")
    own_age = workload.guards.min_age or timedelta(0)
    if rail.min_age is not None and "min_age" in set_keys and own_age < rail.min_age:
        found = f"`min_age` is {format_duration(own_age)}"
        yield violation("min_age", found, f"at least {format_duration(rail.min_age)}")
    if rail.step is not None:
        own_step = workload.guards.step
        # Of the order of upstream nothing is known here: what it cannot tell, `step` stops later.
        if workload.rule.order not in ("semver", "upstream"):
            key, found = _stepless(workload)
            yield violation(key, found, f"`semver`, with steps of {rail.step} at most")
        elif "step" in set_keys and own_step is not None and STEPS.index(own_step) > STEPS.index(rail.step):
            yield violation("step", f"`step` is {own_step}", f"{rail.step} at most")


def _sources(workload: Workload) -> Iterator[tuple[str, Repository]]:
    yield "image", workload.repository
    if workload.tags_from is not None:
        yield "tags_from", workload.tags_from


def _blank(workload: Workload, key: str) -> bool:
    """Whether a key that is set says nothing."""
    match key:
        case "owner" | "environment" | "description":
            return not (getattr(workload, key) or "").strip()
        case "min_age":
            return not workload.guards.min_age
    return False


def _stepless(workload: Workload) -> tuple[str, str]:
    """The key by which a workload's versions have no patch, minor and major, and a sentence of it."""
    order = workload.rule.order
    if order == "follow":
        return order, "a tag that is followed has no steps"
    return "order", f"`order: {order}` has no steps"


def _covers(glob: str, text: str) -> bool:
    """Whether a glob, whose `*` is any text, covers a text; linear, since globs come from people."""
    first, *middle = glob.split("*")
    if not middle:
        return text == glob
    last = middle.pop()
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return text.endswith(last) and len(text) - len(last) >= at
