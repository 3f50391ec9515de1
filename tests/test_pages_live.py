"""The dashboard over real cycles: what a config repo, a registry and a forge make of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
from parts.forgestage import ForgeStage
from parts.pages import Shown, Site, site
from parts.world import until

from automator.app.desk import LiveDesk
from automator.core.reference import Repository
from automator.core.view import DaemonView
from automator.edges.web.pages.routes import PAGES


class Pulse:
    """A daemon in which nothing runs."""

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None: ...

    def running_since(self, _repo: str) -> datetime | None:
        return None

    def stuck(self) -> tuple[str, ...]:
        return ()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ForgeStage]:
    with ExitStack() as stack:
        yield ForgeStage(tmp_path, stack, "gitlab")


@pytest.fixture
def pages(stage: ForgeStage) -> Iterator[Site]:
    stage.push("acme/web", "1.0.0", "1.1.0", "2.0.0")
    stage.commit(stage.workload("web", "1.0.0"))
    view = DaemonView("1.2.3", stage.now, stage.now)
    desk = LiveDesk(stage.app, Pulse(), lambda: stage.now, standing=lambda: view)
    with desk.cycle("shop"):
        desk.saw(stage.run())
    yield site(desk)
    desk.close()


def ready(pages: Site, path: str) -> Shown:
    """A page once history was read."""
    until(lambda: not pages.get(path).all("body", data_again="3"), f"all of {path}")
    return pages.get(path)


def test_every_page_shows_what_cycles_left(pages: Site) -> None:
    for page in PAGES:
        found = pages.get(page.path.format(repo="shop", name="web", area="released", code="pushed"))
        assert found.status == 200, page.path
        assert found.tree is not None
    assert "shop" in pages.get("/repos").words
    assert pages.get("/policies").rows() == ["shop/policies/web.yaml"]


def test_a_release_with_its_links_to_the_forge(stage: ForgeStage, pages: Site) -> None:
    page = ready(pages, "/workloads/shop/web")
    assert "released" in page.words
    assert "1.0.0 → to 1.1.0" in page.words
    commit = f"{stage.app.forges[stage.forge.host].page('acme/shop')}/-/commit/{stage.repo.tip()}"
    assert commit in page.links, "the commit of the release"
    assert any("/-/blob/" in address and "policies/web.yaml" in address for address in page.links)
    assert "2.0.0" in page.words, "and every tag"
    assert commit in ready(pages, "/releases").links
    assert "1 deployment" in ready(pages, "/report").words
