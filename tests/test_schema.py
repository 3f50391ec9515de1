"""The published JSON Schema: equal to the models, and of one mind with what reads policy files."""

from __future__ import annotations

import ast
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from automator.cli.entry import automator
from automator.cli.schema import ADDED, DIGEST, KINDS, NAME, PLATFORM, TAG, schema_of
from automator.core import policycompile, policyfile, policykeys, reference, yamltext
from automator.core.guardrails import read_rails
from automator.core.policy import InvalidWorkload, Workload, parse_policies
from automator.core.policyfile import read_policy_file

ROOT = Path(__file__).parents[1]
PUBLISHED = {kind: ROOT / "docs" / "schema" / f"{kind}.schema.json" for kind in KINDS}
SCHEMA = {kind: Draft202012Validator(schema_of(kind)) for kind in KINDS}
WHOLE = schema_of("policy")
POLICY = SCHEMA["policy"]
SHAPE = {"policy/unknown-key", "policy/wrong-type", "policy/missing-key", "policy/unquoted"}


def plain(text: str) -> Any:
    """A YAML text as an editor of YAML 1.2 reads it: no dates, and only true and false are booleans."""
    (document,) = yamltext.parse(text)

    def value(node: Any) -> Any:
        match node:
            case yamltext.Alias():
                return value(node.target)
            case yamltext.Mapping():
                own = {value(key): value(one) for key, one in node.pairs}
                merged = own.pop("<<", {})
                sources = merged if isinstance(merged, list) else [merged]
                return {k: v for source in (*reversed(sources), own) for k, v in source.items()}
            case yamltext.Sequence():
                return [value(item) for item in node.items]
            case yamltext.Scalar() if node.style == "plain":
                known = {"true": True, "false": False, "": None, "null": None, "~": None}
                return known[node.value] if node.value in known else number(node.value)
        return node.value

    return value(document.root)


def number(text: str) -> Any:
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text


def problems(text: str) -> list[str]:
    return [why.code for _, why in parse_policies({"policies/shop.yaml": text}).problems]


def told(validator: Draft202012Validator, document: Any) -> list[str]:
    return [error.message for error in validator.iter_errors(document)]


# -- what is published -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_copy_is_what_the_command_prints(kind: str) -> None:
    done = CliRunner().invoke(automator, ["schema", kind])
    assert done.exit_code == 0
    assert PUBLISHED[kind].read_text(encoding="utf-8") == done.output, (
        f"run `automator schema {kind} > docs/schema/{kind}.schema.json`"
    )


def test_without_a_word_the_command_prints_the_schema_of_policy_files() -> None:
    done = CliRunner().invoke(automator, ["schema"])
    assert json.loads(done.output)["$id"] == "urn:automator:schema:policy:1"


def objects(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of a schema, with the way to it."""
    if isinstance(node, dict):
        yield path, node
        for word, inner in node.items():
            yield from objects(inner, f"{path}/{word}")
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            yield from objects(inner, f"{path}/{i}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_schema_made_for_editors(kind: str) -> None:
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    for path, node in objects(schema):
        assert node.get("type") != "null", path
        assert node.get("default", "") is not None, path
        if not path.endswith("/properties") and node.get("type") == "object":
            assert node.get("additionalProperties") is not None, path
    for name, model in [("", schema), *schema["$defs"].items()]:
        for key, node in model.get("properties", {}).items():
            assert node.get("description"), f"{name}.{key}"
            said = {"enum", "examples", "default", "$ref", "const"} & node.keys()
            assert said or node["type"] == "array", f"{name}.{key} helps nobody who types it"


def test_every_key_of_the_models_is_in_the_schema_and_no_other() -> None:
    models = {
        "Where": policykeys.WhereKeys, "Hold": policykeys.HoldKeys, "Window": policykeys.WindowKeys,
        "After": policykeys.AfterKeys, "Group": policykeys.GroupKeys, "Urgent": policykeys.UrgentKeys,
        "PullRequest": policykeys.PullRequestKeys, "Keys": policykeys.WorkloadKeys,
    }  # fmt: skip
    defs = schema_of("policy")["$defs"]
    assert defs.keys() == {*models, "Workload"}
    for name, model in models.items():
        assert tuple(defs[name]["properties"]) == policykeys.key_names(model)
    rules = schema_of("rules")["$defs"]["Rule"]
    assert tuple(rules["properties"]) == policykeys.key_names(policykeys.RuleKeys)


def test_what_is_added_belongs_to_a_key_that_exists() -> None:
    for name, keys in ADDED.items():
        model = getattr(policykeys, f"{name}Keys")
        assert keys.keys() <= set(policykeys.key_names(model)), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_accepted_where_it_stands(kind: str) -> None:
    schema = schema_of(kind)
    for path, node in objects(schema):
        if "examples" not in node or path.endswith("/properties"):
            continue
        here = {"$schema": schema["$schema"], "$defs": schema["$defs"], **node}
        for example in (*node["examples"], *([node["default"]] if "default" in node else [])):
            assert told(Draft202012Validator(here), example) == [], path


def test_its_patterns_are_those_that_files_are_read_with() -> None:
    assert f"^{reference.TAG.pattern}$" == TAG
    assert f"^(?:{reference.DIGEST.pattern})$" == DIGEST
    assert f"^{policycompile.PLATFORM.pattern}$" == PLATFORM
    assert f"^{policyfile.NAME.pattern}$" == NAME


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key, node["default"])
        for key, node in schema_of("policy")["$defs"]["Keys"]["properties"].items()
        if "default" in node
    ],
)
def test_a_default_is_what_holds_without_the_key(key: str, value: Any) -> None:
    keys = {"image": "ghcr.io/acme/web", "semver": "*"}
    with_it, without = (compiled(keys | more) for more in ({key: value}, {}))
    assert with_it == without


@pytest.mark.parametrize(
    ("key", "with_it", "without"),
    [
        ("group", {"name": "a", "match": "version"}, "a"),
        (
            "windows",
            [{"deny": "0 9 * * *", "for": "1h", "zone": "UTC"}],
            [{"deny": "0 9 * * *", "for": "1h"}],
        ),
        ("after", {"workload": "up/x", "soak": "0s", "need": "all"}, {"workload": ["up/x"]}),
    ],
)
def test_defaults_inside_of_keys_hold_too(key: str, with_it: Any, without: Any) -> None:
    keys = {"image": "ghcr.io/acme/web", "semver": "*"}
    assert compiled({**keys, key: with_it}) == compiled({**keys, key: without})


def compiled(keys: Mapping[str, Any]) -> list[Any]:
    """What a workload's keys mean, whichever of them are written."""
    found = parse_policies({"shop.yaml": json.dumps({"version": 1, "workloads": {"web": keys}})})
    assert not found.problems
    (workload,) = found.workloads
    assert isinstance(workload, Workload)
    return [getattr(workload, name) for name in Workload.__slots__ if name != "keys"]


# -- files that are read -----------------------------------------------------------------------------


def accepted() -> list[Any]:
    """Every policy file that stands in the tests, the examples and the pages, and has nothing wrong."""
    files = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "policies").rglob("*.yaml")}
    texts = {f"{path}": text for path, text in files.items() if not path.name.startswith("_")}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts[f"{path.relative_to(ROOT)}:{node.lineno}"] = textwrap.dedent(node.value)
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        for i, block in enumerate(path.read_text().split("```yaml\n")[1:]):
            texts[f"{path.relative_to(ROOT)}-{i}"] = block.partition("```")[0]
    looks = {where: text for where, text in texts.items() if "version: 1" in text and "workloads:" in text}
    return [pytest.param(t, id=w) for w, t in looks.items() if parses(t) and not problems(t)]


def parses(text: str) -> bool:
    found = parse_policies({"shop.yaml": text})
    return bool(found.workloads) and not any(isinstance(w, InvalidWorkload) for w in found.workloads)


ACCEPTED = accepted()


def test_there_are_files_to_try() -> None:
    assert len(ACCEPTED) >= 25


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_file_that_is_in_order_is_accepted(text: str) -> None:
    assert told(POLICY, plain(text)) == []


GOOD = "image: nginx, semver: '*'"


def one(keys: str) -> str:
    return f"version: 1\nworkloads: {{web: {{{keys}}}}}\n"


WRONG = {
    "no version": "workloads: {}",
    "no workloads": "version: 1",
    "another version": "version: 2\nworkloads: {}",
    "a version as text": 'version: "1"\nworkloads: {}',
    "a key on top": "version: 1\nworkload: {}\nworkloads: {}",
    "a list of workloads": "version: 1\nworkloads: [{name: web}]",
    "a name with a slash": f"version: 1\nworkloads: {{a/b: {{{GOOD}}}}}",
    "nothing in a workload": "version: 1\nworkloads:\n  web:\n",
    "an unknown key": one(f"{GOOD}, semvr: '*'"),
    "a name that is no text": one(f"{GOOD}, verify: [7]"),
    "another way of delivery": one(f"{GOOD}, deliver: mail"),
    "one label as text": one(f"{GOOD}, pull_request: {{labels: release}}"),
    "an unknown key in where": one(f"{GOOD}, where: {{path: a}}"),
    "an empty where": one(f"{GOOD}, where: {{}}"),
    "no paths": one(f"{GOOD}, where: {{paths: []}}"),
    "text for a list": one(f"{GOOD}, exclude: '*-debug'"),
    "a number for text": one("image: nginx, semver: 1.10"),
    "a boolean for text": one(f"{GOOD}, owner: true"),
    "nothing for text": one(f"{GOOD}, owner: "),
    "text for a boolean": one(f"{GOOD}, downgrade: 'true'"),
    "an unknown order": one("image: nginx, order: random"),
    "an unknown step": one(f"{GOOD}, step: huge"),
    "an unknown pin": one(f"{GOOD}, pin: sha"),
    "no image": one("semver: '*'"),
    "no choice": one("image: nginx"),
    "glob and regex": one("image: nginx, order: version, glob: '*', regex: '.*'"),
    "follow and a range": one(f"{GOOD}, follow: stable"),
    "follow and a list": one("image: nginx, follow: stable, tags_from: docker.io/library/nginx"),
    "follow and a tag": one("image: nginx, follow: stable, pin: tag"),
    "a range and an order": one(f"{GOOD}, order: newest"),
    "platforms and a tag": one(f"{GOOD}, platforms: [linux/amd64], pin: tag"),
    "no platform": one(f"{GOOD}, platforms: [amd64]"),
    "an age without a unit": one(f"{GOOD}, min_age: '30'"),
    "an age in words": one(f"{GOOD}, min_age: 30 minutes"),
    "a tag that is none": one("image: nginx, follow: 'a b'"),
    "a rejected range": one(f"{GOOD}, reject: ['>1.4']"),
    "a day without a zone": one(f"{GOOD}, hold: {{reason: x, until: 2026-12-01}}"),
    "a hold without a reason": one(f"{GOOD}, hold: {{until: 2026-12-01T00:00:00Z}}"),
    "an empty reason": one(f"{GOOD}, hold: {{reason: ''}}"),
    "a window of both kinds": one(f"{GOOD}, windows: [{{allow: '0 9 * * *', deny: '0 9 * * *', for: 1h}}]"),
    "a window of no kind": one(f"{GOOD}, windows: [{{for: 1h}}]"),
    "a window without an end": one(f"{GOOD}, windows: [{{allow: '0 9 * * *'}}]"),
    "six fields": one(f"{GOOD}, windows: [{{allow: '0 0 9 * * *', for: 1h}}]"),
    "one window": one(f"{GOOD}, windows: {{allow: '0 9 * * *', for: 1h}}"),
    "after nothing": one(f"{GOOD}, after: {{soak: 1h}}"),
    "after both": one(f"{GOOD}, after: {{workload: staging/a, group: staging/b}}"),
    "a group without a name": one(f"{GOOD}, group: {{match: any}}"),
    "a group of no name": one(f"{GOOD}, group: ''"),
    "urgent without a reason": one(f"{GOOD}, urgent: {{version: 1.4.3}}"),
    "nothing for a time": f"version: 1\nfreeze: {{reason: x, until: }}\nworkloads: {{web: {{{GOOD}}}}}",
    "an unknown key in defaults": f"version: 1\ndefaults: {{imag: x}}\nworkloads: {{web: {{{GOOD}}}}}",
    "a freeze without a reason": f"version: 1\nfreeze: {{}}\nworkloads: {{web: {{{GOOD}}}}}",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused_by_both(text: str) -> None:
    assert problems(text)
    assert told(POLICY, plain(text))


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("version: 1\nfreeze: {reason: audit, until: 2026-12-01T00:00:00Z}", True),
        ("version: 1\nfreeze: {}", False),
        ("version: 1", False),
        ("version: 1\nfreeze: {reason: audit}\nworkloads: {}", False),
    ],
)
def test_a_freeze_is_judged_alike(text: str, fine: bool) -> None:
    found = parse_policies({"policies/_freeze.yaml": text})
    assert (not found.problems) is fine
    assert SCHEMA["freeze"].is_valid(plain(text)) is fine


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("version: 1\nrules: []", True),
        ("version: 1\nrules: [{name: all, registries: [ghcr.io], require: [owner]}]", True),
        ("version: 1\nrules: [{paths: ['apps/prod/**'], min_age: 1h, step: minor}]", True),
        ("version: 1\nrules: [{owners: [a]}]", False),
        ("version: 1\nrules: [{require: [ownr]}]", False),
        ("version: 1\nrules: [{platforms: [amd64]}]", False),
        ("version: 1\nrules: [{min_age: soon}]", False),
        ("version: 1\nrules: {require: [owner]}", False),
        ("version: 1", False),
    ],
)
def test_rules_are_judged_alike(text: str, fine: bool) -> None:
    assert (not read_rails("policies/_rules.yaml", text)[1]) is fine
    assert SCHEMA["rules"].is_valid(plain(text)) is fine


# -- laws --------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=6)
ODD = st.one_of(st.booleans(), st.integers(-3, 3), WORDS, st.just([]), st.just({}), st.none(), st.just([1]))


@st.composite
def documents(draw: st.DrawFn, schema: Any = None, rare: int = 150) -> Any:
    """Values that a schema mostly accepts; one in `rare` is of any kind."""
    schema = WHOLE if schema is None else schema
    if draw(st.integers(0, rare)) == 0:
        return draw(ODD)
    if "$ref" in schema:
        return draw(documents(WHOLE["$defs"][schema["$ref"].rpartition("/")[2]], rare))
    if schema.get("allOf") and "type" not in schema:
        return draw(documents(schema["allOf"][0], rare))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "anyOf" in schema and schema.get("type") != "object":
        return draw(documents(draw(st.sampled_from(schema["anyOf"])), rare))
    match schema.get("type"):
        case "array":
            return draw(
                st.lists(documents(schema["items"], rare), min_size=schema.get("minItems", 0), max_size=2)
            )
        case "boolean":
            return draw(st.booleans())
        case "object" if "properties" not in schema:
            names = st.sampled_from(["web", "api", "cache", "a.b", "a/b"])
            return draw(
                st.dictionaries(
                    names, documents(schema["additionalProperties"], rare), min_size=1, max_size=2
                )
            )
        case "object":
            return draw(mappings(schema, rare))
    return draw(st.sampled_from(schema["examples"]) if "examples" in schema else WORDS)


@st.composite
def mappings(draw: st.DrawFn, schema: Any, rare: int) -> dict[str, Any]:
    keys = list(schema["properties"])
    likely = [key for key in ("image", "semver") if key in keys and draw(st.integers(0, 9))]
    chosen = draw(st.lists(st.sampled_from(keys), max_size=3))
    needed = [key for key in schema.get("required", ()) if draw(st.integers(0, rare))]
    found = {
        key: draw(documents(schema["properties"][key], rare))
        for key in dict.fromkeys([*needed, *likely, *chosen])
    }
    if draw(st.integers(0, rare)) == 0:
        found[draw(st.sampled_from(["imag", "verified", "workload"]))] = draw(ODD)
    return found


LAW = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def is_about_meaning(error: ValidationError) -> bool:
    """Whether the schema refuses a value of the right form: for what it says, or beside others."""
    words = {"then", "else", "oneOf", "minProperties", "pattern"}
    return not words.isdisjoint(map(str, error.absolute_schema_path))


@pytest.mark.slow
@LAW
@given(documents())
def test_what_the_schema_accepts_has_the_right_form(document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False)
    found = read_policy_file("policies/shop.yaml", text)
    everything = [*found.problems, *(problem for entry in found.entries for problem in entry.problems)]
    codes = {why.code for _, why in everything}
    if POLICY.is_valid(document):
        assert not codes & SHAPE
        assert not found.broken
    # And the other way round: what has the right form, the schema refuses for its meaning alone.
    elif not codes and not found.broken:
        for error in POLICY.iter_errors(document):
            assert is_about_meaning(error), error.message


@pytest.mark.slow
@LAW
@given(documents())
def test_the_schema_refuses_nothing_that_is_in_order(document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False)
    if problems(text):
        return
    for error in POLICY.iter_errors(document):
        # What a default means is not asked where no workload inherits it.
        assert error.absolute_path[0] == "defaults", error.message
        assert is_about_meaning(error), error.message
