"""Sites that are moved in ways that hide where they came from: what a person turned away stays away."""

from __future__ import annotations

import pytest
from parts.hand import Hand
from parts.stage import Stage

from automator.core.report import Outcome
from automator.reasons import Status

FILE = "apps/web.yaml"
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {image}:{version}
"""


@pytest.fixture
def image(stage: Stage) -> str:
    stage.push("acme/web", "1.4.2", "1.4.3")
    return f"{stage.host}/acme/web"


def hand_of(stage: Stage) -> Hand:
    found = Hand(stage.repo, stage.folder / "ann")
    found.pull()
    return found


@pytest.fixture
def hand(stage: Stage, image: str) -> Hand:
    """Ann's clone, after web 1.4.2 -> 1.4.3 was released and reverted."""
    stage.commit(stage.workload("web", "1.4.2"))
    released(stage, "web")
    found = hand_of(stage)
    found.git("revert", "--no-edit", "HEAD")
    found.push()
    held(stage, "web")
    return found


def released(stage: Stage, name: str) -> Outcome:
    outcome = stage.outcomes()[name]
    assert outcome.status is Status.RELEASED, outcome
    return outcome


def held(stage: Stage, name: str) -> Outcome:
    outcome = stage.outcomes()[name]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "history/turned-away"), outcome
    return outcome


def stays_away(stage: Stage, name: str = "web") -> None:
    """Held by the program that saw it all, and by one that knows the branch alone."""
    held(stage, name)
    stage.lose_state()
    assert held(stage, name).reason.sentence.startswith("was 1.4.3 until Ann Author set 1.4.2 in ")


def policies(image: str, **workloads: str) -> dict[str, str | None]:
    """Workloads of one image: `name="keys"`."""
    entries = (
        f"  {name}:\n    image: {image}\n    semver: '1.x'\n    {keys}\n" for name, keys in workloads.items()
    )
    return {"policies/all.yaml": "version: 1\nworkloads:\n" + "".join(entries)}


# -- other files tell the image ------------------------------------------------------------------------


def composed(stage: Stage, image: str) -> Hand:
    """A Compose file with a variable, released and set back."""
    stage.commit(
        policies(image, web="description: 'the shop'")
        | {
            "deploy/compose.yaml": f"services:\n  web:\n    image: {image}:${{TAG}}\n",
            "deploy/.env": "OTHER_VERSION=9.9.9\nTAG=1.4.2\n",
        }
    )
    released(stage, "web")
    hand = hand_of(stage)
    hand.change("deploy/.env", "1.4.3", "1.4.2")
    hand.commit("Back")
    hand.push()
    return hand


def test_an_env_file_that_is_moved_with_its_folder(stage: Stage, image: str) -> None:
    hand = composed(stage, image)
    hand.git("mv", "deploy", "production")
    hand.commit("Another folder")
    hand.push()
    stays_away(stage)
    stage.push("acme/web", "1.4.4")
    released(stage, "web")
    assert stage.repo.read("production/.env") == "OTHER_VERSION=9.9.9\nTAG=1.4.4"


def test_a_variable_that_is_renamed(stage: Stage, image: str) -> None:
    hand = composed(stage, image)
    hand.change("deploy/.env", "\nTAG=", "\nWEB_TAG=")
    hand.change("deploy/compose.yaml", "{TAG}", "{WEB_TAG}")
    hand.commit("A better name")
    hand.push()
    stays_away(stage)


def test_a_helm_repository_that_is_renamed(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")

    def chart(version: str, source: str) -> str:
        return (
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n"
            "metadata: {name: web, namespace: flux}\n"
            f'spec:\n  chart:\n    spec:\n      chart: web\n      version: "{version}"\n'
            f"      sourceRef: {{kind: HelmRepository, name: {source}}}\n"
        )

    def source(name: str) -> str:
        return (
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\n"
            f"metadata: {{name: {name}, namespace: flux}}\nspec:\n  type: oci\n  url: oci://{stage.host}/charts\n"
        )

    stage.commit(
        policies(f"{stage.host}/charts/web", web="description: 'the shop'")
        | {"source.yaml": source("charts"), "web.yaml": chart("1.4.2", "charts")}
    )
    released(stage, "web")
    hand = hand_of(stage)
    hand.change("web.yaml", "1.4.3", "1.4.2")
    hand.commit("Back")
    hand.write("source.yaml", source("acme"))
    hand.write("web.yaml", chart("1.4.2", "acme"))
    hand.commit("Another name for the charts")
    hand.push()
    stays_away(stage)
    # And to a mirror, while the daemon runs: what the file held before is of the mirror's image now.
    stage.push("mirror/web", "1.4.2", "1.4.3")
    hand.write("source.yaml", source("acme").replace("/charts", "/mirror"))
    hand.change("policies/all.yaml", "/charts/web", "/mirror/web")
    hand.commit("A mirror for the charts")
    hand.push()
    stays_away(stage)


# -- other files are much like it ----------------------------------------------------------------------


def test_a_file_that_goes_back_while_it_moves_is_not_taken_for_its_neighbour(
    stage: Stage, image: str
) -> None:
    """What production is after the move, staging was before it, letter by letter."""

    def text(version: str) -> str:
        return f'kind: Kustomization\nimages:\n  - name: {image}\n    newTag: "{version}"\n'

    stage.commit(
        policies(
            image,
            production="where: {paths: ['**/production/**']}",
            staging="where: {paths: ['**/staging/**']}\n    hold: {reason: later}",
        )
        | {f"overlays/{place}/kustomization.yaml": text("1.4.2") for place in ("production", "staging")}
    )
    released(stage, "production")
    hand = hand_of(stage)
    hand.git("mv", "overlays", "envs")
    hand.write("envs/production/kustomization.yaml", text("1.4.2"))
    hand.commit("Move, and production goes back")
    hand.push()
    stays_away(stage, "production")


@pytest.fixture
def two(stage: Stage, image: str) -> Hand:
    """Two objects in two files; `prod` was released and set back, `stag` never had the version."""
    texts = {
        file: DEPLOYMENT.format(name=name, image=image, version="1.4.2")
        for file, name in (("a.yaml", "prod"), ("b.yaml", "stag"))
    }
    stage.commit(
        policies(image, prod="where: {name: prod}", stag="where: {name: stag}\n    exclude: ['1.4.3']")
        | texts
    )
    released(stage, "prod")
    hand = hand_of(stage)
    hand.change("a.yaml", "1.4.3", "1.4.2")
    hand.commit("Back")
    return hand


def test_two_files_that_change_places(stage: Stage, two: Hand) -> None:
    a, b = two.read("a.yaml"), two.read("b.yaml")
    two.write("a.yaml", b)
    two.write("b.yaml", a)
    two.commit("Swap")
    two.push()
    stays_away(stage, "prod")


def test_a_file_that_is_moved_over_another(stage: Stage, two: Hand) -> None:
    two.git("mv", "--force", "a.yaml", "b.yaml")
    two.commit("Over the other")
    two.push()
    stays_away(stage, "prod")


def test_two_objects_that_are_renamed_in_their_files_keep_their_pasts(stage: Stage, two: Hand) -> None:
    """Nothing was moved: the object of another name is the one that stood there."""
    two.change("a.yaml", "name: prod", "name: shop")
    two.write("policies/all.yaml", two.read("policies/all.yaml").replace("{name: prod}", "{name: shop}"))
    two.commit("Rename")
    two.push()
    stays_away(stage, "prod")


# -- files that are away for a time --------------------------------------------------------------------


@pytest.mark.parametrize("away", ["apps/web.yaml.disabled", ".archive/web.yaml", "apps/web.txt"])
def test_a_file_that_was_switched_off_before_it_was_moved(stage: Stage, hand: Hand, away: str) -> None:
    (hand.folder / away).parent.mkdir(exist_ok=True)
    hand.git("mv", FILE, away)
    hand.commit("Off for now")
    hand.push()
    assert stage.outcomes()["web"].reason.code == "site/none"
    hand.git("mv", away, "web-production.yaml")
    hand.commit("On again")
    hand.push()
    stays_away(stage)


BROKEN = "<<<<<<< HEAD\n  broken: [\n"


def test_a_file_that_was_broken_and_is_mended_while_it_moves(stage: Stage, image: str) -> None:
    stage.commit(stage.workload("web", "1.4.2"))
    released(stage, "web")
    hand = hand_of(stage)
    text = hand.read(FILE).replace("1.4.3", "1.4.2")
    hand.write(FILE, text + BROKEN)
    hand.commit("Back, and a slip")
    hand.git("mv", FILE, "production.yaml")
    hand.write("production.yaml", text)
    hand.commit("Mend and move")
    hand.push()
    held(stage, "web")
    stage.lose_state()
    held(stage, "web")


def test_a_file_that_is_broken_while_it_moves_and_is_mended_later(stage: Stage, hand: Hand) -> None:
    text = hand.read(FILE)
    hand.git("mv", FILE, "production.yaml")
    hand.write("production.yaml", text + BROKEN)
    hand.commit("Move, and a slip")
    hand.write("production.yaml", text)
    hand.commit("Mend")
    hand.push()
    stays_away(stage)


# -- a file and a folder of one name -------------------------------------------------------------------


def test_a_file_that_becomes_a_folder_and_a_file_again(stage: Stage, hand: Hand) -> None:
    """Other workloads go on, and so do the pasts of both paths."""
    stage.push("acme/api", "2.0.0", "2.0.1")
    stage.commit(stage.workload("api", "2.0.0", keys="semver: '2.x'"))
    released(stage, "api")
    hand.pull()
    text = hand.read(FILE)
    hand.git("rm", "--quiet", FILE)
    hand.write(f"{FILE}/deployment.yaml", text)
    hand.commit("A folder now")
    hand.push()
    stage.push("acme/api", "2.0.2")
    held(stage, "web")
    hand.pull()
    hand.write(f"{FILE}/service.yaml", "kind: Service\n")
    hand.commit("More in the folder")
    hand.push()
    stage.push("acme/api", "2.0.3")
    released(stage, "api")
    hand.pull()
    hand.git("rm", "--quiet", "-r", FILE)
    (hand.folder / FILE).parent.mkdir(exist_ok=True)
    hand.write(FILE, text)
    hand.commit("A file again")
    hand.push()
    stage.push("acme/api", "2.0.4")
    outcomes = stage.outcomes()
    assert outcomes["api"].status is Status.RELEASED
    assert outcomes["web"].reason.code == "history/turned-away"
    stays_away(stage)


def test_a_folder_that_stood_in_the_place_of_a_file_for_a_time(stage: Stage, hand: Hand) -> None:
    """Changes of other files below a path that was a file are not the file's."""
    text = hand.read(FILE)
    hand.git("rm", "--quiet", FILE)
    hand.write(f"{FILE}/other.yaml", text.replace("1.4.2", "1.4.1").replace("name: web", "name: other"))
    hand.commit("A folder of that name")
    hand.git("rm", "--quiet", "-r", FILE)
    (hand.folder / FILE).parent.mkdir(exist_ok=True)
    hand.write(FILE, text)
    hand.commit("The file again")
    hand.push()
    stays_away(stage)
