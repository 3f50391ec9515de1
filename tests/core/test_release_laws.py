"""Laws of release records and of the mark rule, over arbitrary records, messages and histories."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from automator.core.history import (
    FileChange,
    FileVersion,
    Rejection,
    SiteHistory,
    enough,
    site_history,
    turned_away,
    undated,
)
from automator.core.record import KINDS, trailers
from automator.core.reference import Repository
from automator.core.release import Member, ReleaseRecord, Templates, compose, parse, parse_all, source_link
from automator.core.site import Site

# -- records -----------------------------------------------------------------------------------------

NASTY = st.sampled_from(
    [
        "", " ", "a\nb", "a\r\nRelease-Kind: hold", "x Release-To: 9", "#12", "@ann", "[skip ci]", '"', '"a"',
        "\\u0023", "trailing ", " leading", "tab\there", "\u2028", "Ünïcode ✓", "a: b", "Release-",
        "release-release-a: b", "1.4.3@sha256:" + "a" * 64, "@sha256:" + "a" * 64, "sha256:" + "a" * 64,
        "\x7f", "a, b", "a#b[c].d", "a.yaml#[no ci]", "> q", "* b", "Release-Format: 1", "x\x85y", "\u00a0",
    ]
)  # fmt: skip
TEXT = st.one_of(NASTY, st.text(max_size=40), st.text(st.sampled_from('Release-Tof: \n"#@[]*>'), max_size=40))
MOMENT = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001 - made aware here
    lambda t: t.replace(microsecond=0, tzinfo=UTC)
)
MEMBER = st.builds(
    Member,
    workload=TEXT,
    image=TEXT,
    before=TEXT,
    after=TEXT,
    sites=st.lists(TEXT, max_size=3).map(tuple),
    built=st.none() | MOMENT,
    source=st.none() | TEXT,
    policy=st.none() | TEXT,
    source_time=st.none() | MOMENT,
)
KNOWN = {
    "format", "kind", "actor", "reason", "refs", "workload", "image", "from", "to", "site", "built", "source",
    "policy", "source-time",
}  # fmt: skip
NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True).filter(lambda n: n.lower() not in KNOWN)
RECORD = st.builds(
    ReleaseRecord,
    kind=st.sampled_from(KINDS),
    members=st.lists(MEMBER, max_size=3).map(tuple),
    actor=st.none() | TEXT,
    reason=st.none() | TEXT,
    refs=st.lists(TEXT, max_size=3).map(tuple),
    unknown=st.lists(st.tuples(NAME.map("Release-{}".format), TEXT), max_size=2).map(tuple),
)


def linked(record: ReleaseRecord) -> ReleaseRecord:
    """The record as a message carries it: links that are no plain https links are left out."""
    members = tuple(replace(m, source=source_link(m.source, None)) for m in record.members)
    return replace(record, members=members)


@given(RECORD)
def test_trailers_read_back(record: ReleaseRecord) -> None:
    assert parse_all(trailers(record)) == (record,)


@given(RECORD, TEXT)
def test_messages_read_back(record: ReleaseRecord, why: str) -> None:
    message = compose(record, why=why)
    assert parse_all(message) == (linked(record),)
    message.encode()


def test_half_a_character_that_nothing_can_write_reads_as_a_question_mark() -> None:
    record = ReleaseRecord("release", (Member("web\ud800"),), reason="\udcff")
    (found,) = parse_all(trailers(record))
    assert (found.members[0].workload, found.reason) == ("web?", "?")


@given(RECORD, st.text(st.sampled_from(" Release-FormatKind:1\n*>\r\x00hold"), max_size=60))
def test_no_body_changes_what_a_commit_claims(record: ReleaseRecord, text: str) -> None:
    message = compose(record, why="x", templates=Templates(body=text))
    assert parse_all(message) == (linked(record),)


@given(RECORD)
def test_no_line_of_a_members_block_names_an_issue_a_person_or_a_command(record: ReleaseRecord) -> None:
    bare = replace(record, actor=None, reason=None, refs=(), unknown=())
    for line in trailers(bare).splitlines():
        assert line.isprintable()
        value = line.partition(": ")[2]
        assert not value.startswith(("#", "@", "["))
        assert not any(f" {sign}" in value for sign in "#@[")
        assert "[skip" not in value


@given(st.lists(RECORD, max_size=3))
def test_a_squash_reads_back_as_all_its_records(records: list[ReleaseRecord]) -> None:
    message = "\n".join(f"* {compose(record, why='x')}" for record in records)
    assert parse_all(message) == tuple(map(linked, records))


MESSAGE = st.one_of(
    st.text(),
    st.lists(
        st.one_of(
            TEXT, st.sampled_from(sorted(KNOWN)).map(lambda n: f"Release-{n.title()}: "), st.just("\n")
        ),
        max_size=30,
    ).map("".join),
)


@given(MESSAGE)
def test_any_text_can_be_read(message: str) -> None:
    for record in parse_all(message):
        assert parse(trailers(record)) == record


@given(st.one_of(TEXT, TEXT.map("https://example.com/{}".format), st.text().map("https://{}".format)))
def test_a_link_is_plain_and_stays_what_it_is(text: str) -> None:
    link = source_link(text, "0123abc")
    if link is not None:
        assert link.startswith("https://")
        assert set(link) <= set(string.ascii_letters + string.digits + "/%-._~+:,;=!$&'()*")
        assert source_link(link, None) == link


# -- the mark rule -----------------------------------------------------------------------------------
# A site's life: people write any version; automator releases the newest that it may. The model keeps
# by itself what people turned away, and the two must agree at every moment.

WEB = Repository("ghcr.io", "acme/web")
START = datetime(2026, 1, 1, tzinfo=UTC)


def site(version: int) -> Site:
    return Site("", 0, "image", 1, WEB, str(WEB), str(version), None, ())


def rank(tag: str) -> int:
    return int(tag)


class Life:
    """A file with one site, and the commits made to it."""

    def __init__(self, first: int) -> None:
        self.versions: list[FileVersion] = []
        self.value: int | None = None
        self.write(first, "Ann", "begin")

    def write(self, value: int, author: str, message: str) -> None:
        number = len(self.versions)
        before = None if self.value is None else str(number - 1)
        change = FileChange(f"{number:040x}", author, START, message, "a.yaml", before, str(number))
        older = None if self.value is None else (site(self.value),)
        self.versions.insert(0, FileVersion(change, older, (site(value),)))
        self.value = value

    @property
    def history(self) -> SiteHistory:
        assert self.value is not None
        return site_history(tuple(self.versions), site(self.value), complete=True)

    def release(self, newest: int) -> int | None:
        """What automator does when 1 … `newest` are in the registry."""
        assert self.value is not None
        history = self.history
        found = turned_away(history, self.value, rank)
        for target in range(newest, self.value, -1):
            if found is None or not found.rejects(target):
                member = Member("web", str(WEB), str(self.value), str(target))
                self.write(target, "automator", compose(ReleaseRecord("release", (member,)), why="newest"))
                return target
        return None


STEPS = st.lists(
    st.one_of(st.tuples(st.just("person"), st.integers(1, 12)), st.just(("cycle", 0))), max_size=25
)


@given(st.integers(1, 6), STEPS, st.integers(6, 12))
def test_what_was_turned_away_stays_away_until_something_newer_exists(
    first: int, steps: list[tuple[str, int]], newest: int
) -> None:
    life = Life(first)
    away: set[int] = set()
    highest = first
    for step, version in steps:
        assert life.value is not None
        if step == "person":
            life.write(version, "Ann", "set")
            highest = max(highest, version)
            # Going down turns away what is above; going up takes everything up to there again.
            away = set(range(version + 1, highest + 1))
        else:
            newest = min(newest + 1, 30)
            target = life.release(newest)
            assert target not in away
            assert target is None or target > highest
            if target is None:
                assert all(v in away for v in range(life.value + 1, newest + 1))
            else:
                highest, away = target, set()
        found = turned_away(life.history, life.value, rank)
        assert {v for v in range(32) if found is not None and found.rejects(v)} == away


@given(st.integers(1, 6), STEPS)
def test_history_back_to_our_last_release_tells_as_much_as_all_of_it(
    first: int, steps: list[tuple[str, int]]
) -> None:
    life = Life(first)
    for i, (step, version) in enumerate(steps):
        if step == "person":
            life.write(version, "Ann", "set")
        else:
            life.release(i + 6)
    assert life.value is not None
    for read in range(1, len(life.versions) + 1):
        part = site_history(tuple(life.versions[:read]), site(life.value), complete=False)
        if not enough(part):
            continue
        short = turned_away(part, life.value, rank)
        full = turned_away(life.history, life.value, rank)
        assert [v for v in range(40) if short is not None and short.rejects(v)] == [
            v for v in range(40) if full is not None and full.rejects(v)
        ]


SITES = st.lists(
    st.builds(
        lambda document, field, name, repository, tag, digest: Site(
            "", document, field, 1, repository, "", tag, digest, (), kind=None, name=name
        ),
        st.integers(0, 2),
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([None, WEB]),
        st.sampled_from([None, "1", "2", "3", "x"]),
        st.sampled_from([None, "sha256:" + "a" * 64]),
    ),
    max_size=4,
).map(tuple)
BLOB = st.sampled_from([None, "1", "2"])
VERSION = st.builds(
    lambda message, before, after, old, new, days: FileVersion(
        FileChange("c" * 40, "Ann", START + timedelta(days=days), message, "a.yaml", before, after), old, new
    ),
    st.one_of(TEXT, RECORD.map(lambda r: compose(r, why=""))),
    BLOB,
    BLOB,
    st.none() | SITES,
    st.none() | SITES,
    st.integers(0, 9),
)
ANY_RANK = st.sampled_from(
    [
        lambda tag: int(tag) if tag.isdigit() else None,
        lambda tag: START + timedelta(days=int(tag)) if tag.isdigit() else None,
        lambda tag: None,
    ]
)


@given(st.lists(VERSION, max_size=6).map(tuple), SITES.filter(bool), st.booleans(), ANY_RANK)
def test_any_history_can_be_told(versions, sites, complete, ranking) -> None:  # type: ignore[no-untyped-def]
    history = site_history(versions, sites[0], complete)
    present = history.held[0]
    current = None if present.tag is None else ranking(present.tag)
    undated(history, {})
    enough(history)
    found = turned_away(history, current, ranking)
    if found is not None:
        assert isinstance(found, Rejection)
        assert found.rejects(found.mark_rank)
        assert not found.rejects(found.current_rank)
        assert found.reason.sentence.startswith(f"was {found.mark_tag}")
