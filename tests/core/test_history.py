"""History: who set a site to what, and what stays turned away, told as stories of one file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from automator.core.history import (
    FileChange,
    FileVersion,
    HeldValue,
    Rejection,
    SiteHistory,
    Writer,
    combine,
    enough,
    is_ours,
    last_writer,
    released_here,
    site_history,
    turned_away,
    undated,
)
from automator.core.reference import Repository
from automator.core.release import Member, ReleaseRecord, compose
from automator.core.site import Site

WEB = Repository("ghcr.io", "acme/web")
FILE = "apps/web.yaml"
FIELD = "spec.template.spec.containers[web].image"
START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
BROKEN = "broken"


def at(
    version: str, field: str = FIELD, document: int = 0, name: str = "web", repository: Repository = WEB
) -> Site:
    tag, _, digest = version.partition("@")
    return Site(
        "", document, field, 1, repository, str(repository), tag or None, digest or None, (),
        kind="Deployment", name=name,
    )  # fmt: skip


class Commit(NamedTuple):
    """One commit of a story: what the file holds afterwards."""

    author: str
    content: str | tuple[Site, ...] | None
    """A version at the one site, several sites, BROKEN, or None for a file that is gone."""
    message: str = "change"


def release(before: str, after: str, kind: str = "release", **more: object) -> str:
    member = Member("web", str(WEB), before, after, (f"{FILE}#{FIELD}",), built=more.pop("built", None))  # type: ignore[arg-type]
    return compose(ReleaseRecord(kind, (member,), **more), why="newest in 1.x")  # type: ignore[arg-type]


def ours(before: str, after: str, kind: str = "release", **more: object) -> Commit:
    return Commit("automator", after, release(before, after, kind, **more))


def told(*commits: Commit, site: Site | None = None, complete: bool = True) -> SiteHistory:
    """The history of a site, from commits in the order in which they were made."""
    versions: list[FileVersion] = []
    blob: str | None = None
    sites: tuple[Site, ...] | None = None
    for i, commit in enumerate(commits):
        after = None if commit.content is None else f"{i:040x}"
        content = (at(commit.content),) if isinstance(commit.content, str) else commit.content
        now = None if commit.content == BROKEN else content
        change = FileChange(
            f"{i:07x}" + "f" * 33, commit.author, START + timedelta(days=i), commit.message, FILE, blob, after
        )
        versions.insert(0, FileVersion(change, sites, now))
        blob, sites = after, now
    present = site or (sites or (at("?"),))[0]
    return site_history(tuple(versions), present, complete)


def order(tag: str) -> tuple[int, ...] | None:
    parts = tag.split(".")
    return tuple(map(int, parts)) if all(p.isdigit() for p in parts) else None


def rejection(history: SiteHistory) -> Rejection | None:
    return turned_away(history, order(history.held[0].tag or ""), order)


def refused(history: SiteHistory, *tags: str) -> list[str]:
    found = rejection(history)
    return [] if found is None else [tag for tag in tags if found.rejects(order(tag))]


BEGIN = Commit("Ann", "1.4.2")

# What people did, and which of these versions automator must leave alone afterwards.
TAGS = ("1.4.1", "1.4.2", "1.4.3", "1.4.4", "1.5.0")
STORIES = {
    "nothing but the first version": ([BEGIN], []),
    "a release": ([BEGIN, ours("1.4.2", "1.4.3")], []),
    "a release reverted": ([BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.2")], ["1.4.3"]),
    "a revert reverted": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.2"), Commit("Bob", "1.4.3")],
        [],
    ),
    "a person goes further down than the release": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.1")],
        ["1.4.2", "1.4.3"],
    ),
    "down in two steps": (
        [Commit("Ann", "1.4.4"), Commit("Ann", "1.4.3"), Commit("Bob", "1.4.2")],
        ["1.4.3", "1.4.4"],
    ),
    "a person goes up half the way": (
        [BEGIN, ours("1.4.2", "1.4.4"), Commit("Ann", "1.4.1"), Commit("Bob", "1.4.3")],
        ["1.4.4"],
    ),
    "a person writes a newer one": ([BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.4")], []),
    "a newer release after a revert lifts nothing between": (
        [
            BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.2"),
            ours("1.4.2", "1.4.4"), Commit("Ann", "1.4.2"),
        ],
        ["1.4.3", "1.4.4"],
    ),
    "our own rollback": (
        [BEGIN, ours("1.4.2", "1.4.3"), ours("1.4.3", "1.4.2", "rollback", actor="Ann")],
        ["1.4.3"],
    ),
    "our own release downwards": ([BEGIN, ours("1.4.2", "1.4.4"), ours("1.4.4", "1.4.3")], []),
    "our own release downwards, after a revert": (
        [BEGIN, ours("1.4.2", "1.5.0"), Commit("Ann", "1.4.4"), ours("1.4.4", "1.4.3")],
        ["1.5.0"],
    ),
    "and up again to what was left": (
        [
            BEGIN, ours("1.4.2", "1.5.0"), Commit("Ann", "1.4.3"),
            ours("1.4.3", "1.4.1"), ours("1.4.1", "1.4.3"),
        ],
        ["1.4.4", "1.5.0"],
    ),
    "and up again by a person": (
        [
            BEGIN, ours("1.4.2", "1.5.0"), Commit("Ann", "1.4.3"),
            ours("1.4.3", "1.4.1"), Commit("Ann", "1.5.0"), ours("1.5.0", "1.4.1"),
        ],
        [],
    ),
    "a revert after our release downwards": (
        [
            BEGIN, ours("1.4.2", "1.5.0"), ours("1.5.0", "1.4.3"),
            ours("1.4.3", "1.4.4"), Commit("Ann", "1.4.3"),
        ],
        ["1.4.4"],
    ),
    "somebody calls going down a release": (
        [Commit("Ann", "1.4.4"), Commit("Eve", "1.4.3", release("1.4.4", "1.4.2"))],
        ["1.4.4"],
    ),
    "a tag that has no order in between": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "debug-ann"), Commit("Ann", "1.4.2")],
        ["1.4.3"],
    ),
    "a tag without order, after a revert": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "1.4.2"), Commit("Ann", "latest")],
        ["1.4.3"],
    ),
    "a tag without order at first": ([Commit("Ann", "latest"), ours("latest", "1.4.3")], []),
    "the digest alone changed": (
        [Commit("Ann", f"1.4.3@{DIGEST}"), Commit("Bob", f"1.4.3@{OTHER_DIGEST}")],
        [],
    ),
    "deleted and created anew": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", None), Commit("Ann", "1.4.2")],
        ["1.4.3"],
    ),
    "broken for a while": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", BROKEN), Commit("Bob", "1.4.2")],
        ["1.4.3"],
    ),
    "the container renamed while going back": (
        [BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", (at("1.4.2", field="containers[server].image"),))],
        ["1.4.3"],
    ),
    "documents put in another order": (
        [
            Commit("Ann", (at("1.4.2", name="staging"), at("1.4.1", document=1, name="web"))),
            Commit("Ann", (at("1.4.1", name="web"), at("1.4.2", document=1, name="staging"))),
        ],
        [],
    ),
    "staging beside production": (
        [
            Commit("Ann", (at("1.4.1", name="web"), at("1.5.0", document=1, name="staging"))),
            Commit("Ann", (at("1.4.1", name="web"), at("1.4.4", document=1, name="staging"))),
        ],
        [],
    ),
    "a second deployment, at an older version": (
        [
            Commit("Ann", (at("1.5.0", name="main"),)),
            Commit("Ann", (at("1.4.1", name="canary"), at("1.5.0", document=1, name="main"))),
        ],
        [],
    ),
    "two containers become one, which may have been either": (
        [
            Commit("Ann", (at("1.4.3", field="a"), at("1.4.4", field="b"))),
            Commit("Bob", (at("1.4.2", field="c"),)),
        ],
        ["1.4.3", "1.4.4"],
    ),
    "objects renamed, documents in place": (
        [
            Commit("Ann", (at("1.4.1", name="web"), at("1.5.0", document=1, name="staging"))),
            Commit("Ann", (at("1.4.1", name="web-v2"), at("1.4.4", document=1, name="staging-v2"))),
        ],
        [],
    ),
    "objects renamed and documents moved": (
        [
            Commit("Ann", (at("1.4.1", field="a", name="x"), at("1.5.0", field="b", document=1, name="x"))),
            Commit("Ann", (at("1.4.1", field="a", document=1, name="y"), at("1.4.4", field="b", name="y"))),
        ],
        [],
    ),
    "gone among others and back": (
        [
            Commit("Ann", (at("1.4.4", name="web"), at("1.5.0", document=1, name="other"))),
            Commit("Ann", (at("1.5.0", name="other"),)),
            Commit("Ann", (at("1.4.2", name="web"), at("1.5.0", document=1, name="other"))),
        ],
        ["1.4.3", "1.4.4"],
    ),
    "another image at the same place": (
        [
            Commit("Ann", (at("1.5.0", repository=Repository("docker.io", "library/nginx")),)),
            Commit("Ann", "1.4.2"),
        ],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("commits", "expected"), STORIES.values(), ids=STORIES)
def test_what_is_turned_away(commits: list[Commit], expected: list[str]) -> None:
    assert refused(told(*commits), *TAGS) == expected


def test_the_sentence_names_who_when_and_what() -> None:
    history = told(
        BEGIN, ours("1.4.2", "1.4.3"), Commit("Bob", "1.4.3"), Commit("Ann", "1.4.2"), Commit("Cy", "1.4.1")
    )
    found = rejection(history)
    assert found is not None
    assert found.reason.code == "history/turned-away"
    assert found.reason.sentence == "was 1.4.3 until Ann set 1.4.2 in 0000003"
    assert (found.by, found.time, found.current_tag) == ("Ann", START + timedelta(days=3), "1.4.1")


def test_the_sentence_tells_the_last_time() -> None:
    up, down = Commit("Ann", "1.4.3"), "1.4.2"
    found = rejection(told(up, Commit("Bob", down), up, Commit("Cy", down)))
    assert found is not None
    assert found.by == "Cy"


def test_the_sentence_names_another_commit_than_the_one_that_wrote_the_mark() -> None:
    two = Commit("Ann", (at("1.4.3", field="a"), at("1.4.4", field="b")))
    found = rejection(told(two, Commit("Bob", (at("1.4.2", field="c"),))))
    assert found is not None
    assert (found.mark_tag, found.by, found.set_tag) == ("1.4.4", "Bob", "1.4.2")


def test_a_rollback_names_the_person_who_asked_for_it() -> None:
    history = told(BEGIN, ours("1.4.2", "1.4.3"), ours("1.4.3", "1.4.2", "rollback", actor="Ann"))
    found = rejection(history)
    assert found is not None
    assert found.reason.sentence.startswith("was 1.4.3 until Ann set 1.4.2 in ")


def test_who_holds_the_value_since_when() -> None:
    history = told(
        BEGIN,
        ours("1.4.2", "1.4.3"),
        Commit("Bob", (at("1.4.3"), at("7", field="redis"))),  # another line of the file
        Commit("Ann", "1.4.2", "Revert"),
    )
    told_values = [(str(v), v.author, v.time, v.writer) for v in history.held]
    assert told_values == [
        ("1.4.2", "Ann", START + timedelta(days=3), Writer.PERSON),
        ("1.4.3", "automator", START + timedelta(days=1), Writer.OURS),
        ("1.4.2", "Ann", START, Writer.PERSON),
    ]


def test_recreating_a_file_begins_a_new_stay() -> None:
    history = told(BEGIN, ours("1.4.2", "1.4.3"), Commit("Bob", None), Commit("Ann", "1.4.3"))
    assert [(str(v), v.author) for v in history.held] == [
        ("1.4.3", "Ann"),
        ("1.4.3", "automator"),
        ("1.4.2", "Ann"),
    ]


@pytest.mark.parametrize(
    ("commits", "here", "last"),
    [
        ([BEGIN], False, Writer.PERSON),
        ([BEGIN, ours("1.4.2", "1.4.3")], True, Writer.OURS),
        ([BEGIN, ours("1.4.2", "1.4.3"), Commit("Ann", "debug-ann")], True, Writer.PERSON),
        ([Commit("Ann", "latest"), Commit("Ann", "main")], False, Writer.PERSON),
        ([Commit("Ann", "main"), ours("main", "main-2")], True, Writer.OURS),
    ],
)
def test_whose_hand_wrote_here(commits: list[Commit], here: bool, last: Writer) -> None:
    history = told(*commits)
    assert (released_here(history), last_writer(history)) == (here, last)


CLAIMS = {
    "plain": (release("1.4.2", "1.4.3"), True),
    "with the digest that the registry served": (release("1.4.2", f"1.4.3@{DIGEST}"), True),
    "another version before": (release("1.4.1", "1.4.3"), False),
    "another version after": (release("1.4.2", "1.5.0"), False),
    "another image": (release("1.4.2", "1.4.3").replace("acme/web", "acme/api"), False),
    "a kind from the future": (release("1.4.2", "1.4.3").replace("Kind: release", "Kind: sail"), False),
    "a format from the future": (release("1.4.2", "1.4.3").replace("Format: 1", "Format: 2"), False),
    "no trailers": ("Release web 1.4.3", False),
    "squashed with another commit": (
        "Merge (#7)\n\n* " + release("1.4.2", "1.4.3") + "\n* mend a typo\n\nCo-authored-by: Bob <b@e.org>",
        True,
    ),
    "squashed on GitLab, indented": (
        "Squash\n\n" + "".join(f"    {line}\r\n" for line in release("1.4.2", "1.4.3").splitlines()),
        True,
    ),
    "two releases squashed": (release("1.4.2", "1.4.2.5") + "\n" + release("1.4.2.5", "1.4.3"), True),
    "two releases squashed with a gap": (release("1.4.2", "1.4.2.5") + release("1.4.2.6", "1.4.3"), False),
}


@pytest.mark.parametrize(("message", "expected"), CLAIMS.values(), ids=CLAIMS)
def test_a_claim_counts_only_where_it_is_true(message: str, expected: bool) -> None:
    history = told(BEGIN, Commit("somebody", "1.4.3", message))
    assert is_ours(history.held[0]) is expected
    assert (history.held[0].record is not None) is expected


def test_a_forged_claim_does_not_count_at_a_site_that_it_does_not_move() -> None:
    other = at("1.0.0", field="containers[other].image")
    before = (at("1.4.2"), other)
    after = (at("1.4.3"), at("9.9.9", field="containers[other].image"))
    history = told(Commit("Ann", before), Commit("Eve", after, release("1.4.2", "1.4.3")), site=after[1])
    assert [(str(v), v.writer) for v in history.held] == [("9.9.9", Writer.PERSON), ("1.0.0", Writer.PERSON)]


def test_a_claim_is_not_proven_by_a_site_that_stays() -> None:
    other = at("1.4.3", field="containers[other].image")
    before, after = (at("1.4.2"), other), (at("1.4.3"), other)
    history = told(Commit("Ann", before), Commit("Eve", after, release("1.4.3", "1.4.3")))
    assert not is_ours(history.held[0])


def test_a_lower_site_raised_by_the_same_release_is_ours() -> None:
    field = "initContainers[web].image"
    before = (at("1.4.2"), at("1.4.1", field=field))
    after = (at("1.4.3"), at("1.4.3", field=field))
    history = told(
        Commit("Ann", before), Commit("automator", after, release("1.4.2", "1.4.3")), site=after[1]
    )
    assert is_ours(history.held[0])


def test_a_commit_that_creates_the_file_is_a_persons_whatever_it_says() -> None:
    assert last_writer(told(Commit("Eve", "1.4.3", release("1.4.2", "1.4.3")))) is Writer.PERSON


# -- history that was read in part ---------------------------------------------------------------


def shallow(*commits: Commit) -> SiteHistory:
    """Only the last of these commits was read; the one before is known by what it left."""
    before, after = ((at(c.content),) for c in commits if isinstance(c.content, str))
    last = commits[-1]
    change = FileChange("f" * 40, last.author, START, last.message, FILE, "0", "1")
    return site_history((FileVersion(change, before, after),), after[0], complete=False)


def test_what_stood_at_the_boundary_counts_though_nobody_is_known_to_have_written_it() -> None:
    history = shallow(Commit("Ann", "1.4.3"), Commit("Bob", "1.4.2"))
    assert [(str(v), v.author, v.writer) for v in history.held] == [
        ("1.4.2", "Bob", Writer.PERSON),
        ("1.4.3", "somebody", Writer.UNKNOWN),
    ]
    assert refused(history, "1.4.3", "1.4.4") == ["1.4.3"]
    assert not enough(history)


def test_only_the_beginning_is_enough_since_a_release_of_ours_may_have_gone_past_a_rejection() -> None:
    assert not enough(shallow(BEGIN, ours("1.4.2", "1.4.3")))
    assert not enough(shallow(Commit("Ann", "1.4.3"), ours("1.4.3", "1.4.2", "rollback")))
    assert not enough(shallow(BEGIN, Commit("Ann", "1.4.3")))
    assert enough(told(BEGIN))
    assert enough(told(BEGIN, ours("1.4.2", "1.4.3")))


def test_no_number_of_values_is_a_place_to_stop() -> None:
    """What people turned away may be older than all of them."""
    flips = [Commit("bot", str(i % 2)) for i in range(300)]
    assert not enough(told(*flips, complete=False))
    others = [Commit("bot", (at("1.4.2"), at(str(i), field="other"))) for i in range(300)]
    assert not enough(told(*others, site=at("1.4.2"), complete=False))


def test_without_any_change_the_present_value_is_known_and_its_writer_is_not() -> None:
    history = site_history((), at("1.4.2"), complete=False)
    assert [str(v) for v in history.held] == ["1.4.2"]
    assert last_writer(history) is Writer.UNKNOWN
    assert rejection(history) is None


def test_changes_that_do_not_meet_show_what_stood_between() -> None:
    def change(day: int, before: str | None, after: str) -> FileChange:
        return FileChange(f"{day:040x}", "Ann", START + timedelta(days=day), "", FILE, before, after)

    versions = (
        FileVersion(change(5, "c", "d"), (at("1.4.4"),), (at("1.4.2"),)),
        FileVersion(change(1, None, "a"), None, (at("1.4.1"),)),
    )
    history = site_history(versions, at("1.4.2"), complete=True)
    assert [(str(v), v.writer) for v in history.held] == [
        ("1.4.2", Writer.PERSON),
        ("1.4.4", Writer.UNKNOWN),
        ("1.4.1", Writer.PERSON),
    ]


# -- a site whose repository the file does not spell ------------------------------------------------


def test_a_templated_repository_is_proven_by_the_sites_label() -> None:
    def templated(tag: str) -> Site:
        return Site("", 0, FIELD, 1, None, "{{ image }}", tag, None, ())

    message = release("1.4.2", "1.4.3")
    history = told(Commit("Ann", (templated("1.4.2"),)), Commit("automator", (templated("1.4.3"),), message))
    assert is_ours(history.held[0])
    forged = message.replace("Release-Site: apps", "Release-Site: other")
    history = told(Commit("Ann", (templated("1.4.2"),)), Commit("Eve", (templated("1.4.3"),), forged))
    assert not is_ours(history.held[0])


# -- order: newest ----------------------------------------------------------------------------------


def day(number: float) -> datetime:
    """A build time; the commits of a story are made at day 0, 1, 2, …"""
    return START + timedelta(days=number)


def test_build_times_are_compared() -> None:
    built = {"a": day(-2), "b": day(-1), "c": day(5)}
    history = told(Commit("Ann", "a"), Commit("automator", "b", release("a", "b")), Commit("Ann", "a"))
    found = turned_away(history, built["a"], built.get)
    assert found is not None
    assert [tag for tag in "abc" if found.rejects(built[tag])] == ["b"]


def test_a_tag_that_nobody_can_date_binds_up_to_the_time_it_was_written() -> None:
    built = {"old": day(-3), "new": day(0.5), "newer": day(1.5)}
    history = told(Commit("Ann", "old"), Commit("Ann", "gone"), Commit("Bob", "old"))
    found = turned_away(history, built["old"], built.get)
    assert found is not None
    assert (found.rejects(built["new"]), found.rejects(built["newer"])) == (True, False)
    assert found.reason.code == "history/undated"
    assert found.reason.sentence == "was gone, whose build time is not known, until Bob set old in 0000002"


def test_a_release_record_dates_a_tag_that_the_registry_lost() -> None:
    history = told(
        Commit("Ann", "a"), Commit("automator", "b", release("a", "b", built=day(-1))), Commit("Ann", "a")
    )
    built = {"a": day(-2), "c": day(0.5)}
    found = turned_away(history, built["a"], built.get)
    assert found is not None
    assert found.rejects(day(-1))
    assert not found.rejects(built["c"])
    assert found.reason.code == "history/turned-away"
    assert undated(history, {"a": built["a"]}) == ()


def test_only_dates_that_can_matter_are_asked_for() -> None:
    history = told(*(Commit("Ann", tag) for tag in ("a", "b", "c", "d", "b", "now")))
    assert undated(history, {}) == ("now", "b", "d", "c", "a")
    # `a` was written at day 0 and cannot be newer than an image built later; failures are answers.
    assert undated(history, {"now": day(0.5), "d": None}) == ("b", "c")
    assert undated(history, {"now": day(4.5)}) == ()


# -- several sites ------------------------------------------------------------------------------------


def test_what_is_turned_away_at_one_site_is_turned_away_for_the_workload() -> None:
    one = rejection(told(Commit("Ann", "1.4.3"), Commit("Ann", "1.4.2")))
    other = rejection(told(Commit("Bob", "1.5.0"), Commit("Bob", "1.4.4")))
    none = rejection(told(Commit("Ann", "1.4.2")))
    both = combine((one, none, other))
    assert both is not None
    assert [both.rejects(order(tag)) for tag in ("1.4.2", "1.4.3", "1.5.0", "1.5.1")] == [
        False,
        True,
        True,
        False,
    ]
    assert both.by == "Bob"
    assert combine((none,)) is None
    assert combine((none, one)) == one


def test_a_site_that_went_down_thousands_of_times_has_a_mark_all_the_same() -> None:
    """An endless to and fro of releases of ours and of people is no reason to fail."""
    record = ReleaseRecord("release", (Member("web"),))
    down = (HeldValue("1", None, "c1", "automator", record=record), HeldValue("2", None, "c2", "Ann"))
    history = SiteHistory((*down * 3_000, HeldValue("3", None, "c3", "Ann")), complete=True)
    found = turned_away(history, order("1"), order)
    assert found is not None
    assert (found.mark_tag, found.current_tag) == ("3", "2")
