"""Flux v2, what no policy says: access to registries, and where and how commits are made.

All of it has a place in the daemon's config; a person moves it there.
"""

from __future__ import annotations

from automator.core.migration.drafting import Left
from automator.core.migration.objects import KubeObject, at, items_at, text_at, true_at
from automator.core.reference import parse_repository
from automator.errors import AutomatorError
from automator.reasons import one_line


def leave_repository(one: KubeObject, left: Left) -> None:
    """Access to a registry, which the daemon's config says for a host."""
    spec = at(one.body, "spec")
    try:
        host = parse_repository(text_at(spec, "image") or "").registry
    except AutomatorError:
        return
    table = f'[registries."{host}"]'
    provider = text_at(spec, "provider") or "generic"
    for present, sentence in (
        (
            text_at(spec, "secretRef", "name") or text_at(spec, "serviceAccountName"),
            f"pull secrets: give the daemon the same with `docker_config`, or {table} in config.toml",
        ),
        (
            provider != "generic",
            f"`provider: {one_line(provider, 20)}`: the docker config needs its credential helper for {host}",
        ),
        (true_at(spec, "insecure"), f"plain HTTP: `insecure = true` under {table} in config.toml"),
        (text_at(spec, "certSecretRef", "name"), f"certificates: `ca_file` under {table} in config.toml"),
        (text_at(spec, "proxySecretRef", "name"), "a proxy: set HTTPS_PROXY for the daemon"),
        (
            items_at(spec, "accessFrom", "namespaceSelectors"),
            "`accessFrom` has no counterpart: every policy of a config repo may name every image; "
            "limit that by reviews of the policies folder",
        ),
        (
            text_at(spec, "interval"),
            f"`interval: {one_line(text_at(spec, 'interval') or '', 20)}`: "
            f"`interval` under {table} is the least time between two listings, else each cycle lists",
        ),
    ):
        if present:
            left.add(one.source, sentence)


def leave_automation(one: KubeObject, left: Left) -> None:
    """Where and how Flux commits, which the daemon's config says for a config repo."""
    git = at(one.body, "spec", "git")
    read = text_at(git, "checkout", "ref", "branch")
    push = text_at(git, "push", "branch")
    where = text_at(one.body, "spec", "sourceRef", "name") or ""
    name = one_line(where, 60)
    left.add(one.source, f'the config repo is the one of GitRepository "{name}": give its url in config.toml')
    if read is not None:
        left.add(one.source, f"reads branch {one_line(read, 60)}: `branch` under [repos.NAME] in config.toml")
    if push is not None and push != read:
        left.add(
            one.source,
            f"pushes to branch {one_line(push, 60)}, not to the one that it reads: releases are pushed to "
            "the branch that is read, or proposed in pull requests with `deliver: pull-request`",
        )
    for present, sentence in (
        (at(git, "push", "refspec"), "`git.push.refspec` has no counterpart"),
        (at(git, "push", "options"), "`git.push.options` have no counterpart"),
        (
            text_at(git, "commit", "messageTemplate"),
            "`messageTemplate`: subject and body of commits are templates under [commit] in config.toml",
        ),
        (at(git, "commit", "author"), "the commits' author: [repos.NAME.author] in config.toml"),
        (at(git, "commit", "signingKey"), "commits are not signed by this version"),
        (text_at(one.body, "spec", "interval"), "its `interval`: `interval` under [daemon] in config.toml"),
    ):
        if present:
            left.add(one.source, sentence)
