"""Pull requests as texts: names of branches, what the reader is told, and what is read back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.forge import PullRequest
from automator.core.policy import Workload, parse_policies
from automator.core.pullrequest import (
    BODY_LIMIT,
    STATUS_LIMIT,
    FileEdit,
    Told,
    above_current,
    body_of,
    closing,
    compared,
    declined_by,
    does_as_it_says,
    go,
    goal_in,
    goal_of,
    head_of_change,
    head_of_group,
    head_of_workload,
    no_go,
    status_of,
    title_of,
    was_closed_by_us,
)
from automator.core.record import parse
from automator.core.reference import Image
from automator.core.release import Member, ReleaseRecord, compose
from automator.core.rewrite import Edit, rewrite
from automator.core.site import locate
from automator.reasons import Status, reason

DIGEST = "sha256:" + "ab" * 32
SOURCE = "https://github.com/acme/web"
TEXT = "spec:\n  containers:\n    - name: app\n      image: ghcr.io/acme/web:1.4.2 # ours\n"
FILE = "apps/web.yaml"


def workload(keys: str = "semver: '>=1 <2'", name: str = "web") -> Workload:
    text = f"version: 1\nworkloads:\n  {name}: {{image: ghcr.io/acme/web, {keys}}}\n"
    (found,) = parse_policies({"policies/shop.yaml": text}).workloads
    assert isinstance(found, Workload), found
    return found


def release(tag: str = "1.4.3", *, keys: str = "semver: '>=1 <2'", **image: Any) -> Release:
    sites = tuple(site.at(FILE) for site in locate(TEXT, FILE).sites)
    return Release(workload(keys), "1.4.2", tag, Image(DIGEST, **image), sites, 37)


def message(of: Release, **more: Any) -> str:
    sites = tuple(site.label for site in of.sites)
    member = Member(of.workload.name, str(of.workload.repository), of.current, of.target, sites)
    policy = of.workload.place.file
    return compose(
        ReleaseRecord("release", (replace(member, policy=policy, **more),)), why="newest in semver"
    )


def pull(body: str, **more: Any) -> PullRequest:
    values = {"number": 7, "url": "https://forge.example/7", "title": "", "body": body, "state": "closed",
              "head": "automator/web", "head_commit": "a" * 40, "base": "main"}  # fmt: skip
    return PullRequest(**{**values, **more})


# -- branches ------------------------------------------------------------------------------------------

NAMES = st.text("abAB01.-_", min_size=1, max_size=12).filter(lambda n: n[0] not in "._-") | st.sampled_from(
    ["group-a", "workload-a", "workload-group-a", "change-a", "a", "a..b", "a.lock", "a."]
)
REF = re.compile(r"(?!.*(\.\.|//|@\{|\.lock(/|\Z)|/\.|\.\Z))[^\x00-\x20~^:?*\[\\\x7f]+")


@given(NAMES, NAMES)
def test_no_two_workloads_and_no_group_share_a_branch(one: str, other: str) -> None:
    heads = [head_of_workload("automator/", one), head_of_group("automator/", other)]
    assert heads[0] != heads[1]
    assert (heads[0] == head_of_workload("automator/", other)) is (one == other)
    assert not head_of_change("automator/", one, "x", ()).startswith((*heads,))


@given(st.text(min_size=1, max_size=200))
def test_any_name_of_a_group_makes_a_branch(name: str) -> None:
    assert REF.fullmatch(head_of_group("automator/", name))
    assert REF.fullmatch(head_of_change("automator/", name, name, (name,)))


def test_branches_are_as_people_expect() -> None:
    assert head_of_workload("automator/", "web") == "automator/web"
    assert head_of_group("bots/", "shop") == "bots/group-shop"
    assert head_of_workload("automator/", "group-shop") == "automator/workload-group-shop"


# -- what the reader is told ---------------------------------------------------------------------------


def test_the_reader_sees_what_is_about_to_be_merged() -> None:
    keys = "semver: '>=1 <2', signed_by: release, owner: team-shop"
    now = release(
        keys=keys, built=datetime(2026, 11, 20, 9, 14, tzinfo=UTC), source=SOURCE, revision="4b1c2d3e4f5a"
    )
    verdict = Verdict("1.5.0", None, reason("guard/step", tag="1.5.0", current="1.4.2", step="patch"), False)
    body = body_of(
        [Told(now, (verdict,), compare="https://github.com/acme/web/compare/a...b")],
        message(now),
        why="newest of 37",
    )
    for words in (
        "`ghcr.io/acme/web`", "`1.4.2` → `1.4.3`", f"`{DIGEST}`", "2026-11-20 09:14 UTC",
        f"({SOURCE}/tree/4b1c2d3e4f5a)", "policies/shop.yaml",
        "[compare](https://github.com/acme/web/compare/a...b)", "verified: `release`", "newest of 37",
        "`1.5.0`", "apps/web.yaml", "team-shop", "Close it to refuse", "`accept`",
        "Merge this to release `web`",
    ):  # fmt: skip
        assert words in body, words


def test_the_text_ends_with_the_trailers_of_the_commit() -> None:
    now = release()
    body = body_of([Told(now)], message(now), why="")
    assert body.rstrip().splitlines()[-1].startswith("Release-Policy: ")
    assert parse(body) == parse(message(now))
    assert goal_in(body) == goal_of([now]) == goal_in(message(now))
    assert title_of(message(now)) == "Release web 1.4.3"


HOSTILE = st.text("`|<>[]()#@!*_~&\\\n\r$ abc:/.-\u202e\x1b", max_size=60)


@given(HOSTILE, HOSTILE)
def test_nothing_that_strangers_wrote_leaves_its_code_span(source: str, words: str) -> None:
    now = release(source=source, revision=words)
    now = replace(now, workload=replace(now.workload, owner=words or None, description=words))
    verdict = Verdict("1.5.0", None, reason("tag/unreadable", key=words, wanted=source), False)
    body = body_of([Told(now, (verdict,))], message(now), why=words)
    above = body.partition("\nMerge this")[0]
    for row in above.splitlines():
        cells = re.split(r"(?<!\\)\|", row)
        assert len(cells) in (1, 4), row
        assert row.count("`") % 2 == 0
        outside = re.sub(r"`[^`]*`", "", row)
        assert not re.search(r"[#@<>\u202e\x1b]|\[(?!source\]|\]|compare\])", outside), row


def test_a_long_text_keeps_its_trailers_and_its_bound() -> None:
    sites = tuple(replace(release().sites[0], file=f"apps/{'x' * 150}/{i}.yaml") for i in range(60))
    now = replace(release(), sites=sites)
    body = body_of([Told(now)] * 5, message(now), why="y" * 500)
    assert len(body) <= BODY_LIMIT + 2
    assert parse(body) == parse(message(now))
    many = replace(release(), sites=sites * 10)
    assert len(body_of([Told(many)] * 50, message(many), why="")) <= BODY_LIMIT + 2


def test_only_tags_above_the_current_one_are_told_and_few_of_them() -> None:
    def verdict(tag: str, code: str, **params: str) -> Verdict:
        return Verdict(tag, None, reason(code, tag=tag, **params), False)

    rows = [verdict(f"2.0.{i}", "guard/step", current="1", step="patch") for i in range(40)]
    rows += [Verdict("1.4.2", None, reason("tag/current", tag="1.4.2"), True)]
    rows += [verdict("1.0.0", "guard/step", current="1", step="patch")]
    body = body_of([Told(release(), above_current(rows))], message(release()), why="")
    assert "`2.0.0`" in body
    assert "`1.0.0`" not in body
    assert "and 28 more" in body


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ((SOURCE, "a" * 40), (f"{SOURCE}.git", "b" * 40), (SOURCE, "a" * 40, "b" * 40)),
        ((SOURCE, "a" * 40), (f"{SOURCE}-fork", "b" * 40), None),
        ((SOURCE, "a" * 40), (SOURCE, "a" * 40), None),
        ((SOURCE, "a" * 40), (SOURCE, "main"), None),
        ((SOURCE, None), (SOURCE, "b" * 40), None),
        (("http://github.com/acme/web", "a" * 40), ("http://github.com/acme/web", "b" * 40), None),
    ],
)
def test_sources_are_compared_where_both_ends_say_the_same(before: Any, after: Any, found: Any) -> None:
    images = [Image(DIGEST, source=source, revision=revision) for source, revision in (before, after)]
    assert compared(images[0], images[1]) == found
    assert compared(None, images[1]) is None


# -- what is read back ---------------------------------------------------------------------------------


def test_who_closes_refuses_and_we_do_not() -> None:
    now = release()
    body = body_of([Told(now)], message(now), why="")
    ((name, declined),) = declined_by(pull(body, closed_at=datetime(2026, 11, 21, tzinfo=UTC)))
    assert (name, declined.tag, declined.digest, declined.image) == (
        "web",
        "1.4.3",
        DIGEST,
        "ghcr.io/acme/web",
    )
    assert "2026-11-21" in declined.reason.sentence
    assert declined_by(pull(body, state="open")) == declined_by(pull(body, state="merged")) == ()
    ours = closing(body, "main is at 1.4.3")
    assert was_closed_by_us(pull(ours))
    assert declined_by(pull(ours)) == ()
    assert len(closing("x" * BODY_LIMIT * 2, "y")) <= BODY_LIMIT


def test_what_a_newer_automator_proposed_is_refused_too() -> None:
    now = release()
    body = body_of([Told(now)], message(now), why="").replace("Release-Format: 1", "Release-Format: 2")
    later = body.replace("Release-Kind: release", "Release-Kind: wave\nRelease-Wave: 3")
    for text in (body, later):
        ((name, declined),) = declined_by(pull(text))
        assert (name, declined.tag, declined.digest) == ("web", "1.4.3", DIGEST)
    assert declined_by(pull("", state="closed"), message(now).replace("Format: 1", "Format: 2")) != ()
    unknown_kind = message(now).replace("Kind: release", "Kind: wave")
    assert declined_by(pull(unknown_kind)) == (), "a kind that never was is no automator's"


def test_a_text_that_people_emptied_refuses_nothing() -> None:
    assert declined_by(pull("")) == ()


# -- whose commit it is --------------------------------------------------------------------------------

MULTI = "image:\n  repository: ghcr.io/acme/web\n  tag: '1.4.2'\n  digest: ''\nreplicas: 1\n"


def edited(text: str, pin: bool = False) -> str:
    site = locate(text, FILE).sites[0].at(FILE)
    return rewrite(text, [Edit(site, "1.4.3", DIGEST, pin)], FILE)


@pytest.mark.parametrize("pin", [False, True])
def test_our_own_commit_does_as_it_says(pin: bool) -> None:
    assert does_as_it_says(message(release()), [FileEdit(FILE, TEXT, edited(TEXT, pin))])


@pytest.mark.parametrize(
    "after",
    [
        edited(TEXT) + "replicas: 3\n",
        edited(TEXT).replace("# ours", "# theirs"),
        TEXT.replace("1.4.2", "1.4.1"),
        TEXT,
        TEXT.replace("1.4.2", "1.4.3").replace("app", "side"),
        None,
    ],
)
def test_a_commit_that_does_more_or_else_is_not_ours(after: str | None) -> None:
    assert not does_as_it_says(message(release()), [FileEdit(FILE, TEXT, after)])


def test_another_file_or_no_record_is_not_ours() -> None:
    edit = FileEdit(FILE, TEXT, edited(TEXT))
    assert not does_as_it_says("By hand", [edit])
    assert not does_as_it_says(message(release()), [edit, FileEdit("notes.md", None, "x")])
    assert not does_as_it_says(message(release()), [replace(edit, path="apps/other.yaml")])
    assert not does_as_it_says(message(release()), [])


# -- statuses ------------------------------------------------------------------------------------------


def test_a_status_says_go_no_go_or_not_yet() -> None:
    frozen = reason(
        "guard/freeze", reason="incident", until="a person removes it", place="policies/_freeze.yaml:1"
    )
    told = status_of(Status.HELD, frozen)
    assert told is not None
    assert (told.state, told.context) == ("failure", "automator")
    assert "incident" in told.description
    young = reason("guard/min-age", tag="1", age="1m", min_age="2h", at="noon")
    waiting = status_of(Status.WAITING, young)
    assert waiting is not None
    assert waiting.state == "pending"
    assert go("x").state == "success"
    assert no_go("y" * 500).state == "failure"
    assert len(no_go("y" * 500).description) <= STATUS_LIMIT


def test_what_only_failed_says_nothing() -> None:
    late = reason("registry/late", image="x", seconds="1")
    assert status_of(Status.FAILED, late) is None
    assert status_of(Status.WAITING, late) is None
    assert status_of(Status.WAITING, reason("proposal/open", after="1", url="u", since="s")) is None
