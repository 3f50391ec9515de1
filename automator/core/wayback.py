"""The way back: a release of ours whose checks failed is undone, once, where its policy says so.

Only `on_failure: rollback`, and only what automator released by itself: what a person set, or asked for,
stays for the person. It goes back to a version that the workload held before and that did not fail; a group
goes as a whole, or not at all. A version that was rolled back to is never left by a second rollback.

Whether an earlier version failed is what was remembered of its checks. Where that is lost, history tells: an
ordinary release of ours waits until what it replaces has passed, so what one replaced was good. Of what was
left for an `urgent` version, by a person or at a person's command nobody knows, and it is not gone back to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from automator.core.policy import Dropped, Group, Workload
from automator.core.reference import Image, short_text, value_text
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
        return way_on(group, members, blocked, now, limits)
    if any(member.workload.urgent is not None for member in members):
        answers = way_on(group, members, blocked, now, limits)
        if any(isinstance(a, Need) or (isinstance(a, Release) and a.is_urgent) for a in answers.values()):
            return answers
    return _way_back(group, members, failing, now)


def way_on(
    group: Group | None,
    members: Sequence[Member],
    blocked: Mapping[str, Reason],
    now: datetime,
    limits: Limits,
) -> Answers:
    """As `decide_all`, whatever failed: what a person asks for is no way back."""
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
        if member is not first and isinstance(past, tuple) and not _is_where_it_brought_it(past, failure):
            apart = _apart(group, member, past, failure)
            if apart is not None:
                return _all_stay(group, members, first, failure.stuck(apart))
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
        if member.workload.name not in answers:  # it has versions of its own, and did not come with it
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


def _is_where_it_brought_it(pasts: _Pasts, failure: _Failure) -> bool:
    """Whether a member is where the commit that is undone brought it."""
    moved = [past for past in pasts if any(value.commit == failure.commit for value in past.held)]
    return bool(moved) and all(past.held[0].commit == failure.commit for past in moved)


def _apart(group: Group | None, member: Member, pasts: _Pasts, failure: _Failure) -> str | None:
    """Why a member that is not there keeps the group where it is; None where it may stay behind."""
    name = member.workload.name
    for past in pasts:
        if any(value.commit == failure.commit for value in past.held):
            by = past.held[0].author if past.held[0].record is None else "a later release"
            return f"{name} came with it and was changed since, by {by}"
    if group is not None and group.match == "version":
        return f"{name} of its group did not come with it"
    return None


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
    if len({site.tag for site in member.sites}) > 1 or len({s.digest for s in member.sites} - {None}) > 1:
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
    closed = _closed(workload, facts, before)
    if closed is not None:
        return failure.stuck(closed)
    image = _image_of(before.tag, before, facts, failure)
    if not isinstance(image, Image):
        return image
    unfit = guards.unfit(workload, before.tag, image, facts)
    if isinstance(unfit, Need):
        return unfit
    if unfit is not None:
        if unfit.status is Status.HELD:
            return failure.stuck(unfit.reason.sentence)
        return Stay(unfit.status, unfit.reason, candidate=before.tag)
    window = guards.closed(workload, before.tag, now, image.digest)
    if window is not None:
        return Stay(window.status, window.reason, candidate=before.tag)
    shown = shown_current(workload, member.sites, facts) or ""
    return Release(workload, shown, before.tag, image, member.sites, 0, True, undo=failure.told)


def _closed(workload: Workload, facts: Facts, before: HeldValue) -> str | None:
    """Whether a person closed the pull request of this way back, or of this version before."""
    if before.tag is None or workload.rule.names(workload.accept, before.tag, before.digest):
        return None
    for declined in facts.declined:
        if declined.tag == before.tag and before.digest in (None, declined.digest):
            return declined.reason.sentence
    return None


def _image_of(tag: str, before: HeldValue, facts: Facts, failure: _Failure) -> Image | Stay | Need:
    """The image that the version was when it was held: another one under its tag is not gone back to."""
    image = facts.images.get(tag)
    if image is None:
        return Need(images=(tag,))
    noted = "" if before.member is None else before.member.after.partition("@")[2]
    digest = before.digest or noted
    name = tag
    if isinstance(image, Image) and digest not in ("", image.digest):
        name, image = f"{tag}@{digest}", facts.images.get(digest)
        if image is None:
            return Need(images=(digest,))
    if isinstance(image, Image):
        return image
    return (
        failure.stuck(f"the registry has {name} no longer")
        if image.gone
        else Stay(image.status, image.reason)
    )


def _before(workload: Workload, facts: Facts, pasts: _Pasts) -> HeldValue | None:
    """The version to go back to: of the sites' last good ones, the highest."""
    rank = ranking(workload, facts)
    found = [value for past in pasts if (value := _last_good(workload, facts, past)) is not None]
    ranked = [(place, -i) for i, value in enumerate(found) if (place := rank(value.tag or "")) is not None]
    return found[-max(ranked)[1]] if ranked else next(iter(found), None)


def _last_good(workload: Workload, facts: Facts, past: SiteHistory) -> HeldValue | None:
    for value in good_before(workload, facts, past):
        is_known = value_text(value.tag, value.digest) in facts.verified or _is_accepted(workload, value)
        if (is_known or _was_left_in_peace(past, value)) and not _is_left_out(workload, facts, value):
            return value
    return None


def _is_accepted(workload: Workload, value: HeldValue) -> bool:
    return value.tag is not None and workload.rule.names(workload.accept, value.tag, value.digest)


def _is_left_out(workload: Workload, facts: Facts, value: HeldValue) -> bool:
    """Whether the policy excludes a version by now, or the branch was rewound past it. Its range is another
    matter: one that begins at the version that failed would leave none to go back to."""
    if value.tag is None:
        return True
    judged = workload.rule.judge(value.tag)
    if isinstance(judged, Dropped) and judged.code == "tag/excluded":
        return True
    is_withdrawn = not facts.withdrawn.isdisjoint({value.tag, value.digest})
    return is_withdrawn and not _is_accepted(workload, value)


def _was_left_in_peace(past: SiteHistory, value: HeldValue) -> bool:
    """Whether an ordinary release of ours, which waits for the checks of what it replaces, came next."""
    place = next(i for i, held in enumerate(past.held) if held is value)
    record = past.held[place - 1].record
    if record is None or record.kind != "release" or record.actor is not None:
        return False
    return not (record.reason or "").startswith("urgent: ")


def good_before(workload: Workload, facts: Facts, past: SiteHistory) -> Iterator[HeldValue]:
    """The earlier versions of a site that one may go back to unasked, newest first: that nobody turned away
    or rejected, and that did not fail their checks."""
    for value in earlier_versions(past, ranking(workload, facts)):
        passed = facts.verified.get(value_text(value.tag, value.digest), True)
        if (passed or _is_accepted(workload, value)) and not is_rejected(workload, value):
            yield value


def is_rejected(workload: Workload, value: HeldValue) -> bool:
    """Whether a person rejected a version that a site held: by name, or by the digest that it had."""
    noted = "" if value.member is None else value.member.after.partition("@")[2]
    digest = value.digest or noted or None
    if value.tag is None:
        return digest in workload.rule.reject
    return workload.rule.names(workload.rule.reject, value.tag, digest)
