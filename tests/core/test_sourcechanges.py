"""What commit messages name, and what only looks like it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.feedback import MARKER, Notice, comment_of, is_ours, notices
from automator.core.forge import SourceCommit
from automator.core.record import Member, ReleaseRecord, parse
from automator.core.release import compose
from automator.core.sourcechanges import (
    LIMIT,
    Named,
    Place,
    bounded,
    ends_of,
    head_made,
    joined,
    names_in,
    own_number,
    place_of,
    refs_in,
)

HUB = Place("github", "github.com", "acme/web")
LAB = Place("gitlab", "git.example.com", "shop/core/web")
TEA = Place("gitea", "tea.example.com", "acme/web")
BUCKET = Place("bitbucket", "bitbucket.org", "acme/web")
PLACES = [HUB, LAB, TEA, BUCKET]


@pytest.mark.parametrize(
    ("place", "message", "names"),
    [
        (HUB, "Add login (#12)", ["acme/web#12"]),
        (HUB, "Merge pull request #7 from acme/login\n\nLogin", ["acme/web#7"]),
        (HUB, "Fixes #3, closes #4.", ["acme/web#3", "acme/web#4"]),
        (HUB, "fixes:#3", []),
        (HUB, "See acme/api#9 and GH-5", ["acme/api#9", "acme/web#5"]),
        (HUB, "See ACME/Web#9", ["acme/web#9"]),
        (HUB, "https://github.com/acme/web/pull/12#issuecomment-77", ["acme/web#12"]),
        (HUB, "https://github.com/acme/web/issues/12/", ["acme/web#12"]),
        (HUB, "https://evil.example.com/acme/web/pull/12", []),
        (HUB, "https://github.com/acme/web/commit/12", []),
        (HUB, "PROJ-123: add login", ["PROJ-123"]),
        (HUB, "[SHOP-1] [SHOP-2](https://acme.atlassian.net/browse/SHOP-3)", ["SHOP-1", "SHOP-2", "SHOP-3"]),
        (HUB, "colour #12ab34, item #1.5, C#7, a#b, #0, # 5, &#39; x/#4", []),
        (HUB, "UTF-8, SHA-256, ISO-8859-1, CVE-2024-1234, RFC-7231, AES-128, x-ABC-1, ABC-0, RC-1", []),
        (HUB, "v1.2.3-RC-1, 1.4-BETA-2, LIB-2.4.1, SHA256-12, JAN-2026", []),
        (HUB, "550E8400-E29B-41D4-A716-446655440000", []),
        (HUB, "!12 is nothing here", []),
        (LAB, "See merge request shop/core/web!12", ["shop/core/web!12"]),
        (LAB, "Closes #3 and !4", ["shop/core/web#3", "shop/core/web!4"]),
        (LAB, "https://git.example.com/shop/core/web/-/merge_requests/5", ["shop/core/web!5"]),
        (LAB, "https://git.example.com/shop/core/web/-/issues/6", ["shop/core/web#6"]),
        (TEA, "Login (#4)\n\nReviewed-on: https://tea.example.com/acme/web/pulls/4", ["acme/web#4"]),
        (TEA, "see !5", ["acme/web#5"]),
        (BUCKET, "Merged in login (pull request #4)\n\nsee #9", ["acme/web#4"]),
    ],
)  # fmt: skip
def test_names(place: Place, message: str, names: list[str]) -> None:
    assert list(dict.fromkeys(refs_in(message, place))) == names


def test_a_robot_is_read_for_its_first_line() -> None:
    message = "Bump lib from 1 to 2 (#45)\n\nRelease notes:\n- Fix a crash (#1234)\n"
    commits = [SourceCommit("a", message, "dependabot[bot]"), SourceCommit("b", "Login (#44)", "ann")]
    assert names_in(commits, HUB) == ("acme/web#45", "acme/web#44")


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ('Revert "Log in (#12)" (#15)\n\nThis reverts commit abc.', ("acme/web#15",)),
        ("Revert 'Log in (#12)'\n\nThis reverts pull request #12", ()),
        ('Say "Revert (#12)" there', ("acme/web#12",)),
    ],
)
def test_what_a_revert_takes_back_is_not_in_the_release(message: str, names: tuple[str, ...]) -> None:
    assert names_in([SourceCommit("a", message, "ann")], HUB) == names


def test_a_name_of_any_length_is_none() -> None:
    long = f"{'a' * 9000}/{'b' * 9000}#1, https://jira.example.com/browse/AB-{'1' * 900}, #2"
    assert names_in([SourceCommit("a", long, "ann")], HUB) == ("acme/web#2",)


@pytest.mark.parametrize(
    "path",
    ["acme/../other/web", "acme/..", "acme/%2e%2e/web", "acme/web/../../x", "acme/web%3Fx", "acme/a/b"],
)
def test_a_label_that_is_no_project_leads_nowhere(path: str) -> None:
    assert place_of(f"https://github.com/{path}/tree/{'a' * 40}", {"github.com": "github"}) is None
    assert place_of("https://git.example.com/a/b/c", {"git.example.com": "gitlab"}) is not None


def test_the_time_of_a_revision_is_that_of_its_own_commit() -> None:
    noon = datetime(2026, 9, 1, 12, 0, 0, 999, tzinfo=UTC)
    commits = [
        SourceCommit("b" * 40, "", "ann", noon + timedelta(days=1)),
        SourceCommit("a" * 40, "", "ann", noon),
    ]
    whole = noon.replace(microsecond=0)
    assert head_made(commits, "a" * 40) == (("a" * 40, whole),)
    assert head_made(commits, "a" * 7) == (("a" * 7, whole),), "labels may shorten it"
    assert head_made(commits, "c" * 40) == (), "it is older than all that the release brings"
    assert head_made([SourceCommit("a" * 40, "", "ann")], "a" * 40) == ()
    assert head_made([SourceCommit("a" * 40, "", "ann", datetime(1970, 1, 1, tzinfo=UTC))], "a" * 40) == ()
    named = joined([Named(("x#1",), 1, (("a" * 40, whole),)), Named(("y#2",), 1)])
    assert (named.refs, named.made_at("https://github.com/acme/web/tree/" + "a" * 40)) == (
        ("x#1", "y#2"),
        whole,
    )
    assert (named.made_at("https://github.com/acme/web"), named.made_at(None)) == (None, None)


def test_many_names_are_cut_and_counted() -> None:
    found = bounded(f"acme/web#{n % 51 + 1}" for n in range(200))
    assert (len(found.refs), found.total) == (LIMIT, 51)
    assert found.refs[0] == "acme/web#1"


@given(st.text(), st.sampled_from(PLACES))
def test_any_text_is_read_and_what_it_names_survives_a_trailer(message: str, place: Place) -> None:
    refs = tuple(dict.fromkeys(refs_in(message, place)))
    record = ReleaseRecord("release", (Member("web", "example.com/web", "1", "2"),), refs=refs)
    text = compose(record, why="because")
    assert parse(text) == record


@given(st.text("0123456789abcdefABCDEF", min_size=1), st.sampled_from(PLACES))
def test_hexadecimal_digits_name_nothing(digits: str, place: Place) -> None:
    for text in (digits, f"sha256:{digits}", f"commit {digits}.", f"1.2.3-{digits}", f"v{digits}"):
        assert list(refs_in(text, place)) == []


@given(st.uuids(), st.sampled_from(PLACES))
def test_no_identifier_is_a_key(number: object, place: Place) -> None:
    assert list(refs_in(f"id {str(number).upper()}, {number}", place)) == []


def test_ends_are_of_one_project_on_a_known_forge() -> None:
    kinds = {"github.com": "github"}
    old, new = "https://github.com/acme/web/tree/" + "a" * 40, "https://github.com/acme/web/tree/" + "b" * 40
    found = ends_of(old, new, kinds)
    assert found is not None
    assert (found.place, found.base, found.head) == (HUB, "a" * 40, "b" * 40)
    assert ends_of(old, old, kinds) is None
    assert ends_of(old, new.replace("acme", "evil"), kinds) is None
    assert ends_of(old, new, {}) is None
    assert ends_of(None, new, kinds) is None
    assert ends_of("https://github.com/acme/web", new, kinds) is None
    assert place_of("https://github.com/acme/web", kinds) == (HUB, "")


def test_only_numbers_of_the_project_itself_are_its_own() -> None:
    assert own_number("acme/web#12", HUB) == (12, "issue")
    assert own_number("acme/api#12", HUB) is None
    assert own_number("ABC-12", HUB) is None
    assert own_number("shop/core/web!12", LAB) == (12, "pull")
    assert own_number("shop/core/web#12", LAB) == (12, "issue")
    assert own_number("acme/web#12", BUCKET) == (12, "pull")


# -- the comment ---------------------------------------------------------------------------------------


def notice(**changes: str) -> Notice:
    told = {"workload": "web", "environment": "staging", "kind": "release", "before": "1.4.2",
            "after": "1.4.3", "commit": "https://git.example.com/c/1"}  # fmt: skip
    return Notice(HUB, "b" * 40, ("acme/web#12",), **{**told, **changes})


def test_one_comment_has_a_line_for_each_environment() -> None:
    first = comment_of([notice()])
    assert first == f"{MARKER}\n\n- `web` `1.4.3` is in `staging`: https://git.example.com/c/1\n"
    both = comment_of([notice(environment="production")], first)
    assert [line for line in both.splitlines() if line.startswith("-")] == [
        "- `web` `1.4.3` is in `staging`: https://git.example.com/c/1",
        "- `web` `1.4.3` is in `production`: https://git.example.com/c/1",
    ]
    rolled = notice(environment="production", kind="rollback", before="1.4.3", after="1.4.2")
    back = comment_of([rolled], both)
    assert back.splitlines()[-1] == (
        "- `web` was rolled back from `1.4.3` in `production`: https://git.example.com/c/1"
    )
    assert len(back.splitlines()) == 4
    assert is_ours(back)
    assert not is_ours(f"> {MARKER}")


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_gets_out_of_its_line(workload: str, environment: str) -> None:
    text = comment_of([notice(workload=workload, environment=environment)])
    newer = notice(workload=workload, environment=environment, after="1.4.4")
    again = comment_of([newer], text)
    assert is_ours(text)
    assert len(text.splitlines()) == len(again.splitlines()) == 3
    assert "@" not in again.partition("\n")[2]
    assert "#" not in again.partition("\n")[2]


def told_by(text: str, *owners: str) -> list[Notice]:
    kinds = {"github.com": "github"}
    return list(notices(text, "https://git.example.com/c/1", lambda _: "production", kinds, owners))


@pytest.mark.parametrize(
    ("owners", "is_told"),
    [
        ((), False),
        (("github.com/acme",), False),
        (("github.com/red",), False),
        (("elsewhere.example.com/redis",), False),
        (("github.com/redis",), True),
        (("github.com/acme", "GitHub.com/Redis/redis"), True),
        (("github.com/redis/other",), False),
    ],
)
def test_the_sources_of_strangers_are_not_told(owners: tuple[str, ...], is_told: bool) -> None:
    source = "https://github.com/redis/redis/tree/" + "b" * 40
    member = Member("cache", "docker.io/library/redis", "7.2", "7.4", source=source)
    text = compose(ReleaseRecord("release", (member,), refs=("redis/redis#12",)), why="because")
    assert bool(told_by(text, *owners)) is is_told


def test_config_repos_with_the_same_names_have_lines_of_their_own() -> None:
    eu, us = (notice(commit=f"https://github.com/acme/shop-{where}/commit/1") for where in ("eu", "us"))
    text = comment_of([us], comment_of([eu]))
    assert eu.line in text.splitlines()
    assert us.line in text.splitlines()


def test_one_comment_takes_several_lines_at_once() -> None:
    text = comment_of([notice(), notice(workload="api")], comment_of([notice(workload="worker")]))
    assert [line.split("`")[1] for line in text.splitlines() if "`" in line] == ["worker", "web", "api"]


@pytest.mark.parametrize(
    "words", ["hello", "- `web` is fine", "- `a` @everyone in `b`: https://x.example/y/z"]
)
def test_what_a_person_wrote_below_our_first_line_is_theirs(words: str) -> None:
    assert not is_ours(f"{comment_of([notice()])}\n{words}\n")
    assert words not in comment_of([notice()], f"{MARKER}\n\n{words}\n")


def test_only_what_the_commit_says_of_the_source_itself_is_told() -> None:
    source = "https://github.com/acme/web/tree/" + "b" * 40
    record = ReleaseRecord(
        "release",
        (
            Member("web", "example.com/web", "1.4.2", "1.4.3", source=source),
            Member("api", "example.com/api", "1.4.2", "1.4.3", source="https://elsewhere.example.com/acme/api"),
        ),
        refs=("acme/web#12", "other/thing#13", "ABC-1"),
    )  # fmt: skip
    text = compose(record, why="because")
    (told,) = told_by(text, "github.com/acme")
    assert (told.refs, told.workload, told.environment) == (("acme/web#12",), "web", "production")
    assert (told.revision, told.before, told.after) == ("b" * 40, "1.4.2", "1.4.3")
    assert told_by("By hand\n", "github.com/acme") == []
