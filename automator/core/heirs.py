"""Heirs: workloads that say no order of their own, and order versions as the workload they come after does.

An heir takes the whole rule that says which versions upstream may take: pattern, range and order, or the tag
that is followed; what it excludes and rejects itself is left out besides. So its mark, and what people turned
away, are told in that order too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from automator.core.guards import OF_GROUP, upstream_names
from automator.core.policy import InvalidWorkload, Workload
from automator.core.promotion import Unknown
from automator.core.reference import Repository
from automator.core.rule import Rule
from automator.reasons import reason


@dataclass(frozen=True, slots=True)
class Lent:
    """What the workloads of one config repo lend to those that come after them."""

    rules: tuple[tuple[str, Rule], ...] = ()
    """By the workload that says it."""
    elsewhere: tuple[str, ...] = ()
    """What `after` names in other config repos, in full: their rules count too."""
    unknown: Unknown | None = None
    """Why one of them lends nothing."""


class Policies(NamedTuple):
    """The workloads of one config repo, and the members of its groups."""

    repo: str
    workloads: Mapping[str, Workload | InvalidWorkload]
    groups: Mapping[str, Collection[str]]


class Lender(NamedTuple):
    """Whose rule is taken over."""

    name: str
    """In full."""
    rule: Rule


def is_heir(workload: Workload) -> bool:
    """Whether a workload waits for the rule of upstream."""
    return workload.rule.order == "upstream"


def lent(policies: Policies, names: Collection[str], repository: Repository) -> Lent:
    """What these lend, of the config repo that is given; a group's begins with OF_GROUP.

    Of a group, those members count that are the same image.
    """
    rules: dict[str, Rule] = {}
    elsewhere: dict[str, None] = {}
    todo, done = list(names), set[str]()
    while todo:
        name = todo.pop(0)
        local = local_name(name, policies.repo)
        if local is None:
            elsewhere[name] = None
            continue
        is_group = local.startswith(OF_GROUP)
        here = policies.groups.get(local.removeprefix(OF_GROUP), ()) if is_group else (local,)
        if not here:
            return Lent(unknown=_missing("group", name))
        for each in here:
            entry = policies.workloads.get(each)
            if entry is None:
                return Lent(unknown=_missing("workload", each))
            if each in done or (is_group and entry.repository != repository):
                continue
            done.add(each)
            if isinstance(entry, InvalidWorkload):
                problem = entry.reason.sentence
                return Lent(unknown=Unknown(reason("guard/after-invalid", upstream=each, problem=problem)))
            if not is_heir(entry):
                rules[f"{policies.repo}/{each}".lstrip("/")] = entry.rule
            elif entry.guards.after is not None:
                todo += upstream_names(entry.guards.after)
    return Lent(tuple(rules.items()), tuple(elsewhere))


def local_name(name: str, repo: str) -> str | None:
    """What `after` names, as its own config repo calls it; None where it is in another one than `repo`."""
    bare = name.removeprefix(OF_GROUP)
    place, slash, local = bare.rpartition("/")
    if slash and place != repo:
        return None
    return f"{OF_GROUP}{local}" if name != bare else local


def rule_of(
    names: Sequence[str], lent_by: Callable[[str], Lent | None]
) -> Lender | Unknown | tuple[str, ...]:
    """The one rule that these lend, and who says it; or whom to ask first.

    `lent_by` has what is known of each name; None where nobody asked.
    """
    todo, done, missing = list(names), set[str](), list[str]()
    found: dict[str, Rule] = {}
    while todo:
        name = todo.pop(0)
        if name in done:
            continue
        done.add(name)
        told = lent_by(name)
        if told is None:
            missing.append(name)
            continue
        if told.unknown is not None:
            return told.unknown
        found.update(told.rules)
        todo += told.elsewhere
    if missing:
        return tuple(missing)
    if not found:
        shown = ", ".join(name.removeprefix(OF_GROUP) for name in names)
        return Unknown(reason("guard/after-no-order", upstream=shown))
    first, *others = sorted((Lender(*item) for item in found.items()), key=lambda lender: lender.name)
    other = next((who for who in others if _meaning(who.rule) != _meaning(first.rule)), None)
    if other is not None:
        return Unknown(reason("guard/after-orders", first=first.name, other=other.name))
    return first


def inherit(heir: Workload, lender: Lender, repo: str) -> Workload:
    """The heir, of this config repo, with the rule of upstream, and with what it leaves out itself."""
    own, rule = heir.rule, lender.rule
    text = f"{rule.text} of {lender.name.removeprefix(f'{repo}/')}"
    if own.exclude:
        text += ", without " + " ".join(f'"{glob.text}"' for glob in own.exclude)
    return replace(
        heir, rule=replace(rule, text=text, exclude=(*rule.exclude, *own.exclude), reject=own.reject)
    )


def _meaning(rule: Rule) -> tuple[object, ...]:
    matcher = None if rule.matcher is None else rule.matcher.text
    excluded = tuple(sorted(glob.text for glob in rule.exclude))
    within = None if rule.constraint is None else rule.constraint.text
    return (rule.order, matcher, excluded, within, rule.lenient, rule.prereleases, rule.followed)


def _missing(what: str, name: str) -> Unknown:
    shown = name.removeprefix(OF_GROUP)
    return Unknown(reason("guard/after-no-workload", what=what, upstream=shown))
