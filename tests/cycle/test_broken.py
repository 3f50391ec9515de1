"""Files that broke: what they held and said as long as they could be read still counts, restart or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from parts.stage import Stage

from automator.reasons import Status

COMPOSE = "services: {{{name}: {{image: '{image}:${{TAG}}'}}}}\n"


@pytest.fixture(params=["running", "restarted", "without its state"])
def later(request: pytest.FixtureRequest) -> Callable[[Stage], None]:
    """What happens to the program before it looks again."""

    def happen(stage: Stage) -> None:
        if request.param == "restarted":
            stage.stop()
        elif request.param == "without its state":
            stage.lose_state()

    return happen


def test_a_use_of_a_variable_in_a_file_that_broke_still_counts(
    stage: Stage, later: Callable[[Stage], None]
) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    stage.commit(
        {
            **stage.workload("web", "1.4.2"),
            "apps/web.yaml": COMPOSE.format(name="web", image=image),
            "apps/jobs.yaml": COMPOSE.format(name="jobs", image="ghcr.io/acme/jobs"),
            "apps/.env": "TAG=1.4.2\n",
        }
    )
    assert stage.outcomes()["web"].reason.code == "site/sources-differ"
    stage.commit({"apps/jobs.yaml": COMPOSE.format(name="jobs", image="ghcr.io/acme/jobs") + "x: [\n"})
    stage.outcomes()
    later(stage)
    assert stage.outcomes()["web"].reason.code == "site/sources-differ"
    assert stage.repo.read("apps/.env") == "TAG=1.4.2"


def test_a_site_in_a_file_that_is_no_text_any_more_is_not_left_behind(
    stage: Stage, later: Callable[[Stage], None]
) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    stage.commit({**files, "apps/b.yaml": f"image: {stage.host}/acme/web:1.4.2\n"})
    latin = f"# caf\xe9 {{{{ x }}}}\nimage: {stage.host}/acme/web:1.4.2\n".encode("latin-1")
    stage.commit({"apps/b.yaml": latin})
    assert stage.outcomes()["web"].status is Status.HELD
    later(stage)
    assert stage.outcomes()["web"].reason.code == "file/unreadable"


def test_many_broken_files_hide_none(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web:1.4.2"
    stage.commit({**stage.workload("web", "1.4.2"), "apps/z.yaml": f"image: {image}\n"})
    broken = {f"apps/b{n:02}.yaml": f"image: [{image}\n" for n in range(30)}
    stage.commit({**broken, "apps/z.yaml": f"image: [{image}\n"})
    assert stage.outcomes()["web"].reason.code == "file/unreadable"


def test_a_file_name_that_is_no_text_stops_nobody(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.commit({"apps/caf\udce9.yaml": "image: example.org/other/tool:1.0.0\n"})
    assert stage.outcomes()["web"].status is Status.RELEASED
    stage.stop()
    assert stage.outcomes()["web"].status is Status.CURRENT


@pytest.mark.parametrize("what", ["a manifest", "a manifest, twice", "a policy"])
def test_a_file_that_was_moved_and_broken_at_once_still_counts(
    stage: Stage, later: Callable[[Stage], None], what: str
) -> None:
    """Else its neighbour would be released without it, or its workload would be free for any other."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    second = files["apps/web.yaml"].replace("name: web", "name: second")
    stage.commit({**files, "apps/second.yaml": second, "apps/third.yaml": "image: example.org/a/b:1\n"})
    if what == "a policy":
        policy = files["policies/web.yaml"]
        before = stage.commit({"policies/web.yaml": None, "policies/shop.yaml": policy + "    semver: [\n"})
    elif what == "a manifest":
        before = stage.commit({"apps/second.yaml": None, "apps/2.yaml": second + "x: [\n"})
    else:
        stage.commit({"apps/second.yaml": None, "apps/1.yaml": second})
        before = stage.commit({"apps/1.yaml": None, "apps/2.yaml": second + "x: [\n"})
    held = ("policy/broken-file", "file/unreadable")[what != "a policy"]
    for again in (False, True):
        if again:
            later(stage)
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == (Status.HELD, held)
        assert stage.repo.tip() == before
