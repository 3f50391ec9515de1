"""Fields that only `where.field` ties to a workload, over whole cycles: found by what the path says."""

from __future__ import annotations

import pytest
from parts.stage import Stage

from automator.reasons import Status

LIST = "# Newest first.\nversions:\n  - {version}   # ours\n  - older\n"
NAMED = "tools:\n  - {{name: db, at: 5.0.0}}\n  - {{at: {version}, name: web}}\n"
NESTED = "images:\n  - [{version}, web]\n"
BARE = "- {version}\n- older\n"
EMBEDDED = "values: |\n  # inside\n  image:\n    tag: {version}\n  replicas: 2\n"
QUOTED = 'versions:\n  caf\\u00e9: 1\n"caf\\u00e9": {version}\n'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("versions[0]", LIST),
        ("tools[name=web].at", NAMED),
        ("tools[name=web].at[0]", NAMED.replace("{version}", "[{version}]").replace("5.0.0", "[5]")),
        ("images[0][0]", NESTED),
        ("[0]", BARE),
        ("values|image.tag", EMBEDDED),
        ('["café"]', QUOTED),
    ],
)
def test_a_field_is_found_in_a_file_that_says_no_image(stage: Stage, path: str, text: str) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    policy = (
        f"version: 1\nworkloads:\n  web:\n    image: {stage.host}/acme/web\n    semver: '>=1.0 <2'\n"
        f"    where: {{field: '{path}', paths: [v.yaml]}}\n"
    )
    stage.commit({"policies/web.yaml": policy, "v.yaml": text.format(version="1.4.2")})
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.RELEASED, "1.4.2")
    assert stage.repo.read("v.yaml") == text.format(version="1.4.3").rstrip()
    assert stage.numstat("main") == ["1\t1\tv.yaml"]
