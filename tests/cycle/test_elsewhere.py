"""Releases to places of which another file tells the image: charts of a HelmRepository, Compose variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts.stage import Stage

from automator.cycle.gate import check
from automator.cycle.screen import may_give
from automator.cycle.source import Scope
from automator.reasons import Status


def policy(name: str, image: str, where: str = "") -> dict[str, str]:
    text = f'version: 1\nworkloads:\n  {name}:\n    image: {image}\n    semver: ">=1.0 <2"\n{where}'
    return {f"policies/{name}.yaml": text}


def text_of(stage: Stage, path: str) -> str:
    """A file on the branch; what git prints of it lacks the last line's end."""
    return stage.repo.read(path) + "\n"


def release(name: str = "web", chart: str = "web", version: str = "1.4.2") -> str:
    return (
        "# a chart\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec:\n  chart:\n    spec:\n      chart: {chart}\n"
        f"      version: {version}   # pinned\n"
        "      sourceRef: {kind: HelmRepository, name: acme, namespace: flux-system}\n"
    )


def repository(url: str) -> str:
    return (
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\n"
        f"metadata: {{name: acme, namespace: flux-system}}\nspec:\n  type: oci\n  url: {url}\n"
    )


def test_an_oci_repository_of_flux_is_released(stage: Stage) -> None:
    stage.push("acme/manifests", "1.4.2", "1.4.3")
    text = (
        "kind: OCIRepository\nmetadata: {name: shop}\nspec:\n"
        f"  url: oci://{stage.host}/acme/manifests # 1.4.2\n  ref:\n    tag: '1.4.2'\n"
    )
    stage.commit({**policy("shop", f"{stage.host}/acme/manifests"), "flux/shop.yaml": text})
    assert stage.outcomes()["shop"].status is Status.RELEASED
    assert text_of(stage, "flux/shop.yaml") == text.replace("'1.4.2'", "'1.4.3'")


def test_a_chart_is_released_whose_repository_lies_in_another_file(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")
    stage.commit(
        {
            **policy("web", f"{stage.host}/charts/web"),
            "apps/web.yaml": release(),
            "infra/repositories.yaml": repository(f"oci://{stage.host}/charts"),
        }
    )
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.RELEASED, "1.4.2")
    assert text_of(stage, "apps/web.yaml") == release(version="1.4.3")


def test_a_person_has_the_last_word_on_charts_too(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")
    stage.commit(
        {
            **policy("web", f"{stage.host}/charts/web"),
            "apps/web.yaml": release(),
            "infra/repositories.yaml": repository(f"oci://{stage.host}/charts"),
        }
    )
    commit = stage.outcomes()["web"].commit
    assert commit is not None
    stage.revert(commit)
    assert stage.outcomes()["web"].status is Status.HELD
    stage.lose_state()
    assert stage.outcomes()["web"].status is Status.HELD
    assert text_of(stage, "apps/web.yaml") == release()


def test_a_chart_of_an_http_repository_is_left_alone(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")
    stage.commit(
        {
            **policy("web", f"{stage.host}/charts/web"),
            "apps/web.yaml": release(),
            "infra/repositories.yaml": repository(f"http://{stage.host}/charts"),
        }
    )
    outcome = stage.outcomes()["web"]
    assert outcome.status is not Status.RELEASED
    assert outcome.reason.code == "site/none"
    assert text_of(stage, "apps/web.yaml") == release()


def test_a_repository_that_comes_later_makes_the_place_a_site(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")
    stage.commit({**policy("web", f"{stage.host}/charts/web"), "apps/web.yaml": release()})
    assert stage.outcomes()["web"].reason.code == "site/none"
    stage.commit({"infra/repositories.yaml": repository(f"oci://{stage.host}/charts")})
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_repository_that_can_no_longer_be_read_still_counts(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2")
    good = repository(f"oci://{stage.host}/charts")
    files = {"apps/web.yaml": release(), "infra/repositories.yaml": good}
    stage.commit({**policy("web", f"{stage.host}/charts/web"), **files})
    assert stage.outcomes()["web"].status is Status.CURRENT
    stage.commit({"infra/repositories.yaml": good + "broken: [\n"})
    stage.push("charts/web", "1.4.3")
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_repositories_that_disagree_hold_the_release(stage: Stage) -> None:
    stage.push("charts/web", "1.4.2", "1.4.3")
    stage.commit(
        {
            **policy("web", f"{stage.host}/charts/web"),
            "apps/web.yaml": release(),
            "one/repositories.yaml": repository(f"oci://{stage.host}/charts"),
            "two/repositories.yaml": repository(f"oci://{stage.host}/elsewhere"),
        }
    )
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "site/sources-differ")


COMPOSE = "services:\n  web:\n    image: {image}:${{WEB_TAG}}\n  db:\n    image: postgres:16\n"
ENV = "# versions\nDB_PASSWORD=1.4.2\nexport WEB_TAG='1.4.2' # the shop\n"


def test_a_version_in_an_env_is_released(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    stage.commit(
        {
            **policy("web", image),
            "shop/compose.yaml": COMPOSE.format(image=image),
            "shop/.env": ENV,
            "blog/.env": ENV,  # of another project
        }
    )
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.RELEASED, "1.4.2")
    assert text_of(stage, "shop/.env") == ENV.replace("WEB_TAG='1.4.2'", "WEB_TAG='1.4.3'")
    assert stage.numstat("main") == ["1\t1\tshop/.env"]
    assert [o.status for o in stage.run().outcomes] == [Status.CURRENT]
    stage.revert("main")
    assert stage.outcomes()["web"].status is Status.HELD


def test_a_default_is_released_while_no_env_sets_the_variable(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    text = COMPOSE.format(image=image).replace("${WEB_TAG}", "${WEB_TAG:-1.4.2}")
    stage.commit({**policy("web", image), "shop/compose.yaml": text, "shop/.env": "OTHER=1\n"})
    assert stage.outcomes()["web"].status is Status.RELEASED
    after = text.replace("-1.4.2", "-1.4.3")
    assert text_of(stage, "shop/compose.yaml") == after
    stage.push("acme/web", "1.4.4")
    stage.commit({"shop/.env": "WEB_TAG=1.4.3\n"})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert text_of(stage, "shop/compose.yaml") == after
    assert text_of(stage, "shop/.env") == "WEB_TAG=1.4.4\n"


def test_a_variable_of_several_images_is_never_written(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    stage.commit(
        {
            **policy("web", image),
            "shop/compose.yaml": COMPOSE.format(image=image),
            # A file that names no image of any policy.
            "shop/compose.override.yaml": "services:\n  api:\n    image: quay.io/else/api:$WEB_TAG\n",
            "shop/.env": ENV,
        }
    )
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "site/sources-differ")
    assert text_of(stage, "shop/.env") == ENV


@pytest.mark.parametrize(
    "other",
    [
        "services:\n  api:\n    image:\n      quay.io/else/api:$WEB_TAG\n",
        "services:\n  api:\n    image: >-\n      quay.io/else/api:${WEB_TAG}\n",
        'services:\n  api:\n    image: "quay.io/else/api:\\x24{WEB_TAG}"\n',
        "x-api: &i quay.io/else/api:$WEB_TAG\nservices:\n  api:\n    image: *i\n",
        "services:\n  a:\n    image: &j quay.io/else/api:$WEB_TAG\n  b:\n    image: *j\n",
    ],
)
def test_however_another_image_is_laid_out_its_variable_is_not_written(
    stage: Stage, tmp_path: Path, other: str
) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    files = {
        **policy("web", image),
        "shop/compose.yaml": COMPOSE.format(image=image),
        "shop/compose.override.yaml": other,
        "shop/.env": ENV,
    }
    stage.commit(files)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "site/sources-differ")
    assert text_of(stage, "shop/.env") == ENV
    folder = tmp_path / "files"
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    # `check` reads every file, `once` those that may matter: they must agree.
    assert outcome.reason in [finding.reason for finding in check(folder, Scope()).findings]
    assert may_give("shop/compose.override.yaml", other.encode())


def test_a_variable_without_a_version_of_its_own_holds(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    text = COMPOSE.format(image=image).replace("${WEB_TAG}", "${WEB_TAG:-1.4.2}")
    stage.commit({**policy("web", image), "compose.yaml": text, ".env": "BASE=1.4\nWEB_TAG=${BASE}.2\n"})
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "site/overridden")


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_joined_survives_a_restart(stage: Stage, restart: bool) -> None:
    stage.push("charts/web", "1.4.2")
    stage.commit(
        {
            **policy("web", f"{stage.host}/charts/web"),
            "apps/web.yaml": release(),
            "infra/repositories.yaml": repository(f"oci://{stage.host}/charts"),
        }
    )
    assert stage.outcomes()["web"].status is Status.CURRENT
    if restart:
        stage.stop()
    stage.push("charts/web", "1.4.3")
    assert stage.outcomes()["web"].status is Status.RELEASED
