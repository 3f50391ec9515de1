"""Sightings and platforms in the store: since when a digest stands under a tag, and what it is made for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.facts import Sighting
from automator.core.reference import Image, Repository, TagList
from automator.edges.store import DATABASE, Store

WEB = Repository("ghcr.io", "acme/web")
API = Repository("ghcr.io", "acme/api")
NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as store:
        yield store


def test_a_digest_counts_from_its_first_sight_over_restarts(tmp_path: Path) -> None:
    for restart in range(3):
        with Store.open(tmp_path) as store:
            assert store.sight(WEB, "1.4.3", ONE, NOON + restart * MINUTE) == Sighting(ONE, NOON)
            assert store.sightings(WEB) == {"1.4.3": Sighting(ONE, NOON)}
    with Store.open(tmp_path, read_only=True) as store:
        assert store.sightings(WEB) == {"1.4.3": Sighting(ONE, NOON)}


def test_another_digest_begins_anew_and_so_does_the_first_one_when_it_is_back(store: Store) -> None:
    store.sight(WEB, "1.4.3", ONE, NOON)
    assert store.sight(WEB, "1.4.3", TWO, NOON + MINUTE) == Sighting(TWO, NOON + MINUTE)
    assert store.sight(WEB, "1.4.3", ONE, NOON + 2 * MINUTE) == Sighting(ONE, NOON + 2 * MINUTE)
    assert store.sightings(WEB) == {"1.4.3": Sighting(ONE, NOON + 2 * MINUTE)}


def test_each_tag_of_each_repository_has_a_clock_of_its_own(store: Store) -> None:
    store.sight(WEB, "1.4.3", ONE, NOON)
    store.sight(WEB, "stable", ONE, NOON + MINUTE)
    store.sight(API, "1.4.3", ONE, NOON + 2 * MINUTE)
    assert store.sightings(WEB) == {"1.4.3": Sighting(ONE, NOON), "stable": Sighting(ONE, NOON + MINUTE)}
    assert store.sightings(API) == {"1.4.3": Sighting(ONE, NOON + 2 * MINUTE)}
    assert store.sightings(Repository("ghcr.io", "acme/other")) == {}


def test_a_sight_for_reading_only_is_forgotten(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.sight(WEB, "1.4.3", ONE, NOON)
        with Store.open(tmp_path, read_only=True) as copy:
            copy.sight(WEB, "1.4.4", TWO, NOON)
            assert set(copy.sightings(WEB)) == {"1.4.3", "1.4.4"}
        assert set(store.sightings(WEB)) == {"1.4.3"}


@given(st.lists(st.sampled_from((ONE, TWO)), min_size=1, max_size=8))
def test_it_is_the_start_of_the_last_unbroken_stay(
    tmp_path_factory: pytest.TempPathFactory, seen: list[str]
) -> None:
    with Store.open(tmp_path_factory.mktemp("state")) as store:
        for i, digest in enumerate(seen):
            found = store.sight(WEB, "1.4.3", digest, NOON + i * MINUTE)
    last = len(seen) - 1
    while last and seen[last - 1] == seen[-1]:
        last -= 1
    assert found == Sighting(seen[-1], NOON + last * MINUTE)


# -- platforms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platforms", [None, (), ("linux/amd64",), ("linux/amd64", "linux/arm/v7")])
def test_what_an_image_is_made_for_is_kept_and_nothing_told_is_not_nobody_looked(
    tmp_path: Path, platforms: tuple[str, ...] | None
) -> None:
    image = Image(ONE, NOON, platforms=platforms)
    with Store.open(tmp_path) as store:
        store.save_image(WEB, "1.4.3", image)
    with Store.open(tmp_path) as store:
        assert store.image(WEB, "1.4.3") == image
        assert store.images(WEB) == {"1.4.3": image}
        assert store.image_by_digest(ONE) == image


def test_a_look_without_platforms_takes_none_away(store: Store) -> None:
    store.save_image(WEB, "1.4.3", Image(ONE, platforms=("linux/amd64",)))
    store.save_image(API, "9", Image(ONE))
    assert store.image(WEB, "1.4.3") == Image(ONE, platforms=("linux/amd64",))


# -- state of an older version ------------------------------------------------------------------------------


def test_a_database_from_before_these_tables_is_used_as_it_is(tmp_path: Path) -> None:
    tags = TagList(WEB, ("1.4.2", "1.4.3"), NOON, "one")
    with Store.open(tmp_path) as store:
        store.save_tag_list(tags)
        store.save_image(WEB, "1.4.2", Image(ONE, NOON))
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("DROP TABLE sighting")
        connection.execute("DROP TABLE platform")
    connection.close()
    with Store.open(tmp_path, read_only=True) as store:
        assert store.sightings(WEB) == {}
        assert store.image(WEB, "1.4.2") == Image(ONE, NOON, platforms=None)
    with Store.open(tmp_path) as store:
        assert store.tag_list(WEB) == tags
        assert store.images(WEB) == {"1.4.2": Image(ONE, NOON, platforms=None)}
        store.sight(WEB, "1.4.3", TWO, NOON)
        store.save_image(WEB, "1.4.2", Image(ONE, NOON, platforms=("linux/amd64",)))
    with Store.open(tmp_path) as store:
        assert store.sightings(WEB) == {"1.4.3": Sighting(TWO, NOON)}
        assert store.image(WEB, "1.4.2") == Image(ONE, NOON, platforms=("linux/amd64",))
