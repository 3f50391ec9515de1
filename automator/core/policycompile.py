"""Compiling: one well-formed entry of a policy file becomes a workload, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from automator.core.duration import parse_duration
from automator.core.pattern import Expression, Glob, Shape
from automator.core.policyfile import Entry
from automator.core.policykeys import AfterKeys, HoldKeys, WhereKeys, WorkloadKeys
from automator.core.policyvalues import Path, Place, Problem
from automator.core.promotion import After
from automator.core.reference import DIGEST, TAG, Repository, parse_repository
from automator.core.rule import ORDERS, Rule
from automator.core.version import Constraint
from automator.core.windows import Window
from automator.core.workload import Delivery, Group, Guards, Hold, Urgent, Where, Workload
from automator.errors import AutomatorError, PolicyError
from automator.reasons import Reason, one_line, reason

PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?", re.ASCII)
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
"""What a key or a check of the daemon's config may be called in a policy."""
LABEL = re.compile(r"[^\x00-\x1f\x7f,]{1,50}")
"""A label that every forge takes: GitHub's are the shortest, and GitLab parts them at commas."""
REVIEWER = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?", re.ASCII)
BINDS_DIGEST = ("platforms", "signed_by", "after")
"""Guards that speak of one digest, so that this digest is what must be written."""
WITHOUT_FOLLOW = (
    *("glob", "regex", "exclude", "semver", "versions", "prereleases", "order", "step"),
    *("tags_from", "downgrade", "align", "after"),
)
HARMLESS = ("downgrade", "align")
"""Those that a followed tag may inherit: they let more through, and here there is nothing to let."""


class Compiled(NamedTuple):
    """What became of an entry."""

    workload: Workload | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def compile_entry(entry: Entry, keys: WorkloadKeys, freezes: tuple[Hold, ...]) -> Compiled:
    """The workload of an entry with these keys, under the stops of its surroundings. Never raises."""
    compiler = _Compiler(entry, keys)
    workload = compiler.workload(freezes)
    return Compiled(workload, tuple(compiler.problems), tuple(compiler.warnings))


def where_of(keys: WhereKeys | None) -> Where:
    """`where` as a value."""
    if keys is None:
        return Where()
    return Where(
        tuple(keys.paths or ()), keys.kind, keys.namespace, keys.name, keys.container, keys.field, keys.marker
    )


def delivery_of(keys: WorkloadKeys) -> Delivery:
    """`deliver` and `pull_request` as a value."""
    wanted = keys.pull_request
    if wanted is None:
        return Delivery(keys.deliver)
    labels, reviewers = wanted.labels, wanted.reviewers
    return Delivery(
        keys.deliver,
        None if labels is None else tuple(dict.fromkeys(labels)),
        None if reviewers is None else tuple(dict.fromkeys(name.removeprefix("@") for name in reviewers)),
        wanted.draft,
        wanted.automerge,
    )


def bad_path(paths: list[str] | None) -> tuple[int, str] | None:
    """Index of the first path pattern that is none, and what is wrong with it."""
    for i, path in enumerate(paths or ()):
        try:
            GitIgnoreSpec.from_lines([path])
        except ValueError as error:
            return i, str(error)
        if not path.strip() or path.startswith("#"):
            return i, "it is empty or a comment, and matches nothing"
    return None


def compile_hold(
    keys: HoldKeys, path: Path, places: Mapping[Path, Place], otherwise: Place
) -> tuple[Hold | None, Problem | None]:
    """The stop that is written at a path of a file, or what is wrong with it."""
    until = None if keys.until is None else parse_time(keys.until)
    place = places.get(path, otherwise)
    if keys.until is not None and until is None:
        place = places.get((*path, "until"), place)
        key = ".".join(map(str, (*path, "until")))
        return None, (place, _no_time(place, key, keys.until))
    return Hold(one_line(keys.reason), place, until), None


class _Compiler:
    """Makes one workload of a well-formed entry, collecting everything that is wrong with it."""

    def __init__(self, entry: Entry, keys: WorkloadKeys) -> None:
        self._entry = entry
        self._keys = keys
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def workload(self, freezes: tuple[Hold, ...]) -> Workload | None:
        """The workload, or None with `problems` filled."""
        keys = self._keys
        repository = self._repository("image")
        tags_from = None if keys.tags_from is None else self._repository("tags_from")
        self._check_where()
        self._check_words()
        self._check_delivery()
        rule = self._rule()
        guards = self._guards()
        hold = self._hold()
        if self.problems or repository is None or rule is None or guards is None:
            return None
        binding = any(getattr(keys, key) is not None for key in BINDS_DIGEST) or keys.follow is not None
        return Workload(
            name=self._entry.name,
            repository=repository,
            where=where_of(keys.where),
            rule=rule,
            pin="digest" if binding else keys.pin or "tag",
            hold=hold,
            place=self._entry.place,
            owner=keys.owner,
            environment=keys.environment,
            description=keys.description,
            tags_from=tags_from,
            guards=guards,
            group=None if keys.group is None else Group(keys.group.name, keys.group.match or "version"),
            freezes=freezes,
            accept=tuple(keys.accept or ()),
            downgrade=bool(keys.downgrade),
            align=bool(keys.align),
            urgent=None if keys.urgent is None else Urgent(keys.urgent.version, one_line(keys.urgent.reason)),
            delivery=delivery_of(keys),
            verify=tuple(dict.fromkeys(keys.verify or ())),
            on_failure=keys.on_failure or "stop",
            keys=tuple((name, self._entry.place_of(name)) for name in sorted(self._set())),
        )

    @property
    def _is_heir(self) -> bool:
        """Whether nothing says which versions are taken but that they were upstream."""
        keys = self._keys
        own = (keys.semver, keys.order, keys.glob, keys.regex, keys.follow)
        return keys.after is not None and own == (None,) * len(own)

    def _set(self) -> Iterator[str]:
        """Names of the keys that are set, here or in the defaults."""
        return (name for name in self._keys.model_fields_set if getattr(self._keys, name) is not None)

    # -- what and where

    def _repository(self, key: str) -> Repository | None:
        text = getattr(self._keys, key)
        if text is None:
            self._problem(key, "policy/missing-key", expected="the image repository to watch")
            return None
        try:
            return parse_repository(text)
        except AutomatorError as error:
            self._invalid(key, error)
            return None

    def _check_where(self) -> None:
        where = self._keys.where
        if where is None:
            return
        if not where.model_fields_set:
            self._problem(
                "where",
                "policy/invalid-value",
                problem="it is empty",
                hint="name `paths`, `kind`, `name` …, or remove `where` to own every site of the image",
            )
        if bad := bad_path(where.paths):
            self._problem(
                f"where.paths[{bad[0]}]",
                "policy/invalid-value",
                problem=bad[1],
                hint="write gitignore-style globs such as `apps/shop/**`",
            )

    # -- which tags

    def _rule(self) -> Rule | None:
        keys = self._keys
        if keys.follow is not None:
            return self._followed(keys.follow)
        order = self._order()
        if order is None:
            return None
        lenient = order == "semver" and keys.versions == "lenient"
        rule = Rule(
            order,
            one_line(_rule_text(keys, order)),
            self._matcher(ORDERS["lenient" if lenient else order].shape),
            tuple(self._excluded()),
            self._constraint(),
            lenient,
            keys.prereleases or "range",
            tuple(keys.reject or ()),
        )
        return None if self.problems else rule

    def _followed(self, tag: str) -> Rule | None:
        for key in WITHOUT_FOLLOW:
            if key in HARMLESS and key not in self._entry.own:
                continue
            if getattr(self._keys, key) is not None:
                problem = "`follow` takes one tag as it is, and this key has no effect beside it"
                self._problem(key, "policy/conflict", problem=problem)
        if self._keys.pin == "tag":
            problem = "`follow` pins the tag's digest, which is not `pin: tag`"
            self._problem("pin", "policy/conflict", problem=problem)
        if self._keys.group is not None and self._keys.group.match != "any":
            problem = "a followed tag has no version that a group could agree on; write `match: any`"
            self._problem("group", "policy/conflict", problem=problem)
        if TAG.fullmatch(tag) is None:
            self._bad("follow", f'"{tag}" is no tag', 'write one tag, such as "7" or "stable"')
        if self.problems:
            return None
        return Rule(
            "follow", one_line(f'follow "{tag}"'), followed=tag, reject=tuple(self._keys.reject or ())
        )

    def _order(self) -> str | None:
        """The order that holds; None with a problem where the keys contradict each other or say nothing."""
        keys = self._keys
        if keys.glob is not None and keys.regex is not None:
            self._problem("regex", "policy/conflict", problem="`glob` and `regex` cannot both be given")
            return None
        if keys.semver is None:
            for key in ("versions", "prereleases", *(() if self._is_heir else ("step",))):
                if key in self._entry.own and getattr(keys, key) is not None:
                    self._problem(key, "policy/conflict", problem="it has no effect without `semver`")
        if keys.semver is not None:
            if keys.order not in (None, "version"):
                problem = f"`semver` orders by version, which is not `order: {keys.order}`"
                self._problem("order", "policy/conflict", problem=problem)
                return None
            return "semver"
        if keys.order is not None:
            return keys.order
        if self._is_heir:
            return "upstream"
        if keys.glob is not None or keys.regex is not None:
            expected = "`glob` and `regex` say which tags, `order` or `semver` which of them is the newest"
            self._problem("order", "policy/missing-key", expected=expected)
            return None
        place = self._entry.place
        label = f"workloads.{self._entry.name}"
        self.problems.append((place, reason("policy/no-choice", place=place, key=label)))
        return None

    def _matcher(self, shape: Shape) -> Glob | Expression | None:
        keys = self._keys
        try:
            if keys.glob is not None:
                glob = Glob.parse(keys.glob, shape)
                if glob.ambiguous:
                    self._warn("glob", "policy/ambiguous-glob", text=glob.text)
                return glob
            return None if keys.regex is None else Expression.parse(keys.regex)
        except PolicyError as error:
            self._invalid("regex" if keys.glob is None else "glob", error)
            return None

    def _excluded(self) -> Iterator[Glob]:
        for i, text in enumerate(self._keys.exclude or ()):
            try:
                if "{key}" in text:
                    raise PolicyError(
                        reason("pattern/invalid", text=text, problem="`exclude` has no `{key}`")
                    )
                yield Glob.parse(text)
            except PolicyError as error:
                self._invalid(f"exclude[{i}]", error)

    def _constraint(self) -> Constraint | None:
        text = self._keys.semver
        if text is None:
            return None
        try:
            constraint = Constraint.parse(text)
        except AutomatorError as error:
            self._invalid("semver", error)
            return None
        if constraint.empty:
            self._problem("semver", "policy/unreachable", text=text)
        for comparator in dict.fromkeys(constraint.oddities):
            self._warn("semver", "policy/odd-range", comparator=comparator, text=text)
        return constraint

    def _check_words(self) -> None:
        """Versions and platforms are what registries could have."""
        keys = self._keys
        for key in ("reject", "accept"):
            for i, text in enumerate(getattr(keys, key) or ()):
                if TAG.fullmatch(text) is None and DIGEST.fullmatch(text) is None:
                    hint = "write a tag as the registry has it, or a digest `sha256:…`"
                    self._bad(f"{key}[{i}]", f'"{text}" is neither a version nor a digest', hint)
        for text in sorted(set(keys.accept or ()) & set(keys.reject or ())):
            problem = f'"{text}" stands under `reject` too'
            self._problem("accept", "policy/conflict", problem=problem)
        for i, text in enumerate(keys.platforms or ()):
            if PLATFORM.fullmatch(text) is None:
                self._bad(
                    f"platforms[{i}]", f'"{text}" is no platform', "write `linux/amd64`, `linux/arm/v7` …"
                )
        for key, thing in (("signed_by", "key"), ("verify", "check")):
            for i, text in enumerate(getattr(keys, key) or ()):
                if KEY_NAME.fullmatch(text) is None:
                    hint = f"write the name of a {thing} of the daemon's config"
                    self._bad(f"{key}[{i}]", f'"{text}" is no name', hint)
        told = keys.environment
        if told is not None and not (told[:1].isalnum() and told.isprintable()):
            hint = "begin it with a letter or a digit: commands of checks get it as a word of its own"
            self._bad("environment", f'"{told}" is no name', hint)
        if keys.urgent is not None:
            self._check_urgent(keys.urgent.version)
        for key in BINDS_DIGEST:
            if keys.pin == "tag" and getattr(keys, key) is not None:
                problem = f"`{key}` binds a digest, which is not `pin: tag`"
                self._problem("pin", "policy/conflict", problem=problem)

    def _check_delivery(self) -> None:
        """What follows a release: pull requests that any forge can open, checks that something comes of."""
        keys = self._keys
        if keys.on_failure is not None and keys.verify is None and "on_failure" in self._entry.own:
            self._problem("on_failure", "policy/conflict", problem="it has no effect without `verify`")
        if keys.pull_request is None:
            return
        own = {"deliver", "pull_request"} <= self._entry.own
        if keys.deliver == "push" and own:
            problem = "it has no effect beside `deliver: push`"
            self._problem("pull_request", "policy/conflict", problem=problem)
        for i, text in enumerate(keys.pull_request.labels or ()):
            if LABEL.fullmatch(text) is None:
                hint = "write up to 50 characters on one line, without a comma"
                self._bad(f"pull_request.labels[{i}]", f'"{one_line(text)}" is no label', hint)
        for i, text in enumerate(keys.pull_request.reviewers or ()):
            if REVIEWER.fullmatch(text) is None:
                hint = "write a login such as ann, or a team such as acme/shop"
                self._bad(f"pull_request.reviewers[{i}]", f'"{one_line(text)}" is no login', hint)

    def _check_urgent(self, text: str) -> None:
        """One version: a tag, and under `follow` a digest, since each push gives the tag another one. What
        the defaults name may be meant for workloads of the other kind, and has no effect here."""
        is_tag, is_digest = TAG.fullmatch(text) is not None, DIGEST.fullmatch(text) is not None
        inherited = "urgent" not in self._entry.own
        if inherited and (is_tag or is_digest):
            return
        if self._is_heir and (is_tag or is_digest):
            return  # upstream may follow a tag: then the digest is what is urgent
        if self._keys.follow is None and not is_tag:
            self._bad("urgent.version", f'"{text}" is no tag', "write one tag")
        elif self._keys.follow is not None and is_tag:
            problem = f'`follow` needs the digest `sha256:…` that is urgent: "{text}" would be so for ever'
            self._problem("urgent.version", "policy/conflict", problem=problem)
        elif self._keys.follow is not None and not is_digest:
            self._bad("urgent.version", f'"{text}" is no digest', "write the digest, `sha256:…`")

    # -- guards

    def _guards(self) -> Guards | None:
        keys = self._keys
        min_age = None if keys.min_age is None else self._duration("min_age", keys.min_age)
        windows = tuple(self._windows())
        after = None if keys.after is None else self._after(keys.after)
        if self.problems:
            return None
        return Guards(
            min_age or None,
            keys.step if keys.semver is not None or self._is_heir else None,
            tuple(dict.fromkeys(keys.platforms or ())),
            (tuple(dict.fromkeys(keys.signed_by)),) if keys.signed_by else (),
            windows,
            after,
        )

    def _windows(self) -> Iterator[Window]:
        for i, window in enumerate(self._keys.windows or ()):
            key = f"windows[{i}]"
            cron = window.deny if window.allow is None else window.allow
            if cron is None or (window.allow is not None and window.deny is not None):
                self._bad(
                    key,
                    "exactly one of `allow` and `deny` is wanted",
                    'write `{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}`',
                )
                continue
            duration = self._duration(f"{key}.for", window.for_)
            if duration is None:
                continue
            try:
                kind = "deny" if window.allow is None else "allow"
                yield Window.parse(kind, cron, duration, window.zone or "UTC")
            except PolicyError as error:
                self._invalid(key, error)

    def _after(self, keys: AfterKeys) -> After | None:
        if (keys.workload is None) == (keys.group is None):
            hint = "write `after: {workload: web-staging, soak: 24h}`"
            self._bad("after", "exactly one of `workload` and `group` is wanted", hint)
            return None
        names = tuple(dict.fromkeys(keys.workload or ()))
        if self._entry.name in names:
            self._problem("after.workload", "policy/conflict", problem="a workload cannot come after itself")
        soak = timedelta(0) if keys.soak is None else self._duration("after.soak", keys.soak)
        return None if soak is None else After(names, keys.group, soak, keys.need or "all")

    def _duration(self, key: str, text: str) -> timedelta | None:
        try:
            return parse_duration(text)
        except ValueError as error:
            self._bad(key, f'"{text}" is not {error}', "write a duration such as 30m, 12h or 7d")
            return None

    # -- stop

    def _hold(self) -> Hold | None:
        keys = self._keys.hold
        if keys is None:
            return None
        entry = self._entry
        until = None if keys.until is None else parse_time(keys.until)
        if keys.until is not None and until is None:
            place = entry.place_of("hold", "until")
            self.problems.append((place, _no_time(place, entry.label("hold.until"), keys.until)))
        return Hold(one_line(keys.reason), entry.place_of("hold"), until)

    # -- problems

    def _problem(self, key: str, code: str, **params: str) -> None:
        self.problems.append(self._say(key, code, params))

    def _bad(self, key: str, problem: str, hint: str) -> None:
        self._problem(key, "policy/invalid-value", problem=problem, hint=hint)

    def _warn(self, key: str, code: str, **params: str) -> None:
        self.warnings.append(self._say(key, code, params))

    def _invalid(self, key: str, error: AutomatorError) -> None:
        why = error.reason
        self._problem(key, "policy/invalid-value", problem=why.sentence, hint=why.next_step)

    def _say(self, key: str, code: str, params: Mapping[str, str]) -> Problem:
        path = [int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", key) if part]
        place = self._entry.place_of(*path)
        return place, reason(code, changes_at=None, place=place, key=self._entry.label(key), **params)


def _no_time(place: Place, key: str, text: str) -> Reason:
    return reason(
        "policy/invalid-value",
        place=place,
        key=key,
        problem=f'"{text}" is no RFC 3339 time {TIME_SPAN}',
        hint="write a time with its zone, such as 2026-12-01T09:00:00Z",
    )


def _rule_text(keys: WorkloadKeys, order: str) -> str:
    parts = [] if keys.glob is None else [f'glob "{keys.glob}"']
    parts += [] if keys.regex is None else [f'regex "{keys.regex}"']
    if order == "upstream":
        parts += ["the rule of upstream"]
    else:
        parts += [f"order {order}"] if keys.semver is None else [f'semver "{keys.semver}"']
    if keys.semver is not None:
        parts += [] if keys.versions in (None, "strict") else [f"versions {keys.versions}"]
        parts += [] if keys.prereleases in (None, "range") else [f"prereleases {keys.prereleases}"]
    parts += ["without " + " ".join(f'"{glob}"' for glob in keys.exclude)] if keys.exclude else []
    return ", ".join(parts)


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


TIME_SPAN = "from 1970 to 2199"
"""Which times may be said, for people: far enough from the ends of the calendar that ages, soaks and the
horizon of windows can be added to them."""
_FIRST, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time (date, time to the second, zone) of `TIME_SPAN`, in UTC, or None."""
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if _FIRST <= time < _END else None
