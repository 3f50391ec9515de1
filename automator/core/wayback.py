"""The way back: a release of ours whose checks failed is undone, once, where its policy says so.

Only `on_failure: rollback`, and only what automator released by itself: what a person set, or asked for,
stays for the person. It goes back to a version that the workload held before and that did not fail; a group
goes as a whole, or not at all. A version that was rolled back to is never left by a second rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from automator.core import guards
from automator.core.decide import (
    DEFAULT_LIMITS,
    Decision,
    Facts,
    Limits,
    Need,
    Release,
    Stay,
    Unavailable,
    decide,
    shown_current,
    site_key,
    stopped_by_person,
)
from automator.core.history import HeldValue, SiteHistory, earlier_versions
from automator.core.policy import Group, Workload
from automator.core.reference import short_text, value_text
from automator.core.standing import ranking
from automator.core.together import Answers, Member, decide_group, for_its_sake
from automator.core.verification import Progress
from automator.reasons import Reason, Status, reason


def decide_all(
    group: Group | None,
    members: Sequence[Member],
    blocked: Mapping[str, Reason],
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> Answers:
    """Decide a workload, or the members of a group: the way back where checks failed, else the way on.

    As `decide_group`: what is decided for each, or, for some, the facts that are missing.
    """
    failing = [member for member in members if _is_failing(member)]
    if not failing or blocked or any(_cannot_move(member, now) for member in members):
        return _way_on(group, members, blocked, now, limits)
    if any(member.workload.urgent is not None for member in members):
        answers = _way_on(group, members, blocked, now, limits)
        if any(isinstance(a, Need) or (isinstance(a, Release) and a.is_urgent) for a in answers.values()):
            return answers
    return _way_back(group, members, failing, now)


def _way_on(
    group: Group | None,
    members: Sequence[Member],
    blocked: Mapping[str, Reason],
    now: datetime,
    limits: Limits,
) -> Answers:
    if group is not None:
        return decide_group(group, members, blocked, now, limits)
    return {
        m.workload.name: decide(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }


def _is_failing(member: Member) -> bool:
    workload = member.workload
    return workload.on_failure == "rollback" and guards.failed(workload, member.facts) is not None


def _cannot_move(member: Member, now: datetime) -> bool:
    """Whether a person or a file stops the workload, which then is what is told."""
    return (
        not member.sites
        or stopped_by_person(member.workload, now) is not None
        or any(site.held is not None for site in member.sites)
    )


class _Failure(NamedTuple):
    """What is undone: the check that failed, and the commit that released what it failed."""

    workload: str
    progress: Progress
    version: str
    commit: str

    @property
    def told(self) -> str:
        return f"check {self.progress.check} failed: {self.progress.words}"

    def stuck(self, problem: str) -> Stay:
        """It stays as it is, and why."""
        return Stay(
            Status.HELD,
            reason(
                "verify/stuck",
                version=short_text(self.version),
                check=self.progress.check,
                problem=problem,
            ),
        )


def _way_back(
    group: Group | None, members: Sequence[Member], failing: Sequence[Member], now: datetime
) -> Answers:
    pasts = {member.workload.name: _pasts(member) for member in members}
    missing = {name: past for name, past in pasts.items() if isinstance(past, Need)}
    if missing:
        return missing
    first = failing[0]
    failure = _failure(first, pasts[first.workload.name])
    if isinstance(failure, Stay):
        return _all_stay(group, members, first, failure)
    answers: dict[str, Decision | Need] = {}
    for member in members:
        past = pasts[member.workload.name]
        if isinstance(past, tuple) and member is not first and not _was_moved(past, failure):
            continue
        answers[member.workload.name] = _member_back(member, past, failure, now)
    needs = {name: answer for name, answer in answers.items() if isinstance(answer, Need)}
    if needs:
        return needs
    for member in members:
        answer = answers.get(member.workload.name)
        if isinstance(answer, Stay):
            return _all_stay(group, members, member, answer)
    for member in members:
        if member.workload.name not in answers:  # it was at this version already, and did not come with it
            why = for_its_sake("" if group is None else group.name, first.workload.name, _of(first), "")
            answers[member.workload.name] = Stay(Status.HELD, why)
    together = None if group is None else group.name
    return {
        name: replace(answer, together=together) if isinstance(answer, Release) else answer
        for name, answer in answers.items()
    }


def _of(member: Member) -> Reason:
    found = guards.failed(member.workload, member.facts)
    assert found is not None
    return found


def _all_stay(group: Group | None, members: Sequence[Member], who: Member, stay: Stay) -> Answers:
    """Nothing moves, for the sake of one member."""
    answers: dict[str, Decision | Need] = {}
    for member in members:
        shown = shown_current(member.workload, member.sites, member.facts)
        found = replace(stay, current=shown)
        if member is not who and group is not None:
            tag = member.sites[0].tag or ""
            found = replace(found, reason=for_its_sake(group.name, who.workload.name, stay.reason, tag))
        answers[member.workload.name] = found
    return answers


_Pasts = tuple[SiteHistory, ...]


def _pasts(member: Member) -> _Pasts | Unavailable | Need:
    known = [member.facts.histories.get(site_key(site)) for site in member.sites]
    missing = tuple(site for site, past in zip(member.sites, known, strict=True) if past is None)
    if missing:
        return Need(histories=missing)
    gone = next((past for past in known if isinstance(past, Unavailable)), None)
    return gone or tuple(past for past in known if isinstance(past, SiteHistory))


def _was_moved(pasts: _Pasts, failure: _Failure) -> bool:
    return any(past.held[0].commit == failure.commit for past in pasts)


def _failure(member: Member, pasts: _Pasts | Unavailable | Need) -> _Failure | Stay:
    """What is to be undone, or why nothing is."""
    series = member.facts.verification
    progress = None if series is None else series.failure
    assert series is not None
    assert progress is not None
    failure = _Failure(member.workload.name, progress, series.version, "")
    if isinstance(pasts, Unavailable):
        return Stay(pasts.status, pasts.reason)
    assert isinstance(pasts, tuple)
    if len({(site.tag, site.digest) for site in member.sites}) > 1:
        return failure.stuck("its sites are at different versions")
    writers = [past.held[0] for past in pasts]
    for value in writers:
        if value.record is None:
            by = "it was there before the history that was read" if value.commit is None else value.author
            return failure.stuck(by if value.commit is None else f"{by} set it")
        if value.record.actor is not None:
            return failure.stuck(f"{value.record.actor} asked for it")
        if value.record.kind == "rollback":
            why = reason(
                "verify/failed-again",
                version=short_text(series.version),
                check=progress.check,
                said=progress.words,
            )
            return Stay(Status.HELD, why)
    return failure._replace(commit=writers[0].commit or "")


def _member_back(
    member: Member, pasts: _Pasts | Unavailable | Need, failure: _Failure, now: datetime
) -> Release | Stay | Need:
    """The move of one workload back to the version before."""
    workload, facts = member.workload, member.facts
    if isinstance(pasts, Unavailable):
        return Stay(pasts.status, pasts.reason)
    assert isinstance(pasts, tuple)
    before = _before(workload, facts, pasts)
    if before is None or before.tag is None:
        return failure.stuck("it held no version before that may be taken again")
    image = facts.images.get(before.tag)
    if image is None:
        return Need(images=(before.tag,))
    if isinstance(image, Unavailable):
        if not image.gone:
            return Stay(image.status, image.reason)
        return failure.stuck(f"the registry has {before.tag} no longer")
    noted = "" if before.member is None else before.member.after.partition("@")[2]
    image = replace(image, digest=before.digest or noted or image.digest)
    window = guards.closed(workload, before.tag, now, image.digest)
    if window is not None:
        return Stay(window.status, window.reason, candidate=before.tag)
    shown = shown_current(workload, member.sites, facts) or ""
    return Release(workload, shown, before.tag, image, member.sites, 0, True, undo=failure.told)


def _before(workload: Workload, facts: Facts, pasts: _Pasts) -> HeldValue | None:
    """The version to go back to: of the sites' last good ones, the highest."""
    rank = ranking(workload, facts)
    found = [value for past in pasts if (value := _last_good(workload, facts, past)) is not None]
    ranked = [(place, -i) for i, value in enumerate(found) if (place := rank(value.tag or "")) is not None]
    return found[-max(ranked)[1]] if ranked else next(iter(found), None)


def _last_good(workload: Workload, facts: Facts, past: SiteHistory) -> HeldValue | None:
    for value in earlier_versions(past, ranking(workload, facts)):
        version = value_text(value.tag, value.digest)
        refused = value.tag is None or workload.rule.names(workload.rule.reject, value.tag, value.digest)
        if not refused and facts.verified.get(version, True):
            return value
    return None
