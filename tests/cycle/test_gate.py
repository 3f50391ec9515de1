"""What other files of a folder say of a workload's sites: overlays, other bots, images nobody owns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.world import deployment

from automator.core.running import Scope as RuntimeScope
from automator.cycle.gate import check
from automator.cycle.source import Scope

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
IMAGE = "ghcr.io/acme/web"
POLICY = f'version: 1\nworkloads:\n  web:\n    image: {IMAGE}\n    semver: ">=1.0 <2"\n'
IN_BASE = POLICY + '    where: {paths: ["base/**"]}\n'

Files = Mapping[str, str]


def told(folder: Path, files: Files, *, coverage: bool = False) -> list[tuple[str, str]]:
    """Place and code of every finding."""
    for name, text in {"policies/shop.yaml": POLICY, **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    verdict = check(folder, Scope(), now=NOW, coverage=coverage)
    return [(finding.place, finding.reason.code) for finding in verdict.findings]


# -- overlays -----------------------------------------------------------------------------------------

BASE = {
    "policies/shop.yaml": IN_BASE,
    "base/web.yaml": deployment(f"{IMAGE}:1.0.0"),
    "base/kustomization.yaml": "resources: [web.yaml]\n",
}
RENAMES = f"images: [{{name: {IMAGE}, newName: m.example/w}}]\n"
PINS = f"images:\n- name: {IMAGE}\n  newTag: 1.1.0\n"
OVERRIDDEN = [("base/web.yaml:13", "lint/overridden")]
PRODUCTION = f'  web-prod:\n    image: {IMAGE}\n    semver: "1.0.x"\n    where: {{paths: ["prod/**"]}}\n'


@pytest.mark.parametrize(
    "files",
    [
        {"prod/kustomization.yaml": f"resources: [../base]\n{PINS}"},
        {"prod/kustomization.yaml": f"bases: ['../base/']\n{PINS}"},
        {"prod/kustomization.yaml": f"resources: [../base/web.yaml]\n{PINS}"},
        {"apps/prod/kustomization.yml": f"resources: [../../base]\n{PINS.replace('newTag', 'digest')}"},
        # two folders further out
        {
            "mid/kustomization.yaml": "resources: [../base]\n",
            "prod/kustomization.yaml": f"resources: [../mid]\n{PINS}",
        },
        # renamed on the way
        {
            "mid/kustomization.yaml": f"resources: [../base]\n{RENAMES}",
            "prod/kustomization.yaml": "resources: [../mid]\nimages: [{name: m.example/w, newTag: 1.1.0}]\n",
        },
        # by a component
        {
            "pin/kustomization.yaml": f"kind: Component\n{PINS}",
            "prod/kustomization.yaml": "resources: [../base]\ncomponents: [../pin]\n",
        },
        # in another repository's name, so that no workload owns it
        {
            "policies/shop.yaml": POLICY,
            "prod/kustomization.yaml": f"resources: [../base]\n{PINS}  newName: mirror.example/web\n",
        },
        # every overlay has a policy of its own: nothing takes what the base says
        {
            "policies/shop.yaml": IN_BASE + PRODUCTION,
            "prod/kustomization.yaml": f"resources: [../base]\n{PINS.replace('1.1.0', '1.0.1')}",
        },
    ],
)
def test_an_overlay_that_sets_the_image_is_named(tmp_path: Path, files: Files) -> None:
    assert told(tmp_path, {**BASE, **files}) == OVERRIDDEN


@pytest.mark.parametrize(
    "files",
    [
        {"prod/kustomization.yaml": f"resources: [../other]\n{PINS}"},
        {"prod/kustomization.yaml": f"resources: [../base]\n{PINS.replace('/web', '/api')}"},
        # only the name is set: the tag of the base counts
        {"prod/kustomization.yaml": f"resources: [../base]\n{RENAMES}"},
        # renamed before: the name of the base is no longer there
        {
            "mid/kustomization.yaml": f"resources: [../base]\n{RENAMES}",
            "prod/kustomization.yaml": f"resources: [../mid]\n{PINS}",
        },
        # the workload owns both
        {
            "policies/shop.yaml": POLICY,
            "prod/kustomization.yaml": f"resources: [../base]\n{PINS.replace('1.1.0', '1.0.0')}",
        },
        # production has its own policy, and staging takes what the base says
        {
            "policies/shop.yaml": IN_BASE + PRODUCTION,
            "prod/kustomization.yaml": f"resources: [../base]\n{PINS.replace('1.1.0', '1.0.1')}",
            "staging/kustomization.yaml": "resources: [../base]\n",
        },
        # a circle of Kustomizations is no overlay of anything
        {
            "prod/kustomization.yaml": "resources: [../more]\n",
            "more/kustomization.yaml": "resources: [../prod, https://example.com/base]\n",
        },
    ],
)
def test_what_overrides_nothing_is_not_named(tmp_path: Path, files: Files) -> None:
    assert told(tmp_path, {**BASE, **files}) == []


PATCH = (
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n"
    f"      containers:\n      - name: app\n        image: {IMAGE}:1.1.0\n"
)
OPERATION = f"- op: replace\n  path: /spec/template/spec/containers/0/image\n  value: {IMAGE}:1.1.0\n"
TARGETED = "target: {kind: Deployment, name: we.}"


def inline(patch: str) -> str:
    """A patch as it stands inside of a Kustomization."""
    return "|-\n" + "".join(f"        {line}\n" for line in patch.splitlines())


FLUX_DEPLOYS = (
    "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: web}\n"
    f"spec:\n  path: ./base\n  images:\n  - name: {IMAGE}\n    newTag: 1.1.0\n"
)
ARGO_DEPLOYS = (
    "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web}\n"
    f"spec:\n  source:\n    path: base\n    kustomize:\n      images: ['{IMAGE}:1.1.0']\n"
)
ARGO_MAKES = (
    "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: web}\nspec:\n  template:\n"
    f"    spec:\n      source:\n        path: ./base/\n        kustomize: {{images: ['{IMAGE}:1.1.0']}}\n"
)

FURTHER_OUT: dict[str, Files] = {
    "patch": {
        "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
        "prod/p.yaml": PATCH,
    },
    "older spelling of a patch": {
        "prod/kustomization.yaml": "resources: [../base]\npatchesStrategicMerge: [p.yaml]\n",
        "prod/p.yaml": PATCH,
    },
    "patch inline": {"prod/kustomization.yaml": f"resources: [../base]\npatches:\n- patch: {inline(PATCH)}"},
    "patch of a component": {
        "pin/kustomization.yaml": "kind: Component\npatches: [{path: p.yaml}]\n",
        "pin/p.yaml": PATCH,
        "prod/kustomization.yaml": "resources: [../base]\ncomponents: [../pin]\n",
    },
    "JSON patch inline": {
        "prod/kustomization.yaml": f"resources: [../base]\npatches:\n- {TARGETED}\n"
        f"  patch: {inline(OPERATION)}"
    },
    "JSON patch": {
        "prod/kustomization.yaml": f"resources: [../base]\npatchesJson6902:\n- {TARGETED}\n  path: p.yaml\n",
        "prod/p.yaml": OPERATION,
    },
    "Flux": {"clusters/web.yaml": FLUX_DEPLOYS},
    "Flux, a folder without a Kustomization": {
        "base/kustomization.yaml": "",
        "clusters/web.yaml": FLUX_DEPLOYS,
    },
    "Flux, a patch": {
        "clusters/web.yaml": FLUX_DEPLOYS.partition("  images:")[0]
        + f"  patches:\n  - patch: {inline(PATCH)}"
    },
    "Flux by the name that the base asks for": {
        "base/web.yaml": deployment("web:1.0.0"),
        "base/kustomization.yaml": f"resources: [web.yaml]\nimages:\n- name: web\n  newName: {IMAGE}\n"
        "  newTag: 1.0.0\n",
        "clusters/web.yaml": FLUX_DEPLOYS.replace(f"name: {IMAGE}", "name: web"),
    },
    "Argo CD": {"argo/web.yaml": ARGO_DEPLOYS},
    "Argo CD by another name": {"argo/web.yaml": ARGO_DEPLOYS.replace("['", f"['{IMAGE}=m.example/")},
    "ApplicationSet": {"argo/web.yaml": ARGO_MAKES},
}


@pytest.mark.parametrize("files", FURTHER_OUT.values(), ids=FURTHER_OUT)
def test_whatever_sets_the_image_further_out_is_named(tmp_path: Path, files: Files) -> None:
    assert [code for place, code in told(tmp_path, {**BASE, **files}) if place.startswith("base/")] == [
        "lint/overridden"
    ]


HARMLESS: dict[str, Files] = {
    "patch that nobody applies": {"prod/kustomization.yaml": "resources: [../base]\n", "prod/p.yaml": PATCH},
    "patch of something else": {
        "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
        "prod/p.yaml": PATCH.replace("{name: web}", "{name: api}"),
    },
    "patch of another container": {
        "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
        "prod/p.yaml": PATCH.replace("name: app", "name: side"),
    },
    "patch for other labels": {
        "prod/kustomization.yaml": "resources: [../base]\npatches:\n"
        "- path: p.yaml\n  target: {labelSelector: a=b}\n",
        "prod/p.yaml": PATCH,
    },
    "JSON patch of another container": {
        "prod/kustomization.yaml": f"resources: [../base]\npatches:\n- {TARGETED}\n"
        f"  patch: {inline(OPERATION.replace('/0/', '/1/'))}"
    },
    "JSON patch of another resource": {
        "prod/kustomization.yaml": "resources: [../base]\npatches:\n- target: {kind: Deployment, name: w}\n"
        f"  patch: {inline(OPERATION)}"
    },
    "JSON test": {
        "prod/kustomization.yaml": f"resources: [../base]\npatches:\n- {TARGETED}\n"
        f"  patch: {inline(OPERATION.replace('replace', 'test'))}"
    },
    "broken target": {
        "prod/kustomization.yaml": "resources: [../base]\npatches:\n- target: {kind: '('}\n"
        f"  patch: {inline(OPERATION)}"
    },
    "patch of the same workload": {
        "policies/shop.yaml": POLICY,
        "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
        "prod/p.yaml": PATCH.replace("1.1.0", "1.0.0"),
    },
    "Flux elsewhere": {"clusters/web.yaml": FLUX_DEPLOYS.replace("./base", "./bas")},
    "Flux, a folder further up": {"clusters/web.yaml": FLUX_DEPLOYS.replace("/base", "/base/deeper")},
    "Flux, only the name": {
        "clusters/web.yaml": FLUX_DEPLOYS.replace("newTag: 1.1.0", "newName: m.example/w")
    },
    "Argo CD, another image": {"argo/web.yaml": ARGO_DEPLOYS.replace("acme/web", "acme/api")},
    "Argo CD, a templated path": {"argo/web.yaml": ARGO_MAKES.replace("./base/", "'{{path}}'")},
    "Argo CD, no Kustomization": {"base/kustomization.yaml": "", "argo/web.yaml": ARGO_DEPLOYS},
    "production has its own policy, and a cluster deploys the base": {
        "policies/shop.yaml": IN_BASE + PRODUCTION,
        "prod/kustomization.yaml": f"resources: [../base]\n{PINS.replace('1.1.0', '1.0.1')}",
        "clusters/web.yaml": FLUX_DEPLOYS.partition("  images:")[0],
    },
}


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_what_does_not_set_the_image_is_not_named(tmp_path: Path, files: Files) -> None:
    assert told(tmp_path, {**BASE, **files}) == []


def test_an_image_set_in_a_kustomization_may_be_set_again_further_out(tmp_path: Path) -> None:
    files = {
        "policies/shop.yaml": IN_BASE,
        "base/kustomization.yaml": "images:\n- name: web\n"
        f"  newName: {IMAGE}\n  newTag: 1.0.0\nresources: [web.yaml]\n",
    }
    outer = f"resources: [../base]\n{PINS}"
    assert told(tmp_path / "a", {**files, "prod/kustomization.yaml": outer}) == [
        ("base/kustomization.yaml:4", "lint/overridden")
    ]
    other = outer.replace(IMAGE, "web")
    assert told(tmp_path / "b", {**files, "prod/kustomization.yaml": other}) == []


# -- other bots ---------------------------------------------------------------------------------------

WEB = {"apps/web.yaml": deployment(f"{IMAGE}:1.0.0")}
VALUES = {"apps/values.yaml": f"image:\n  repository: {IMAGE}\n  tag: 1.0.0\n"}
KUBERNETES = '"kubernetes": {"managerFilePatterns": ["/^apps/.+\\\\.yaml$/"]}'
UPDATES = "version: 2\nupdates:\n- package-ecosystem: docker\n  directory: /apps\n"
APPLICATION = (
    "kind: Application\nmetadata:\n  name: web\n  annotations:\n"
    f"    argocd-image-updater.argoproj.io/image-list: web={IMAGE}:~1.0\n"
    "    argocd-image-updater.argoproj.io/write-back-method: git:secret:argocd/git\n"
    "spec: {source: {repoURL: https://example.com/r, path: apps}}\n"
)
TARGET = "    argocd-image-updater.argoproj.io/write-back-target: "
UPDATER = (
    "kind: ImageUpdater\nmetadata: {name: all}\nspec:\n  writeBackConfig: {method: git}\n"
    f"  applicationRefs:\n  - namePattern: we*\n    images: [{{alias: web, imageName: {IMAGE}}}]\n"
)
PLAIN_APPLICATION = "kind: Application\nmetadata: {name: web}\nspec: {source: {path: apps}}\n"
SET = (
    "kind: ApplicationSet\nmetadata: {name: all}\nspec:\n"
    "  generators: [{git: {directories: [{path: ap*}, {path: web, exclude: true}]}}]\n  template:\n    "
    + APPLICATION.partition("\n")[2].replace("\n", "\n    ").replace("path: apps", "path: PATH")
)
COMMENTS = (
    '{"customManagers": [{"customType": "regex", "managerFilePatterns": ["/^apps/.+\\\\.yaml$/"],'
    ' "matchStrings": ["# renovate: datasource=(?<datasource>.*?) depName=(?<depName>.*?)\\\\s.*?:'
    ' (?<currentValue>.*?)\\\\s"]}]}'
)

WRITTEN_TOO: dict[str, Files] = {
    "kubernetes manager": {**WEB, "renovate.json": f"{{{KUBERNETES}}}"},
    "older spelling": {**WEB, ".renovaterc": '{"kubernetes": {"fileMatch": ["apps/.+\\\\.yaml$"]}}'},
    "JSON5": {
        **WEB,
        ".github/renovate.json5": "// ours\n{\n\textends: ['config:recommended'], /* all */\n"
        "\tkubernetes: { managerFilePatterns: ['apps/**/*.yaml', 'apps/*.yaml',], },\n}\n",
    },
    "values without a word": {**VALUES, "renovate.json": "{}"},
    "Kustomization without a word": {
        "apps/kustomization.yaml": f"images: [{{name: {IMAGE}, newTag: 1.0.0}}]\n",
        "renovate.json": '{"enabledManagers": ["kustomize"]}',
    },
    "only major versions are off": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchUpdateTypes": ["major"], "enabled": false}]}',
    },
    "another image is off": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchPackageNames": ["ghcr.io/acme/api"], "enabled": false}]}',
    },
    "off and on again": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchManagers": ["helm-values"], "enabled": false},'
        ' {"matchFileNames": ["apps/**"], "enabled": true}]}',
    },
    "custom manager": {
        **WEB,
        "renovate.json": '{"customManagers": [{"customType": "regex", "datasourceTemplate": "docker",'
        ' "managerFilePatterns": ["apps/*.yaml"]}]}',
    },
    "Dependabot": {**WEB, ".github/dependabot.yml": UPDATES},
    "Dependabot by pattern": {
        **WEB,
        ".github/dependabot.yaml": UPDATES.replace("directory: /apps", 'directories: ["/ap*"]'),
    },
    "Dependabot ignores some updates": {
        **WEB,
        ".github/dependabot.yml": UPDATES
        + "  ignore: [{dependency-name: '*', update-types: ['version-update:semver-major']}]\n",
    },
    "Keel": {
        "apps/web.yaml": deployment(f"{IMAGE}:1.0.0").replace(
            "  name: web\n", "  name: web\n  annotations: {keel.sh/policy: minor}\n"
        )
    },
    "Argo CD": {**WEB, "argo/web.yaml": APPLICATION},
    "Argo CD in a Kustomization": {
        "apps/kustomization.yaml": f"images: [{{name: {IMAGE}, newTag: 1.0.0}}]\n",
        "argo/web.yaml": APPLICATION.replace("spec:", f"{TARGET}kustomization\nspec:"),
    },
    "Argo CD in values": {
        **VALUES,
        "argo/web.yaml": APPLICATION.replace("spec:", f'{TARGET}"helmvalues:/apps/values.yaml"\nspec:'),
    },
    "Argo CD by a template": {**WEB, "argo/set.yaml": SET.replace("PATH", "apps")},
    "Argo CD by the folders of a template": {
        **WEB,
        "argo/set.yaml": SET.replace("PATH", "'{{ .path.path }}'"),
    },
    "Argo CD by a part of a template": {
        "teams/a/apps/web.yaml": deployment(f"{IMAGE}:1.0.0"),
        "argo/set.yaml": SET.replace("PATH", "'teams/{{team}}/apps'"),
    },
    "JSON5 with an escape": {
        **WEB,
        "renovate.json5": "{kubernetes: {fileMatch: ['apps/.+\\\\.yaml$', \"it's\", 'a\\'b']}}",
    },
    "comment for Renovate": {
        "apps/chart.yaml": f"image:\n  repository: {IMAGE}\n"
        f"  # renovate: datasource=docker depName={IMAGE}\n  tag: 1.0.0\n",
        "renovate.json": COMMENTS,
    },
    "everything but another manager off": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchPackageNames": ["*"], "matchManagers": ["npm"],'
        ' "enabled": false}]}',
    },
    "Renovate's own preset": {
        **VALUES,
        "renovate.json": '{"extends": ["config:recommended", ":dependencyDashboard"]}',
    },
    "preset of others, and told here": {
        **WEB,
        "renovate.json": f'{{"extends": ["local>acme/renovate"], {KUBERNETES}}}',
    },
    "Argo CD by a resource": {**WEB, "argo/web.yaml": f"{PLAIN_APPLICATION}---\n{UPDATER}"},
}

ALONE: dict[str, Files] = {
    "no file pattern": {**WEB, "renovate.json": "{}"},
    "other files": {**WEB, "renovate.json": f"{{{KUBERNETES.replace('apps', 'infra')}}}"},
    "off": {**VALUES, "renovate.json": '{"enabled": false}'},
    "manager off": {**VALUES, "renovate.json": '{"helm-values": {"enabled": false}}'},
    "other managers": {**VALUES, "renovate.json": '{"enabledManagers": ["npm"]}'},
    "file ignored": {**VALUES, "renovate.json": '{"ignorePaths": ["apps/**"]}'},
    "other files included": {**VALUES, "renovate.json": '{"includePaths": ["infra/**"]}'},
    "image ignored": {**VALUES, "renovate.json": f'{{"ignoreDeps": ["{IMAGE}"]}}'},
    "image off": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchPackageNames": ["ghcr.io/acme/**"], "enabled": false}]}',
    },
    "off by something not known here": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchJsonata": ["x"], "enabled": false}]}',
    },
    "tag alone": {
        "apps/values.yaml": f"image:\n  repository: {IMAGE}\n  tag: 1.0.0\n",
        "renovate.json": f'{{"enabledManagers": ["kubernetes"], {KUBERNETES}}}',
    },
    "custom manager of something else": {
        **WEB,
        "renovate.json": '{"customManagers": [{"customType": "regex", "datasourceTemplate": "npm",'
        ' "managerFilePatterns": ["apps/*.yaml"]}]}',
    },
    "everything off": {
        **VALUES,
        "renovate.json": '{"packageRules": [{"matchPackageNames": ["*"], "enabled": false}]}',
    },
    "folder ignored": {**VALUES, "renovate.json": '{"ignorePaths": ["pps/"]}'},
    "part of a path ignored": {**VALUES, "renovate.json": '{"ignorePaths": ["app"]}'},
    "Docker is off": {**VALUES, "renovate.json": '{"extends": ["config:recommended", "docker:disable"]}'},
    "preset of others": {**VALUES, "renovate.json": '{"extends": ["github>acme/renovate"]}'},
    "comment of something else": {
        "apps/chart.yaml": f"image:\n  repository: {IMAGE}\n  tag: 1.0.0\n"
        "\n# renovate: datasource=docker depName=other\nother: 1.0.0\n",
        "renovate.json": COMMENTS,
    },
    "no comment": {**WEB, "renovate.json": COMMENTS},
    "Argo CD, any folder": {**WEB, "argo/set.yaml": SET.replace("PATH", "'{{name}}'")},
    "Argo CD, other folders of a template": {
        "web/web.yaml": deployment(f"{IMAGE}:1.0.0"),
        "argo/set.yaml": SET.replace("PATH", "'{{path}}'"),
    },
    "broken config": {**VALUES, "renovate.json": "{"},
    "broken pattern": {**WEB, "renovate.json": '{"kubernetes": {"managerFilePatterns": ["/(/"]}}'},
    "elsewhere": {**VALUES, "infra/renovate.json": "{}"},
    "other folder": {**WEB, ".github/dependabot.yml": UPDATES.replace("/apps", "/")},
    "other ecosystem": {**WEB, ".github/dependabot.yml": UPDATES.replace("docker", "npm")},
    "no pull requests": {**WEB, ".github/dependabot.yml": f"{UPDATES}  open-pull-requests-limit: 0\n"},
    "Dependabot ignores it": {
        **WEB,
        ".github/dependabot.yml": f"{UPDATES}  ignore: [{{dependency-name: acme/*}}]\n",
    },
    "broken Dependabot": {**WEB, ".github/dependabot.yml": "updates: ["},
    "Keel off": {
        "apps/web.yaml": deployment(f"{IMAGE}:1.0.0").replace(
            "  name: web\n", "  name: web\n  annotations: {keel.sh/policy: never}\n"
        )
    },
    "Keel elsewhere": {
        "apps/web.yaml": deployment(f"{IMAGE}:1.0.0")
        + "---\nkind: Deployment\nmetadata:\n  name: other\n  labels: {keel.sh/policy: all}\n"
    },
    "Argo CD without Git": {**WEB, "argo/web.yaml": APPLICATION.replace("git:secret:argocd/git", "argocd")},
    "Argo CD, another image": {**WEB, "argo/web.yaml": APPLICATION.replace(f"{IMAGE}:", "ghcr.io/acme/api:")},
    "Argo CD, another path": {**WEB, "argo/web.yaml": APPLICATION.replace("path: apps", "path: app")},
    "Argo CD, another target": {
        **WEB,
        "argo/web.yaml": APPLICATION.replace("spec:", f"{TARGET}kustomization\nspec:"),
    },
    "Argo CD, another name": {
        **WEB,
        "argo/web.yaml": f"{PLAIN_APPLICATION}---\n{UPDATER.replace('we*', 'api')}",
    },
}


@pytest.mark.parametrize("files", WRITTEN_TOO.values(), ids=WRITTEN_TOO)
def test_another_bot_that_writes_at_a_site_is_named(tmp_path: Path, files: Files) -> None:
    assert [code for _, code in told(tmp_path, files)] == ["lint/second-writer"]


@pytest.mark.parametrize("files", ALONE.values(), ids=ALONE)
def test_a_bot_that_does_not_write_there_is_not_named(tmp_path: Path, files: Files) -> None:
    assert told(tmp_path, files) == []


def test_a_hostile_config_costs_no_time_worth_mentioning(tmp_path: Path) -> None:
    for number, text in enumerate(("/*" * 500_000, '"' + '\\"' * 500_000, "'" + "//" * 500_000)):
        assert told(tmp_path / str(number), {**VALUES, "renovate.json": f"{{{text}"}) == []


def test_a_hostile_comment_costs_no_time_worth_mentioning(tmp_path: Path) -> None:
    comment = f"# {'renovate: ' * 100_000}datasource=dockers\n"
    assert told(tmp_path, {"apps/web.yaml": comment + WEB["apps/web.yaml"], "renovate.json": COMMENTS}) == []


def test_the_sentence_says_which_bot_why_and_how_to_stop_it(tmp_path: Path) -> None:
    told(tmp_path, {**WEB, ".github/dependabot.yml": UPDATES})
    (finding,) = check(tmp_path, Scope(), now=NOW).findings
    assert finding.sentence == (
        "Dependabot also writes at apps/web.yaml#spec.template.spec.containers[app].image: "
        ".github/dependabot.yml:3 names the folder for docker"
    )
    assert finding.reason.next_step == "add the image to `ignore` at .github/dependabot.yml:3"


# -- rules ---------------------------------------------------------------------------------------------

RULES = "version: 1\nrules:\n- {name: ours, registries: [registry.example.com]}\n"


def test_what_breaks_a_rule_is_an_error_with_both_places(tmp_path: Path) -> None:
    rules = {**WEB, "policies/_rules.yaml": RULES}
    assert told(tmp_path, rules) == [("policies/shop.yaml:4", "rule/violated")]
    (finding,) = check(tmp_path, Scope(), now=NOW).findings
    assert finding.error
    assert not finding.sentence.startswith("policies/shop.yaml")
    assert "policies/_rules.yaml:3" in finding.sentence
    kept = {**WEB, "policies/_rules.yaml": RULES.replace("registry.example.com", "ghcr.io")}
    assert told(tmp_path, kept) == []


def test_every_rule_that_is_broken_is_told_at_once(tmp_path: Path) -> None:
    rules = RULES.replace("[registry.example.com]", "[registry.example.com], require: [owner]")
    rules += "- {name: more, forbid: [semver]}\n"
    assert told(tmp_path, {**WEB, "policies/_rules.yaml": rules}) == [
        ("policies/shop.yaml:3", "rule/violated"),
        ("policies/shop.yaml:4", "rule/violated"),
        ("policies/shop.yaml:5", "rule/violated"),
    ]


# -- coverage, places ---------------------------------------------------------------------------------


def test_coverage_names_every_image_that_nobody_owns(tmp_path: Path) -> None:
    files = {
        **WEB,
        "apps/api.yaml": deployment("ghcr.io/acme/api:2.0.0"),
        "apps/x.yaml": "image: {{ .x }}:1\n",
    }
    assert told(tmp_path, files, coverage=True) == [("apps/api.yaml:13", "lint/unowned")]
    assert told(tmp_path, files) == []


def test_a_finding_points_at_the_characters_it_is_about(tmp_path: Path) -> None:
    policy = (
        "version: 1\nworkloads:\n  web:\n"
        f"    image: {IMAGE}\n    semver: '>=1.2.0-0 <2'   # a range\n"
        '    exclude:\n      - "*-rc*"\n      - "1*-rc*"\n'
        f"  api:\n    image: {IMAGE}x\n    semver: 1.10\n"
    )
    told(tmp_path, {**WEB, "policies/shop.yaml": policy})
    found = check(tmp_path, Scope(), now=NOW).findings
    shown = {f.reason.code: (f.text or "")[(f.column or 1) - 1 : (f.end or 1) - 1] for f in found}
    assert shown == {
        "policy/unquoted": "1.10",
        "lint/upper-prerelease": "<2",
        "lint/no-effect": "1*-rc*",
    }
    assert {f.line for f in found} == {5, 8, 11}


def test_a_comment_at_a_site_that_names_nobody_is_told_with_its_line(tmp_path: Path) -> None:
    web = deployment(f"{IMAGE}:1.0.0").replace("# the version", "# automator: wbe")
    assert told(tmp_path, {"apps/web.yaml": web}) == [("apps/web.yaml:13", "claim/unknown-workload")]


def test_lines_that_cannot_be_shown_leave_the_finding_as_it_is(tmp_path: Path) -> None:
    long = f"image: {IMAGE}x:1.0.0 # {'x' * 3000}\n"
    told(tmp_path, {**WEB, "apps/long.yaml": long})
    (finding,) = check(tmp_path, Scope(), now=NOW, coverage=True).findings
    assert (finding.place, finding.text, finding.column) == ("apps/long.yaml:1", None, None)


# -- runtimes ---------------------------------------------------------------------------------------------


def test_what_comes_after_a_chart_is_told_that_no_runtime_shows_it(tmp_path: Path) -> None:
    policies = (
        "version: 1\nworkloads:\n  staging:\n    image: ghcr.io/acme/charts/web\n    semver: 1.x\n"
        '    where: {paths: ["staging/**"]}\n  prod:\n    image: ghcr.io/acme/charts/web\n    semver: 1.x\n'
        '    where: {paths: ["prod/**"]}\n    after: {workload: staging, soak: 4h}\n'
    )
    chart = (
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: web}\n"
        "spec: {url: oci://ghcr.io/acme/charts/web, ref: {tag: 1.0.0}}\n"
    )
    told(
        tmp_path,
        {"policies/shop.yaml": policies, "staging/web.yaml": chart, "prod/web.yaml": chart},
    )

    def said(*paths: str) -> list[tuple[str, str]]:
        found = check(tmp_path, Scope(), runtimes=[RuntimeScope("staging", paths)]).findings
        return [(finding.place, finding.reason.code) for finding in found]

    assert said("staging/**") == [("policies/shop.yaml:11", "lint/chart-unseen")]
    assert said("clusters/**") == []
