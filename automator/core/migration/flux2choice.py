"""Flux v2, how an ImagePolicy chooses: its filter, order and range, as keys of a workload."""

from __future__ import annotations

import re

from automator.core.migration import expressions
from automator.core.migration.drafting import Work
from automator.core.migration.objects import KubeObject, at, is_nothing, text_at, texts_at
from automator.core.pattern import Glob
from automator.core.version import Constraint, numeric_rank, parse_semver
from automator.errors import AutomatorError
from automator.reasons import one_line

EVERYTHING = frozenset({"*", "x", "X", ">=0", ">=0.0", ">=0.0.0"})
"""Ranges that every version without a pre-release part is in."""

_THREE_PARTS = re.compile(r"\$\{?\w+\}?\.\$\{?\w+\}?\.\$\{?\w+\}?", re.ASCII)
_BY_SHAPE = frozenset({"*.sig", "*.att", "*.sbom"})
_STOPS = "a tag that is no whole number is passed over here, while it stops the policy in Flux (F2-03)"
_FRACTIONS = "1.10 is above 1.9 here, while Flux reads decimal fractions (F2-04)"


def reflect(work: Work, policy: KubeObject) -> None:
    """`digestReflectionPolicy` as `pin`, or as `follow` where only one tag can be chosen."""
    how = text_at(policy.body, "spec", "digestReflectionPolicy") or "Never"
    if how == "Never":
        return
    only = _only_tag(policy)
    if how == "Always" and only is not None and not work.holds and (why := _refused(work, only)) is not None:
        work.hold(f"Flux took nothing: {why}")
    if how == "Always" and only is not None and not work.holds:
        for key in ("glob", "regex", "exclude", "semver", "order"):
            work.keys.pop(key, None)
        work.keys["follow"] = only
        return
    work.keys["pin"] = "digest"
    if how == "Always":
        work.differ(
            "a new digest under the tag that is in use is told and not released; `follow` a tag for that"
        )


def _only_tag(policy: KubeObject) -> str | None:
    """The one tag that a filter lets through, if it is one and stands there as a plain word."""
    tags = at(policy.body, "spec", "filterTags")
    if text_at(tags, "extract"):
        return None
    found = expressions.globs(text_at(tags, "pattern") or "")
    if found is None or len(found) != 1 or "*" in found[0]:
        return None
    return found[0]


def _refused(work: Work, tag: str) -> str | None:
    """Why Flux does not choose the one tag that its filter lets through; None where it does."""
    excluded = work.keys.get("exclude")
    globs = [*_BY_SHAPE, *(excluded if isinstance(excluded, list) else ())]
    if any(Glob.parse(glob).key(tag) is not None for glob in globs):
        return f"the `exclusionList` takes {tag} out"
    wanted = work.keys.get("semver")
    if isinstance(wanted, str) and (parse_semver(tag) is None or not Constraint.parse(wanted).allows(tag)):
        return f"{tag} is no version in {one_line(wanted, 60)}"
    if work.keys.get("order") == "numeric" and numeric_rank(tag) is None:
        return f"{tag} is no number"
    return None


# -- how it chooses ------------------------------------------------------------------------------------


def choose(work: Work, policy: KubeObject, repository: KubeObject | None) -> None:
    """Filter and order of a policy; held where they cannot be said here."""
    rules = at(policy.body, "spec", "policy")
    found = [name for name in ("semver", "alphabetical", "numerical") if not is_nothing(at(rules, name))]
    if len(found) != 1:
        work.keys["order"] = "version"
        work.hold("Flux wants exactly one of semver, alphabetical and numerical; this policy chooses nothing")
        return
    kind = found[0]
    if kind != "semver":
        work.keys["order"] = "alphabetical" if kind == "alphabetical" else "numeric"
    if kind == "semver":
        _range(work, text_at(rules, "semver", "range"))
    elif (order := (text_at(rules, kind, "order") or "asc").lower()) != "asc":
        work.hold(f"Flux takes the lowest here (`order: {one_line(order, 20)}`), which no policy does")
        work.differ("Flux takes the lowest tag, and a policy always takes the highest; held (F2-06)")
    _filter(work, policy, kind)
    _exclude(work, repository)


def _range(work: Work, text: str | None) -> None:
    try:
        constraint = Constraint.parse(text or "")
    except AutomatorError as error:
        work.keys["order"] = "version"
        work.hold(f"its semver range cannot be used: {error.reason.sentence}")
        return
    if constraint.empty:
        work.keys["order"] = "version"
        work.hold(f"no version lies in its semver range {one_line(constraint.text, 80)}")
        return
    work.keys["semver"] = constraint.text


def _filter(work: Work, policy: KubeObject, kind: str) -> None:
    """`filterTags` as `regex`, with what is extracted as its key."""
    tags = at(policy.body, "spec", "filterTags")
    pattern, extract = text_at(tags, "pattern") or "", text_at(tags, "extract") or ""
    if tags is None or not (pattern or extract):
        if kind == "numerical":
            work.differ(_STOPS)
        return
    if not expressions.compiles(pattern):
        work.hold(f"its pattern {one_line(pattern, 80)} is no expression of RE2, and Flux took no tag by it")
        return
    if not extract:
        regex = expressions.covering(pattern)
        keyed = None if regex is None else expressions.keyed(pattern, "$0")
        if regex is None:
            _cannot_extract(work, pattern, "nothing")
            return
        work.keys.update({} if regex == ".*" else {"regex": regex})
        whole = keyed is not None and keyed.digits and ".*" not in regex
        if kind == "numerical" and not whole:
            work.differ(_STOPS)
        return
    found = expressions.keyed(pattern, extract, textual=kind == "alphabetical")
    if found is None or (found.as_text and not _orders_as_text(work, kind, extract)):
        _cannot_extract(work, pattern, extract)
        return
    work.keys["regex"] = found.regex
    if found.as_text:
        work.keys.pop("semver", None)
        work.keys["order"] = "alphabetical"
    elif kind == "numerical" and not found.digits:
        work.keys["order"] = "version" if found.dotted else "numeric"
        work.differ(_FRACTIONS if found.dotted else _STOPS)


def _orders_as_text(work: Work, kind: str, extract: str) -> bool:
    """Whether digits of fixed width, compared as text, order as Flux orders what it extracts."""
    if kind == "alphabetical":
        return True
    if kind == "numerical":
        return re.fullmatch(r"(?:\$\{?\w+\}?)+", extract, re.ASCII) is not None
    return _THREE_PARTS.fullmatch(extract) is not None and work.keys.get("semver") in EVERYTHING


def _cannot_extract(work: Work, pattern: str, extract: str) -> None:
    if "semver" not in work.keys:
        work.keys.setdefault("order", "version")
    regex = expressions.covering(pattern)
    if regex is not None and regex != ".*":
        work.keys["regex"] = regex
    work.hold(f"what Flux extracts ({one_line(extract, 60)}) is no part of the tag that can be compared here")
    work.differ("what Flux puts together from parts of a tag cannot be compared here; held (F2-07)")


def _exclude(work: Work, repository: KubeObject | None) -> None:
    """`exclusionList` as `exclude`."""
    if repository is None:
        return
    exclude: list[str] = []
    for pattern in texts_at(repository.body, "spec", "exclusionList"):
        globs = expressions.globs(pattern)
        if globs is None:
            work.hold(f"tags that {one_line(pattern, 60)} excludes in Flux cannot be named by globs")
            work.differ(
                "an expression of the `exclusionList` that no glob says is not carried over; held (F2-08)"
            )
            continue
        exclude += [glob for glob in globs if glob not in _BY_SHAPE and glob not in exclude]
    if exclude:
        work.keys["exclude"] = exclude
