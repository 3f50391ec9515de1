"""`[[rules]]` of the config: the same guard rails as `_rules.yaml`, and how the config refuses them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from automator.config import Config, RuleConfig, load
from automator.core.guardrails import bind
from automator.core.policy import Workload, parse_policies
from automator.core.policykeys import RuleKeys
from automator.errors import ConfigError
from automator.reasons import Reason

SHOP = '[repos.shop]\nurl = "https://git.example.com/shop.git"\n'
EVERYTHING = """
[[rules]]
name = "production"
paths = ["clusters/production/**"]
owners = ["shop"]
environments = ["production"]
registries = ["ghcr.io"]
images = ["ghcr.io/acme/*"]
require = ["owner"]
forbid = ["urgent"]
platforms = ["linux/amd64"]
min_age = "30m"
step = "minor"

[[rules]]
forbid = ["downgrade"]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(SHOP + text)
    return file


def refusal(file: Path, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return caught.value


def types(field: FieldInfo) -> set[Any]:
    """What a field may hold, without the sentences about it."""
    members = get_args(field.annotation)
    return {get_args(t)[0] if get_origin(t) is Annotated else t for t in members}


def test_rules_have_the_keys_of_a_rules_file_and_their_types() -> None:
    assert RuleConfig.model_fields.keys() == RuleKeys.model_fields.keys()
    for name, field in RuleConfig.model_fields.items():
        in_file = {tuple[str, ...] if t == list[str] else t for t in types(RuleKeys.model_fields[name])}
        assert types(field) == in_file, name


def test_a_rule_means_the_same_in_the_config_and_in_a_file(tmp_path: Path) -> None:
    rails = load(written(tmp_path, EVERYTHING), {}).rails
    text = json.dumps({"version": 1, **tomllib.loads(EVERYTHING)})
    in_file = parse_policies({"policies/_rules.yaml": text}).rails
    assert [replace(rail, rank=("", i), place="") for i, rail in enumerate(rails)] == [
        replace(rail, rank=("", i), place="") for i, rail in enumerate(in_file)
    ]
    assert rails[0].min_age == timedelta(minutes=30)


def test_a_rule_of_the_config_is_named_by_its_file_and_number(tmp_path: Path) -> None:
    rails = load(written(tmp_path, EVERYTHING), {}).rails
    text = "version: 1\nworkloads:\n  web: {image: nginx, semver: 1.x, downgrade: true}\n"
    (workload,) = parse_policies({"policies/shop.yaml": text}).workloads
    assert isinstance(workload, Workload)
    found = bind(workload, (), rails)
    assert isinstance(found, Reason)
    assert found.sentence == (
        "policies/shop.yaml:3: `downgrade` is set, but a rule (config.toml: rules[1]) wants no `downgrade`"
    )


def test_rules_may_come_from_the_environment_as_json(tmp_path: Path) -> None:
    file = written(tmp_path, EVERYTHING)
    (rail,) = load(file, {"AUTOMATOR_RULES": '[{"forbid": ["urgent"]}]'}).rails
    assert (rail.forbid, rail.place) == (("urgent",), "the environment (AUTOMATOR_RULES): rules[0]")


def test_a_config_without_rules_has_no_rails(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}).rails == ()


def test_a_changed_rule_changes_the_fingerprint_of_every_repo(tmp_path: Path) -> None:
    before = load(written(tmp_path, EVERYTHING), {}).fingerprint("shop")
    assert load(written(tmp_path, EVERYTHING), {}).fingerprint("shop") == before
    after = load(written(tmp_path, EVERYTHING.replace("30m", "31m")), {}).fingerprint("shop")
    assert after != before


@pytest.mark.parametrize(
    ("text", "key", "expected", "found"),
    [
        ('[[rules]]\nforbid = "urgent"', "rules[0].forbid", "a list of texts", "text"),
        ("[[rules]]\nowners = []\nstep = 'minor'", "rules[0].owners", "at least one entry", "[]"),
        ('[[rules]]\nowners = ["a", 5]\nstep = "minor"', "rules[0].owners[1]", "text in quotes", "a number"),
        ('[[rules]]\nstep = "huge"', "rules[0].step", "'minor'", "huge"),
        ('[[rules]]\nname = ""\nstep = "minor"', "rules[0].name", "not empty", '""'),
        ("[[rules]]\nmin_age = 30", "rules[0].min_age", "text in quotes", "a number"),
        ('[rules]\nforbid = ["urgent"]', "rules", "[[rules]]", "a table"),
        ('[[rules]]\nmin_age = "soon"', "rules[0].min_age", "such as 30m", '"soon"'),
        ('[[rules]]\nmin_age = "0s"', "rules[0].min_age", "longer than zero", '"0s"'),
        ('[[rules]]\nname = "x"', "rules[0]", "a demand such as `registries`", "demands nothing"),
        (
            '[[rules]]\nstep = "minor"\n[[rules]]\nregistries = ["ghcr.io", "https://quay.io"]',
            "rules[1].registries[1]",
            "a registry host such as ghcr.io",
            '"https://quay.io"',
        ),
        ('[[rules]]\nimages = ["acme/*"]', "rules[0].images[0]", "an image repository", '"acme/*"'),
        ('[[rules]]\nplatforms = ["amd64"]', "rules[0].platforms[0]", "linux/amd64", '"amd64"'),
        ('[[rules]]\nrequire = ["ownr"]', "rules[0].require[0]", "the key `owner`", '"ownr"'),
        ('[[rules]]\npaths = ["#x"]\nstep = "minor"', "rules[0].paths[0]", "gitignore-style", '"#x"'),
    ],
)
def test_a_wrong_rule_names_file_key_expected_and_found(
    tmp_path: Path, text: str, key: str, expected: str, found: str
) -> None:
    file = written(tmp_path, text)
    error = refusal(file)
    assert error.reason.code == "config/key"
    before, _, after = error.reason.sentence.partition(", found ")
    assert before.startswith(f"{file}: {key}: expected ")
    assert expected in before
    assert found in after


def test_every_flaw_is_told_at_once(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, '[[rules]]\nmin_age = "x"\nforbid = ["x"]\n[[rules]]\nname = "x"\n'))
    told = " ".join([error.reason.sentence, *error.__notes__])
    assert all(key in told for key in ("rules[0].min_age", "rules[0].forbid[0]", "rules[1]:"))


def test_an_unknown_key_of_a_rule_is_an_error_with_the_likely_one(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, '[[rules]]\nregistreis = ["ghcr.io"]\n'))
    assert error.reason.code == "config/unknown-key"
    assert "rules[0].registreis" in error.reason.sentence
    assert "did you mean registries?" in error.reason.sentence


def test_a_rule_can_demand_pull_requests_and_no_push(tmp_path: Path) -> None:
    found = load(written(tmp_path, "[[rules]]\ndeliver = 'pull-request'\n"), {})
    assert found.rules[0].deliver == "pull-request"
    error = refusal(written(tmp_path, "[[rules]]\ndeliver = 'push'\n"))
    assert error.reason.code == "config/key"
    assert "rules[0].deliver: expected" in error.reason.sentence


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('[{"forbid": ["ugrent"]}]', "rules[0].forbid[0]: expected the key `urgent`"),
        ('[{"frobid": ["urgent"]}]', "rules[0].frobid is no key"),
        ("urgent", "rules: expected tables"),
        ('{"forbid": ["urgent"]}', "rules: expected tables"),
    ],
)
def test_a_wrong_variable_is_named_itself(tmp_path: Path, value: str, told: str) -> None:
    error = refusal(written(tmp_path, ""), {"AUTOMATOR_RULES": value})
    assert error.reason.sentence.startswith(f"the environment (AUTOMATOR_RULES): {told}")


def test_a_variable_for_one_rule_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    environ = {"AUTOMATOR_RULES": '[{"forbid": ["urgent"]}]', "AUTOMATOR_RULES__1__FORBID": "downgrade"}
    assert "AUTOMATOR_RULES together" in refusal(written(tmp_path, ""), environ).reason.sentence


def test_a_config_that_is_not_loaded_from_a_file_is_checked_too() -> None:
    with pytest.raises(ValidationError, match=r"a duration longer than zero.* for rules\[0\].min_age"):
        Config(rules=(RuleConfig(min_age="never"),))
    (rail,) = Config(rules=(RuleConfig(min_age="1h"),)).rails
    assert rail.place == "the config: rules[0]"
