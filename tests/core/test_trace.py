"""Tracing: what it costs to follow many sites of one file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from automator.core.history import FileChange, FileVersion, site_history
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
