"""`automator schema`: the JSON Schema of policy files, for editors.

Made from the models that read the files (`core.policykeys`), and polished: a key is there or not, never
null; patterns, examples and defaults help while one types; what excludes each other is said where a
schema can say it. It refuses nothing that `check` accepts (but for a wrong default that no workload
inherits), and knows less: what a range, a glob or an expression means is told by `check` alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from automator.cli.options import global_options

if TYPE_CHECKING:
    from pydantic import BaseModel

JSON = dict[str, Any]

KINDS = ("policy", "freeze", "rules")

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLES = {
    "policy": "Policy file of automator: policies/*.yaml",
    "freeze": "Freeze of a config repo: policies/_freeze.yaml",
    "rules": "Guard rails of a config repo: policies/_rules.yaml",
}

# -- what a pattern can say; each is anchored, and read alike by ECMA 262 and Python -----------------

TAG = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
DIGEST = "^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$"
VERSION = f"{TAG}|{DIGEST}"
DURATION = "^(?=.)(?:[0-9]{1,9}w)?(?:[0-9]{1,9}d)?(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?$"
TIME = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
CRON = "^\\s*\\S+(?:\\s+\\S+){4}\\s*$"
ZONE = "^[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}$"
PLATFORM = "^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?$"
NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"

_PLATFORMS = {
    "items": {"pattern": PLATFORM},
    "examples": [["linux/amd64", "linux/arm64"], ["linux/arm/v7"]],
}

ADDED: dict[str, dict[str, JSON]] = {
    "Where": {
        "paths": {"examples": [["apps/shop/**"], ["apps/**", "!apps/legacy/**"]]},
        "kind": {"examples": ["Deployment"]},
        "namespace": {"examples": ["shop"]},
        "name": {"examples": ["api"]},
        "container": {"examples": ["app"]},
        "field": {"examples": ["server.image.tag", "images[name=web].newTag"]},
        "marker": {"examples": ["flux-system:shop"]},
    },
    "Hold": {
        "reason": {"examples": ["quarter end, ask finance first"]},
        "until": {"pattern": TIME, "examples": ["2026-12-01T09:00:00Z", "2026-12-01T09:00:00+01:00"]},
    },
    "Window": {
        "allow": {"pattern": CRON, "examples": ["0 9 * * 1-5"]},
        "deny": {"pattern": CRON, "examples": ["0 0 24 12 *"]},
        "for": {"pattern": DURATION, "examples": ["8h", "2d12h"]},
        "zone": {"pattern": ZONE, "default": "UTC", "examples": ["Europe/Berlin"]},
    },
    "After": {
        "workload": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
            "examples": ["web-staging", ["web-eu", "web-us"]],
        },
        "group": {"examples": ["shop-staging"]},
        "soak": {"pattern": DURATION, "default": "0s", "examples": ["24h"]},
        "need": {"default": "all"},
    },
    "Group": {"name": {"examples": ["shop"]}, "match": {"default": "version"}},
    "PullRequest": {
        "labels": {"examples": [["automator", "release"]]},
        "reviewers": {"examples": [["ann", "acme/shop"]]},
        "draft": {"examples": [True]},
        "automerge": {"examples": [True]},
    },
    "Urgent": {
        "version": {"pattern": VERSION, "examples": ["1.4.3"]},
        "reason": {"examples": ["closes the hole of last night"]},
    },
    "Workload": {
        "image": {"examples": ["ghcr.io/acme/web", "nginx"]},
        "tags_from": {"examples": ["docker.io/library/nginx"]},
        "glob": {"examples": ["{key}-alpine", "main-*-{key}"]},
        "regex": {"examples": ["^(?P<key>\\d{4}\\.\\d{2}\\.\\d{2})-[0-9a-f]{7}$"]},
        "exclude": {"examples": [["*-debug", "nightly*"]]},
        "reject": {"items": {"pattern": VERSION}, "examples": [["1.4.3"]]},
        "semver": {"examples": [">=1.4 <2", "1.25.x", "~1.4 || ~1.6"]},
        "versions": {"default": "strict"},
        "prereleases": {"default": "range"},
        "follow": {"pattern": TAG, "examples": ["7", "stable"]},
        "min_age": {"pattern": DURATION, "default": "0s", "examples": ["30m"]},
        "platforms": _PLATFORMS,
        "signed_by": {"examples": ["release"]},
        "windows": {"examples": [[{"allow": "0 9 * * 1-5", "for": "8h", "zone": "Europe/Berlin"}]]},
        "after": {"examples": [{"workload": "web-staging", "soak": "24h"}]},
        "verify": {"examples": ["healthy", ["healthy", "error-rate"]]},
        "group": {
            "anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Group"}],
            "examples": ["shop", {"name": "shop", "match": "any"}],
        },
        "pin": {"default": "tag"},
        "pull_request": {"examples": [{"labels": ["release"], "reviewers": ["ann"]}]},
        "hold": {"examples": [{"reason": "ask finance first", "until": "2026-12-01T09:00:00Z"}]},
        "accept": {"items": {"pattern": VERSION}, "examples": [["1.4.3"]]},
        "downgrade": {"default": False},
        "align": {"default": False},
        "urgent": {"examples": [{"version": "1.4.3", "reason": "closes the hole of last night"}]},
        "owner": {"examples": ["team-shop"]},
        "environment": {"examples": ["production"]},
        "description": {"examples": ["The shop, as customers see it"]},
    },
    "File": {
        "defaults": {"examples": [{"min_age": "30m", "owner": "team-shop"}]},
        "freeze": {"examples": [{"reason": "migration", "until": "2026-12-01T09:00:00Z"}]},
        "workloads": {"examples": [{"web": {"image": "ghcr.io/acme/web", "semver": ">=1.4 <2"}}]},
    },
    "Rule": {
        "name": {"examples": ["production"]},
        "paths": {"examples": [["apps/production/**"]]},
        "owners": {"examples": [["team-shop"]]},
        "environments": {"examples": [["production"]]},
        "registries": {"examples": [["ghcr.io", "registry.example.com:5000"]]},
        "images": {"examples": [["ghcr.io/acme/*"]]},
        "require": {"examples": [["owner", "platforms"]]},
        "forbid": {"examples": [["downgrade", "urgent"]]},
        "platforms": _PLATFORMS,
        "signed_by": {"examples": ["release"]},
        "min_age": {"pattern": DURATION, "examples": ["1h"]},
    },
}
"""By model and key, what helps an editor and is no part of a type."""

# -- what excludes each other ------------------------------------------------------------------------


def _without(key: str, *others: str) -> JSON:
    """Where one key stands, the others do not."""
    return {"if": {"required": [key]}, "then": {"properties": dict.fromkeys(others, False)}}


def _pins(key: str) -> JSON:
    """Where one key stands, what is pinned is the digest."""
    return {"if": {"required": [key]}, "then": {"properties": {"pin": {"const": "digest"}}}}


_CHOICE = ("semver", "order", "follow")
_FILTERS = ("glob", "regex")


def _chosen() -> JSON:
    """What says which tags are taken, with `defaults`: a choice, or `after` alone, which takes that of
    upstream."""
    choices = [{"required": [key]} for key in _CHOICE]
    unfiltered = dict.fromkeys(_FILTERS, False)
    after = _inherited(
        ("after",),
        {"anyOf": [*choices, {"required": ["after"], "properties": unfiltered}]},
        {"anyOf": [*choices, {"properties": unfiltered}]},
    )
    filtered = _inherited(_FILTERS, after, {"anyOf": choices})
    return _inherited(_CHOICE, filtered)


def _inherited(keys: tuple[str, ...], otherwise: JSON, inherits: JSON | None = None) -> JSON:
    """Unless the defaults have one of the keys, what every workload must be; with `inherits`, what it must be
    where they have one. A condition on the whole file is taken as it is."""

    def every(workload: JSON) -> JSON:
        return (
            workload
            if "if" in workload
            else {"properties": {"workloads": {"additionalProperties": workload}}}
        )

    one_of = {"anyOf": [{"required": [key]} for key in keys]}
    found = {"if": {"required": ["defaults"], "properties": {"defaults": one_of}}, "else": every(otherwise)}
    return found if inherits is None else {**found, "then": every(inherits)}


_DEMANDS = (
    *("registries", "images", "require", "forbid"),
    *("platforms", "signed_by", "min_age", "step", "deliver"),
)
_EXCLUSIVE: dict[str, JSON] = {
    "Where": {"minProperties": 1},
    "Window": {"oneOf": [{"required": ["allow"]}, {"required": ["deny"]}]},
    "After": {"oneOf": [{"required": ["workload"]}, {"required": ["group"]}]},
    "Rule": {"anyOf": [{"required": [key]} for key in _DEMANDS]},
    "File": {
        "allOf": [
            _inherited(("image",), {"required": ["image"]}),
            _chosen(),
        ]
    },
}


def _workload() -> JSON:
    """A workload: the keys that `defaults` have too, less what makes no sense together."""
    from automator.core.policycompile import BINDS_DIGEST, WITHOUT_FOLLOW

    conflicts = [
        _without("glob", "regex"),
        _without("follow", *WITHOUT_FOLLOW),
        {"if": {"required": ["semver"]}, "then": {"properties": {"order": {"const": "version"}}}},
        *(_pins(key) for key in (*BINDS_DIGEST, "follow")),
    ]
    return {"allOf": [{"$ref": "#/$defs/Keys"}, *conflicts]}


# -- from the models ---------------------------------------------------------------------------------


def schema_of(kind: str) -> JSON:
    """The JSON Schema (draft 2020-12) of one of `KINDS` of files."""
    from automator.core.policykeys import FileKeys, FreezeFileKeys, RulesFileKeys, WorkloadKeys, key_names

    models: dict[str, type[BaseModel]] = {
        "policy": FileKeys,
        "freeze": FreezeFileKeys,
        "rules": RulesFileKeys,
    }
    model = models[kind]
    made = model.model_json_schema()
    defs = {_short(name): _polished(_short(name), node) for name, node in made.pop("$defs", {}).items()}
    if kind == "policy":
        defs["Keys"] = defs.pop("Workload")
        defs["Workload"] = {**_workload(), "description": "a workload"}
    top = _polished(_short(model.__name__), made)
    if kind == "policy":
        top["properties"]["defaults"]["$ref"] = "#/$defs/Keys"
        top["properties"]["workloads"]["propertyNames"] = {"pattern": NAME}
    if kind == "rules":
        for key in ("require", "forbid"):
            defs["Rule"]["properties"][key]["items"]["enum"] = list(key_names(WorkloadKeys))
    head = {"$schema": _DIALECT, "$id": f"urn:automator:schema:{kind}:1", "title": _TITLES[kind]}
    return {**head, **top, "$defs": dict(sorted(defs.items()))}


def schema_text(kind: str) -> str:
    """`schema_of` as the text that is published."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


def _short(name: str) -> str:
    return name.removesuffix("Keys")


def _polished(name: str, made: JSON) -> JSON:
    """An object of the models' schema without what only their language needs, and with what helps."""
    added = ADDED.get(name, {})
    properties = {
        key: _with(_plain(node), added.get(key, {})) for key, node in made.get("properties", {}).items()
    }
    words = {"description": made["description"]} if "description" in made else {}
    required = {"required": made["required"]} if "required" in made else {}
    limits = _EXCLUSIVE.get(name, {})
    return {
        **words,
        "type": "object",
        "properties": properties,
        **required,
        "additionalProperties": False,
        **limits,
    }


def _plain(node: JSON) -> JSON:
    """One key's schema, without null and titles, names shortened."""
    plain = {word: value for word, value in node.items() if word not in ("title", "default", "anyOf")}
    if "$ref" in plain:
        plain["$ref"] = "#/$defs/" + _short(plain["$ref"].rpartition("/")[2])
    for word in ("items", "additionalProperties"):
        if isinstance(plain.get(word), dict):
            plain[word] = _plain(plain[word])
    kept = [_plain(one) for one in node.get("anyOf", ()) if one.get("type") != "null"]
    if len(kept) == 1:
        return {**kept[0], **plain}
    return {**plain, "anyOf": kept} if kept else plain


def _with(node: JSON, added: Mapping[str, Any]) -> JSON:
    """A schema with more said, inside of `items` too."""
    inner = {"items": {**node["items"], **added["items"]}} if "items" in added else {}
    return {**node, **added, **inner}


# -- the command -------------------------------------------------------------------------------------


@click.command()
@click.argument("kind", type=click.Choice(KINDS), default="policy", metavar="[policy|freeze|rules]")
@global_options
def schema(kind: str) -> int:
    """Print the JSON Schema of policy files, or of `_freeze.yaml` or `_rules.yaml`, for editors."""
    click.echo(schema_text(kind), nl=False)
    return 0
