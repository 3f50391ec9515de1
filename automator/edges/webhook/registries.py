"""What image registries send of themselves: one function for each sender, from body to pushes."""

from __future__ import annotations

import re

from automator.edges.webhook.body import (
    dig,
    gather,
    host_of,
    images,
    needed_list,
    needed_object,
    needed_text,
    parse,
    push,
    push_of_reference,
    text,
)
from automator.edges.webhook.event import Door, Found, MalformedBody, Push, Request, Word

DOCKER_HUB = "docker.io"
QUAY = "quay.io"
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_MANIFEST_TYPE = re.compile(r"[./](manifest|index)[./]")
_CLOUD_EVENT_PUSH = "harbor.artifact.pushed"
# Harbor 2, and Harbor 1.
_HARBOR_PUSHES = {"PUSH_ARTIFACT", "pushImage"}


def dockerhub(door: Door, request: Request) -> Found:
    """Docker Hub: every event is a push of one tag; official images come without `library/`."""
    body = parse(request.body)
    name = text(body, "repository", "repo_name")
    if name is None:
        name = f"{needed_text(body, 'repository', 'namespace')}/{needed_text(body, 'repository', 'name')}"
    return images([push(door.registry or DOCKER_HUB, name, text(body, "push_data", "tag"))])


def quay(door: Door, request: Request) -> Found:
    """Quay: of its events only a push has `updated_tags`, a list, or a map by tag."""
    body = parse(request.body)
    tags = dig(needed_object(body), "updated_tags")
    if not tags or not isinstance(tags, list | dict):
        return Found(Word.NOT_A_PUSH)
    url = text(body, "docker_url")
    name = url.partition("://")[2] or url if url else ""
    path = name.partition("/")[2] or needed_text(body, "repository")
    host = door.registry or host_of(url) or QUAY
    return images([push(host, path, tag if isinstance(tag, str) else None) for tag in tags])


def harbor(door: Door, request: Request) -> Found:
    """Harbor, in its own format and as CloudEvents: one push for each resource."""
    body = parse(request.body)
    delivery = text(body, "id")
    if text(body, "specversion"):
        is_push, told = text(body, "type") == _CLOUD_EVENT_PUSH, dig(body, "data")
    else:
        is_push, told = needed_text(body, "type") in _HARBOR_PUSHES, dig(body, "event_data")
    if not is_push:
        return Found(Word.NOT_A_PUSH, delivery=delivery)
    name = needed_text(told, "repository", "repo_full_name")

    def read(resource: object) -> Push | None:
        host = door.registry or host_of(needed_text(resource, "resource_url"))
        return push(host, name, text(resource, "tag"), text(resource, "digest"))

    return gather(needed_list(told, "resources"), read, delivery)


def acr(door: Door, request: Request) -> Found:
    """Azure Container Registry's own webhook."""
    body = parse(request.body)
    delivery = text(body, "id")
    if needed_text(body, "action") != "push":
        return Found(Word.NOT_A_PUSH, delivery=delivery)
    return images([azure_push(door, body)], delivery)


def azure_push(door: Door, event: object) -> Push | None:
    """The push in an event of Azure, which is the same in its webhook and in Event Grid."""
    return push(
        door.registry or text(event, "request", "host"),
        needed_text(event, "target", "repository"),
        text(event, "target", "tag"),
        text(event, "target", "digest"),
    )


def distribution(door: Door, request: Request) -> Found:
    """Notifications of CNCF Distribution, which GitLab's registry and others send, too.

    Layers and configs are pushed like manifests; only these have a tag, or a manifest's media type.
    """
    events = needed_list(parse(request.body), "events")

    def read(event: object) -> Push | Word | None:
        if text(event, "action") != "push" or not _is_manifest(event):
            return Word.NOT_A_PUSH
        return push(
            door.registry or text(event, "request", "host") or host_of(text(event, "target", "url")),
            needed_text(event, "target", "repository"),
            text(event, "target", "tag"),
            text(event, "target", "digest"),
        )

    return gather(events, read, text(events[0], "id") if events else None)


def _is_manifest(event: object) -> bool:
    kind = text(event, "target", "mediaType") or ""
    return text(event, "target", "tag") is not None or _MANIFEST_TYPE.search(f"{kind}.") is not None


def artifactory(door: Door, request: Request) -> Found:
    """JFrog Artifactory: names the local repository, where people may pull through a virtual one."""
    body = parse(request.body)
    if needed_text(body, "domain") != "docker":
        return Found(Word.UNSUPPORTED_TYPE)
    if text(body, "event_type") != "pushed":
        return Found(Word.NOT_A_PUSH)
    key = needed_text(body, "data", "repo_key")
    image = needed_text(body, "data", "image_name")
    path = "/".join(part for part in (door.repositories.get(key, key), image) if part)
    sha256 = text(body, "data", "sha256")
    return images(
        [
            push(
                door.registry or host_of(text(body, "jpd_origin")),
                path,
                text(body, "data", "tag"),
                f"sha256:{sha256}" if sha256 else None,
            )
        ]
    )


def nexus(door: Door, request: Request) -> Found:
    """Sonatype Nexus: components have no host, so the door maps repositories to hosts."""
    body = parse(request.body)
    needed_object(body)
    part = "component" if dig(body, "component") is not None else "asset"
    if text(body, part, "format") not in (None, "docker"):
        return Found(Word.UNSUPPORTED_TYPE)
    # An asset of Docker is a manifest or a layer of a component, which has an event of its own.
    if part == "asset" or text(body, "action") not in ("CREATED", "UPDATED"):
        return Found(Word.NOT_A_PUSH)
    host = door.registries.get(needed_text(body, "repositoryName"), door.registry)
    if host is None:
        return Found(Word.UNKNOWN_REPOSITORY)
    return images([push(host, needed_text(body, "component", "name"), text(body, "component", "version"))])


def alibaba(door: Door, request: Request) -> Found:
    """Alibaba Cloud Container Registry: every event is a push; the host is that of the region."""
    body = parse(request.body)
    host = door.registry
    if host is None:
        region = needed_text(body, "repository", "region")
        if not _REGION.fullmatch(region):
            raise MalformedBody
        host = f"registry.{region}.aliyuncs.com"
    name = needed_text(body, "repository", "repo_full_name")
    return images([push(host, name, text(body, "push_data", "tag"), text(body, "push_data", "digest"))])


def generic(door: Door, request: Request) -> Found:
    """What a CI job sends: `image` (or `images`, a list), or `repository` with `registry` and `tag`."""
    body = needed_object(parse(request.body))
    names = needed_list(body, "images") if "images" in body else []
    if image := text(body, "image"):
        names = [image, *names]
    if names:
        return gather(names, lambda name: _named(door, needed_text(name)))
    path, host = needed_text(body, "repository"), door.registry or text(body, "registry")
    tag, digest = text(body, "tag"), text(body, "digest")
    if host:
        return images([push(host, path, tag, digest)])
    named = push_of_reference(path)
    return images([named and push(named.repository.registry, named.repository.path, tag, digest)])


def _named(door: Door, name: str) -> Push | None:
    found = push_of_reference(name)
    if found is None or door.registry is None:
        return found
    return push(door.registry, found.repository.path, found.tag, found.digest)
