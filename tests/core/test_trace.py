"""Tracing: what it costs to follow many sites of one file, in work and in memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.history import Elsewhere, FileChange, FilePast, FileVersion, SiteHistory, site_history
from automator.core.identity import Identities, pairs
from automator.core.record import Member, ReleaseRecord, trailers
from automator.core.reference import Repository
from automator.core.site import Site
from automator.core.trace import Shared

FILE = "all.yaml"
FIELD = "spec.template.spec.containers[app].image"


def site(number: int, tag: str, repository: Repository) -> Site:
    return Site(
        FILE,
        number,
        FIELD,
        1,
        repository,
        str(repository),
        tag,
        None,
        (),
        kind="Deployment",
        name=f"w{number}",
    )


def past(sites: int, changes: int, image: Callable[[int], Repository]) -> tuple[FileVersion, ...]:
    """A file of many sites in which each commit changes one of them to and fro."""

    def held(k: int) -> tuple[Site, ...]:
        return tuple(
            site(i, f"1.4.{k // sites if i == k % sites else 0}", repositories[i]) for i in range(sites)
        )

    repositories = [image(i) for i in range(sites)]
    contents = [held(k) for k in range(changes + 1)]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return tuple(
        FileVersion(
            FileChange(f"{k:040x}", "Ann", when, "change", FILE, f"{k:x}", f"{k + 1:x}"),
            contents[k],
            contents[k + 1],
        )
        for k in reversed(range(changes))
    )


def calls(work: Callable[[], object]) -> int:
    """Functions of ours that are called."""
    count = 0

    def noted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(noted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def follow_all(versions: tuple[FileVersion, ...]) -> None:
    shared = Shared()
    for one in versions[0].after or ():
        history = site_history(versions, one, True, shared=shared)
        assert history.held[0].tag == one.tag
        assert history.complete


@pytest.mark.parametrize("images", [1, 1000])
def test_twice_as_many_sites_in_a_file_cost_twice_as_much_for_each_change(images: int) -> None:
    def image(number: int) -> Repository:
        return Repository("ghcr.io", f"acme/web{number % images}")

    few, many = (past(sites, 60, image) for sites in (15, 60))
    # Each version is matched with the next one once for all sites of an image: four times the sites, four
    # times the work. Matched for each site anew it is sixteen times.
    assert calls(lambda: follow_all(many)) < 7 * calls(lambda: follow_all(few))


# -- very many sites of one image ------------------------------------------------------------------

WEB = Repository("ghcr.io", "acme/web")
NEW = "new.yaml"


def named(number: int) -> Site:
    """Each in an object of its own."""
    return site(number, "1.0.0", WEB)


def contained(number: int) -> Site:
    """All in one object, told apart by their fields."""
    return replace(named(0), document=0, field=f"spec.containers[a{number}].image")


def alike(number: int) -> Site:
    """Nothing tells one from another."""
    return replace(named(0), document=0)


def released(count: int) -> str:
    """What a release of ours says that moves them all."""
    labels = tuple(f"{FILE}#{FIELD}" for _ in range(count))
    member = Member("web", str(WEB), "1.0.0", "1.1.0", labels)
    return "Release web 1.1.0\n\n" + trailers(ReleaseRecord("release", (member,)))


def life(sites: tuple[Site, ...]) -> tuple[tuple[FileVersion, ...], ...]:
    """Two files, newest first: sites are added, released, renamed, and moved to the other file with
    other names."""
    when = datetime(2026, 1, 1, tzinfo=UTC)

    def change(commit: str, path: str, before: str | None, after: str | None, says: str = "x") -> FileChange:
        return FileChange(commit, "Ann", when, says, path, before, after)

    moved = tuple(replace(s, tag="1.1.0") for s in sites)
    renamed = tuple(
        replace(s, name=f"{s.name}-b", field=f"{s.field}b", document=s.document + 1) for s in moved
    )
    there = tuple(replace(s, file=NEW, name=f"{s.name}-c", field=f"{s.field}c") for s in renamed)
    back = tuple(replace(s, tag="1.0.0") for s in there)
    old = (
        FileVersion(change("d", FILE, "3", None), renamed, None),
        FileVersion(change("c", FILE, "2", "3"), moved, renamed),
        FileVersion(change("b", FILE, "1", "2", released(len(sites))), sites, moved),
        FileVersion(change("a", FILE, None, "1"), None, sites),
    )
    new = (
        FileVersion(change("e", NEW, "4", "5"), there, back),
        FileVersion(change("d", NEW, None, "4"), None, there),
    )
    return old, new


def follow_life(
    files: tuple[tuple[FileVersion, ...], ...], alone: Callable[[], Shared] | None = None
) -> tuple[SiteHistory, ...]:
    """The history of each site; with `alone`, each for itself."""
    old, new = files
    elsewhere = Elsewhere(
        {FILE: FilePast(old, True), NEW: FilePast(new, True)},
        {commit: tuple(v for v in (*old, *new) if v.change.commit == commit) for commit in "abcde"},
    )
    shared = Shared()
    return tuple(
        site_history(new, one, True, elsewhere, shared if alone is None else alone())
        for one in new[0].after or ()
    )


def peak(work: Callable[[], object]) -> int:
    """Bytes that are taken at most, what the work gives included."""
    tracemalloc.start()
    try:
        kept = work()
        assert kept
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [named, contained, alike])
def test_what_a_file_costs_grows_with_its_sites_and_no_faster(kind: Callable[[int], Site]) -> None:
    few, many = (life(tuple(kind(i) for i in range(count))) for count in (60, 360))
    histories = follow_life(few)
    # Through two renamings, and from file to file: what was released and set back is known of each.
    assert {tuple(value.tag for value in history.held) for history in histories} == {
        ("1.0.0", "1.1.0", "1.0.0")
    }
    assert all(history.complete and history.files == (NEW, FILE) for history in histories)
    assert all((history.held[1].record is None) == (kind is alike) for history in histories)
    # Six times the sites cost about six times as much; each compared with all others, it is 36 times.
    assert calls(lambda: follow_life(many)) < 9 * calls(lambda: follow_life(few))
    assert peak(lambda: follow_life(many)) < 9 * peak(lambda: follow_life(few))


@pytest.mark.parametrize("kind", [named, contained, alike])
def test_what_traces_share_changes_none_of_them(kind: Callable[[int], Site]) -> None:
    files = life(tuple(kind(i) for i in range(30)))
    assert follow_life(files) == follow_life(files, Shared)


SITES = st.lists(
    st.builds(
        lambda document, field, kind, name: replace(
            named(0), document=document, field=field, kind=kind, name=name
        ),
        st.integers(0, 2),
        st.sampled_from("fgh"),
        st.sampled_from([None, "Pod"]),
        st.sampled_from([None, "a", "b"]),
    ),
    max_size=12,
).map(tuple)


@given(few=SITES, many=SITES)
def test_a_few_sites_are_paired_with_many_as_any_others(
    few: tuple[Site, ...], many: tuple[Site, ...]
) -> None:
    assert Identities(many).pairs(few) == pairs(few, many)
