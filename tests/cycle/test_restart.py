"""Starting again: what was found in files is known, so that only what changed meanwhile is parsed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from parts.stage import Stage

from automator.app import App
from automator.app.fingerprint import locator_version
from automator.core.site import FileSites
from automator.cycle.index import Index, Snapshot
from automator.cycle.located import PAST_KEPT, Blob, Located
from automator.edges.checkout import Entry
from automator.edges.store import DATABASE, KeptSites, Store

CONFIG_MAP = "kind: ConfigMap\ndata: {size: large}\n"
UNWATCHED = "kind: Pod\nspec: {containers: [{name: app, image: example.test/other/tool:1.0.0}]}\n"
BROKEN = "image: [example.test/other/tool:1.0.0\n"


def restarted(stage: Stage) -> Index:
    """The index of a program that begins, with what the one before left on disk, after its first cycle."""
    stage.stop()
    stage.outcomes(push=False)
    return stage.cycle.index


def table(stage: Stage, *commands: str) -> None:
    """Somebody, or a bad disk, changes the database behind our back."""
    stage.stop()
    with closing(sqlite3.connect(stage.folder / "state" / DATABASE)) as connection, connection:
        for command in commands:
            connection.execute(command)


@pytest.fixture
def shop(stage: Stage) -> Stage:
    stage.push("acme/web", "1.0.0")
    stage.push("acme/api", "1.0.0")
    stage.commit(
        {
            **stage.workload("web", "1.0.0"),
            **stage.workload("api", "1.0.0"),
            "apps/map.yaml": CONFIG_MAP,
            "apps/other.yaml": UNWATCHED,
            "apps/broken.yaml": BROKEN,
        }
    )
    stage.outcomes(push=False)
    return stage


def facts(snapshot: Snapshot | None) -> tuple[Any, ...]:
    assert snapshot is not None
    claims = snapshot.claims
    return snapshot.commit, dict(claims.sites), dict(claims.problems), dict(snapshot.troubles)


# -- what a restart costs ------------------------------------------------------------------------------


def test_a_restart_parses_nothing(shop: Stage) -> None:
    before = shop.cycle.index
    assert before.parsed == 4, "two workloads, one other image, one broken file"
    told = facts(before.snapshot)
    after = restarted(shop)
    assert after.parsed == 0
    assert facts(after.snapshot) == told
    assert "apps/broken.yaml" in told[3]


def test_after_a_restart_a_file_that_somebody_changed_is_the_only_one_parsed(shop: Stage) -> None:
    shop.stop()
    shop.commit(shop.workload("web", "1.0.1"), "By hand")
    after = restarted(shop)
    assert after.parsed == 1
    (site,) = after.snapshot.claims.sites["web"] if after.snapshot else ()
    assert site.tag == "1.0.1"
    assert restarted(shop).parsed == 0


def test_a_file_that_moved_is_not_parsed(shop: Stage) -> None:
    shop.commit({"apps/web.yaml": None, **shop.workload("web", "1.0.0", file="elsewhere/web.yaml")}, "Move")
    after = restarted(shop)
    assert after.parsed == 0
    assert after.snapshot is not None
    assert [site.file for site in after.snapshot.claims.sites["web"]] == ["elsewhere/web.yaml"]


def test_a_release_after_a_restart_knows_what_it_needs(shop: Stage) -> None:
    restarted(shop)
    shop.push("acme/web", "1.0.1")
    assert shop.outcomes()["web"].status == "released"
    assert shop.image_of("web") == "web:1.0.1"
    assert restarted(shop).parsed <= 1, "the file that the release wrote"
    assert restarted(shop).parsed == 0


# -- what must not be believed any more ----------------------------------------------------------------


@pytest.mark.parametrize("restart", [True, False])
def test_a_file_that_was_passed_over_is_read_when_its_image_comes_to_be_watched(
    shop: Stage, restart: bool
) -> None:
    policy = "version: 1\nworkloads:\n  tool: {image: example.test/other/tool, semver: '1.x'}\n"
    if restart:
        shop.stop()
    shop.commit({"policies/tool.yaml": policy}, "Watch it")
    shop.run(push=False)
    snapshot = shop.cycle.index.snapshot
    assert snapshot is not None
    assert [site.tag for site in snapshot.claims.sites["tool"]] == ["1.0.0"]


def test_other_fields_locate_anew(shop: Stage) -> None:
    shop.stop()
    keys = 'semver: ">=1.0 <2"\nwhere: {field: data.size}'
    shop.commit(shop.workload("sized", "1.0.0", keys=keys), "By field")
    shop.run(push=False)
    assert shop.cycle.index.parsed >= 4
    snapshot = shop.cycle.index.snapshot
    assert snapshot is not None
    assert [site.file for site in snapshot.claims.sites["sized"]] == ["apps/map.yaml"]


def test_what_another_version_of_the_program_found_is_found_again(shop: Stage) -> None:
    told = facts(shop.cycle.index.snapshot)
    old = f"replace(CAST(value AS TEXT), '[\"', '[\"{'0' * 8}')"
    table(shop, f"UPDATE note SET value = CAST({old} AS BLOB) WHERE kind = 'sites'")
    after = restarted(shop)
    assert after.parsed == 4
    assert facts(after.snapshot) == told


def test_the_version_is_that_of_the_code() -> None:
    assert len(locator_version()) == 64


DAMAGES = {
    "a changed text": ("UPDATE sites SET text = CAST(replace(text, '1.0.0', '0.9.0') AS BLOB)",),
    "a name that is no text": ("UPDATE sites SET name = CAST(x'ff' AS TEXT) WHERE name = 'web.yaml'",),
    "a number for a text": ("UPDATE sites SET text = 1",),
    "no rows": ("DELETE FROM sites",),
    "no table": ("DROP TABLE sites",),
    "no note": ("DELETE FROM note WHERE kind = 'sites'",),
    "a foreign note": ("UPDATE note SET value = x'00ff' WHERE kind = 'sites'",),
    "a foreign table": ("DROP TABLE sites", "CREATE TABLE sites (repo TEXT, at INTEGER)"),
}


@pytest.mark.parametrize("commands", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_foreign_cache_is_made_anew(shop: Stage, commands: Iterable[str]) -> None:
    told = facts(shop.cycle.index.snapshot)
    table(shop, *commands)
    after = restarted(shop)
    assert after.parsed == 4
    assert facts(after.snapshot) == told


def test_a_restart_knows_what_a_program_without_memory_finds(shop: Stage) -> None:
    web = shop.repo.read("apps/web.yaml") + "\n"
    steps: list[dict[str, str | None]] = [
        {"apps/web.yaml": web + "broken: [\n"},
        {"apps/copy.yaml": web, "apps/empty.yaml": "", "apps/binary.yaml": "image: \0\n"},
        {"apps/web.yaml": web, "apps/broken.yaml": None},
        {"policies/api.yaml": None, "apps/other.yaml": CONFIG_MAP},
        {"apps/map.yaml": UNWATCHED, "policies/broken.yaml": "workloads: [\n"},
        {"policies/broken.yaml": None, **shop.workload("api", "1.0.0")},
    ]
    for step in steps:
        shop.stop()
        shop.commit(step)
        shop.run(push=False)
        warm = shop.cycle.index
        cold = Index(warm.source, warm.scope, warm.earlier)
        assert warm.snapshot is not None
        assert facts(warm.snapshot) == facts(cold.move_to(warm.snapshot.commit)), step
        assert warm.parsed <= cold.parsed


# -- beside others -------------------------------------------------------------------------------------


def test_a_plan_beside_the_daemon_parses_nothing(shop: Stage) -> None:
    config = shop.app.config
    with App.open(config, exclusive=False, clock=lambda: shop.now) as beside:
        index = beside.cycles["shop"].index
        index.source.fetch(shop.repo.tip())  # type: ignore[attr-defined]
        index.move_to(str(shop.repo.tip()))
        assert index.parsed == 0
        assert facts(index.snapshot) == facts(shop.cycle.index.snapshot)


def test_rows_of_a_config_repo_that_is_no_more_go(shop: Stage) -> None:
    config = shop.app.config
    shop.stop()
    other = config.model_copy(update={"repos": {"other": config.repos["shop"]}})
    with App.open(other, exclusive=True):
        pass
    with closing(sqlite3.connect(shop.folder / "state" / DATABASE)) as connection:
        assert connection.execute("SELECT count(*) FROM sites").fetchone() == (0,)


# -- bounds --------------------------------------------------------------------------------------------


def kept(store: Store) -> KeptSites:
    located = Located(store, "shop", "1")
    located.begin((), (), more=True)
    return store.kept_sites("shop", located.mark)


def test_blobs_of_the_past_go_when_they_are_many(tmp_path: Path) -> None:
    present: Blob = ("f" * 40, "web.yaml")
    entries = {"apps/web.yaml": Entry("100644", present[0])}
    with Store.open(tmp_path) as store:
        located = Located(store, "shop", "1")
        located.begin((), (), more=True)
        for number in range(PAST_KEPT + 1):
            located.put((f"{number:040x}", "web.yaml"), FileSites(()))
        located.put(present, FileSites(()))
        located.keep("c1")
        assert len(kept(store).texts) == PAST_KEPT + 2
        located.prune(entries)
        located.keep("c2")
        assert list(kept(store).texts) == [present]
