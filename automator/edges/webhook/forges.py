"""What Git forges send: packages that are images, and pushes of Git, through one door each."""

from __future__ import annotations

from urllib.parse import parse_qs

from automator.edges.webhook.body import (
    dig,
    git_moves,
    git_push,
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
from automator.edges.webhook.event import Door, Found, GitPush, MalformedBody, Request, Word
from automator.edges.webhook.registries import distribution

GHCR = "ghcr.io"
_FORM = "application/x-www-form-urlencoded"
_IMAGE_TYPES = {"container", "docker"}
_BRANCH_OR_TAG = {"branch": "refs/heads/", "named_branch": "refs/heads/", "tag": "refs/tags/"}


def github(door: Door, request: Request) -> Found:
    """GitHub: `package` and `registry_package` of its container registry, and `push`."""
    body = needed_object(_github_body(request))
    kind = request.headers.get("x-github-event", "")
    if kind == "push":
        return _one_ref(body)
    if kind not in ("package", "registry_package"):
        return Found(Word.NOT_A_PUSH)
    package = needed_object(body, kind)
    types = (text(package, "package_type"), text(package, "ecosystem"), text(package, "registry", "type"))
    if not any(one is not None and one.lower() in _IMAGE_TYPES for one in types):
        return Found(Word.UNSUPPORTED_TYPE)
    if text(body, "action") not in ("published", "updated"):
        return Found(Word.NOT_A_PUSH)
    version = dig(package, "package_version")
    host, path = GHCR, ""
    # The URL knows what the owner and the name may hide: the package of another repository. It ends
    # in a bare colon where a manifest without a tag was pushed.
    url = (text(version, "package_url") or "").removesuffix(":").lower()
    named = push_of_reference(url)
    # A URL without a host would be read as an image of Docker Hub.
    if named is not None and url.startswith(f"{named.repository.registry}/"):
        host, path = named.repository.registry, named.repository.path
    else:
        path = f"{needed_text(package, 'owner', 'login')}/{needed_text(package, 'name')}"
    digests = (text(version, "version"), text(version, "container_metadata", "tag", "digest"))
    digest = next((one for one in digests if one and one.startswith("sha256:")), None)
    tag = text(version, "container_metadata", "tag", "name")
    return images([push(door.registry or host, path, tag, digest)])


def _github_body(request: Request) -> object:
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        return parse(request.body)
    try:
        payload = parse_qs(request.body.decode(), max_num_fields=8).get("payload", [])
    except ValueError as error:
        raise MalformedBody from error
    return parse(payload[0] if payload else "")


def gitea(door: Door, request: Request) -> Found:
    """Gitea and Forgejo: `package` of type container, and `push`."""
    body = needed_object(parse(request.body))
    kind = request.headers.get("x-gitea-event") or request.headers.get("x-forgejo-event")
    if kind == "push":
        return _one_ref(body)
    if kind != "package":
        return Found(Word.NOT_A_PUSH)
    if needed_text(body, "package", "type") != "container":
        return Found(Word.UNSUPPORTED_TYPE)
    if text(body, "action") != "created":
        return Found(Word.NOT_A_PUSH)
    package = needed_object(body, "package")
    owner = text(package, "owner", "login") or needed_text(package, "owner", "username")
    version = text(package, "version") or ""
    if version.startswith("sha256:"):
        # A part of an image, or one without a tag; the tag has an event of its own.
        return Found(Word.NOT_A_PUSH)
    host = door.registry or host_of(text(package, "html_url"))
    return images([push(host, f"{owner}/{needed_text(package, 'name')}", version)])


def _one_ref(body: object) -> Found:
    repository = needed_object(body, "repository")
    urls = (dig(repository, "clone_url"), dig(repository, "ssh_url"))
    return git_moves([git_push(urls, dig(body, "ref"), dig(body, "after"))])


def gitlab(door: Door, request: Request) -> Found:
    """GitLab: pushes of a project's hook, and its registry's notifications, which have no event header."""
    kind = request.headers.get("x-gitlab-event")
    if kind is None:
        return distribution(door, request)
    if kind == "System Hook":
        # It tells of every project of an instance, and of far more than pushes.
        return Found(Word.UNSUPPORTED_TYPE)
    if kind not in ("Push Hook", "Tag Push Hook"):
        return Found(Word.NOT_A_PUSH)
    body = parse(request.body)
    project = needed_object(body, "project")
    urls = (dig(project, "git_http_url"), dig(project, "git_ssh_url"))
    return git_moves([git_push(urls, dig(body, "ref"), dig(body, "after"))])


def bitbucket(door: Door, request: Request) -> Found:
    """Bitbucket, the cloud's and the one that people run; it has no images. `door` brings nothing."""
    kind = request.headers.get("x-event-key")
    body = needed_object(parse(request.body))
    if kind == "repo:push":
        page = dig(body, "repository", "links", "html", "href")
        return git_moves([_cloud_change(page, one) for one in needed_list(body, "push", "changes")])
    if kind == "repo:refs_changed":
        urls = [dig(link, "href") for link in needed_list(body, "repository", "links", "clone")]
        changes = needed_list(body, "changes")
        return git_moves([git_push(urls, dig(one, "ref", "id"), dig(one, "toHash")) for one in changes])
    return Found(Word.NOT_A_PUSH)


def _cloud_change(page: object, change: object) -> GitPush | None:
    if dig(change, "new") is None:
        return None
    prefix = _BRANCH_OR_TAG.get(needed_text(change, "new", "type"), "refs/heads/")
    return git_push([page], prefix + needed_text(change, "new", "name"), dig(change, "new", "target", "hash"))
