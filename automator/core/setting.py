"""Setting: one image of one text to a given version, without policies: the rewriter for pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from automator.core.fields import parse_field
from automator.core.reference import DIGEST, TAG, Repository, value_text
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site, locate
from automator.core.spelling import HASHED, HEX64, read_reference, repository_of
from automator.errors import InvalidReference, ManifestError, UsageError
from automator.reasons import Reason, reason


@dataclass(frozen=True, slots=True)
class Setting:
    """What became of a text."""

    text: str
    """The new text; the given one, character for character, where nothing was changed."""
    changed: bool
    held: tuple[Reason, ...] = ()
    """Why the text was left alone although the image may be in it; empty where all is done."""
    sites: tuple[Site, ...] = ()
    """The sites that are meant, as they were: changed, at the target already, or held."""


class _Target(NamedTuple):
    """A version to move to; at least one of the two."""

    tag: str | None
    digest: str | None


class Ask(NamedTuple):
    """Which image is to be set to which version, and where; made by `asked`."""

    image: str
    repository: Repository | None
    """None where the image is templated or not given: then only its spelling counts."""
    target: _Target
    old: str | None
    field: str | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths that sites are to be located with."""
        return () if self.field is None else (self.field,)

    def names(self, site: Site) -> bool:
        """Whether a site is of the image, as it is spelled or as it is meant."""
        return names_image(site, self.image, self.repository)

    def left(self, site: Site) -> bool:
        """Whether a site is at the version that is to be replaced."""
        if self.old is None:
            return True
        versions = (site.tag, site.digest, _version(site), _bare_hash(site))
        return self.old.removeprefix("@") in [version for version in versions if version]

    def target_at(self, site: Site) -> _Target:
        """The target as a site would hold it: what is a tag elsewhere may be the hash of a digest there."""
        tag, digest = self.target
        bare = digest is None and _bare_hash(site) is not None and HEX64.fullmatch(tag or "") is not None
        return _Target(None, f"sha256:{tag}") if bare else self.target

    def done(self, site: Site) -> bool:
        """Whether nothing would change. A bare tag says nothing of a digest that stands beside it."""
        tag, digest = self.target_at(site)
        if site.tag is None and site.digest is not None:
            return site.digest == digest
        return site.tag is not None and tag in (None, site.tag) and site.digest == digest

    @property
    def drops_digest(self) -> bool:
        """Whether the person has named the digest that a bare tag replaces."""
        return self.old is not None and "sha256:" in self.old


def set_image(
    text: str, *, image: str, to: str, path: str = "", old: str | None = None, field: str | None = None
) -> Setting:
    """The text with each site of an image at another version; every other character stays.

    `image` is the image repository as the file writes it (`oci://…` and `{{ … }}` literally), or another
    spelling of the same one (`nginx`, `docker.io/library/nginx`); it may be empty where `field` says the
    place. `to` is `tag`, `tag@digest`, or `@digest`, which keeps the tag; a digest is also written where
    there was none. `path` is the file's name: `kustomization.yaml`, `.env` and the like have shapes of their
    own. `old` limits the edit to sites at that tag, digest or `tag@digest`; with a digest in it and a bare
    tag in `to`, the digest is dropped. `field` limits it to the one site at that field path.

    All meant sites are changed or none: one that cannot be is told in `held`. Without `old`, sites at
    different versions are not touched, since it is not said which of them are meant.

    Raises InvalidReference (`set/target`), UsageError (`set/field`, `set/image`). Nothing that the text
    holds raises.
    """
    ask = asked(image, to, old, field)
    located = locate(text, base_name(path), ask.fields)
    if located.trouble is not None:
        return Setting(text, False, (located.trouble,))
    return set_sites(text, path, located.sites, ask)


def asked(image: str, to: str, old: str | None, field: str | None) -> Ask:
    """What the arguments of `set_image` mean. Raises InvalidReference (`set/target`), UsageError
    (`set/image`)."""
    return Ask(_image(image, field), repository_of(image), _target(to), old, field)


def set_sites(text: str, path: str, sites: Sequence[Site], ask: Ask) -> Setting:
    """`set_image` for sites that are known: those of `text`, located with the fields of `ask`.

    Raises UsageError (`set/field`).
    """
    chosen, doubts = _chosen(ask, sites)
    waiting = [site for site in chosen if not ask.done(site)]
    doubts = doubts or tuple(why for site in waiting if (why := _doubt(ask, site, chosen)) is not None)
    if doubts or not waiting:
        return Setting(text, False, doubts, chosen)
    try:
        after = rewrite(text, [_edit(ask, site) for site in waiting], base_name(path), located=True)
    except ManifestError as error:
        return Setting(text, False, (error.reason,), chosen)
    return Setting(after, after != text, (), chosen)


def base_name(path: str) -> str:
    """The last part of a path, of whatever system it is."""
    return path.replace("\\", "/").rpartition("/")[2]


def names_image(site: Site, image: str, repository: Repository | None) -> bool:
    """Whether a site is of an image: spelled the same, or of the same repository where both name one."""
    if site.written and site.written == image:
        return True
    return repository is not None and site.repository == repository


# -- what is asked ------------------------------------------------------------------------------


def _image(image: str, field: str | None) -> str:
    spelled = read_reference(image)
    if not image and field is None:
        problem = "it is empty, and no field says the place"
    elif spelled is not None and spelled.repository is not None and (spelled.tag or spelled.digest):
        problem = f"it carries a version; write `{spelled.written}`"
    else:
        return image
    raise UsageError(reason("set/image", text=image, problem=problem))


def _target(to: str) -> _Target:
    tag, at, digest = ("", "@", to) if DIGEST.fullmatch(to) else to.partition("@")
    if (at and DIGEST.fullmatch(digest) is None) or (not tag and not at):
        problem = "its digest is not sha256: and 64 digits 0-9 and a-f" if at else "it is empty"
    elif tag and TAG.fullmatch(tag) is None:
        problem = (
            "a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two"
        )
    else:
        return _Target(tag or None, digest or None)
    raise InvalidReference(reason("set/target", text=to, problem=problem))


# -- which sites --------------------------------------------------------------------------------


_Chosen = tuple[tuple[Site, ...], tuple[Reason, ...]]
"""The sites that are meant, and why none of them may be touched."""


def _chosen(ask: Ask, sites: Sequence[Site]) -> _Chosen:
    if ask.field is not None:
        return _by_field(ask, ask.field, sites)
    named = [site for site in sites if ask.names(site)]
    known = [site for site in named if _is_readable(site)]
    meant = tuple(site for site in known if ask.left(site) or ask.done(site))
    unreadable = tuple(site for site in named if not _is_readable(site))
    if unreadable and not meant:
        return unreadable, tuple(site.held for site in unreadable if site.held is not None)
    versions = {_version(site): site for site in reversed(meant) if not ask.done(site)}
    if ask.old is None and len(versions) > 1:
        return meant, (_ambiguous(ask, versions),)
    return meant, ()


def _by_field(ask: Ask, field: str, sites: Sequence[Site]) -> _Chosen:
    there = tuple(site for site in sites if field in site.selectors)
    if not there and parse_field(field) is None:
        raise UsageError(reason("set/field", field=field))
    if not there:
        return (), (reason("set/field-nothing", field=field),)
    meant = tuple(site for site in there if ask.left(site) or not _is_readable(site))
    if len(meant) > 1:
        lines = ", ".join(str(site.line) for site in meant)
        return meant, (reason("set/field-several", field=field, lines=lines),)
    meant = meant or tuple(site for site in there if ask.done(site))
    for site in meant:
        if ask.image and site.repository is not None and not ask.names(site):
            why = reason("set/other-image", field=field, line=site.line, found=site.written, image=ask.image)
            return meant, (why,)
    return meant, ()


def _is_readable(site: Site) -> bool:
    """Whether the version is known; that of a site without any is, so long as one may be written."""
    return site.tag is not None or site.digest is not None or site.held is None


def _version(site: Site) -> str:
    return value_text(site.tag, site.digest).removeprefix("@")


def _bare_hash(site: Site) -> str | None:
    """The hash in `repository: web@sha256` beside `tag: 0123…`, as the file writes it."""
    hashed = site.written.endswith(HASHED) and site.tag is None and site.digest is not None
    return site.digest.removeprefix("sha256:") if hashed and site.digest else None


def _ambiguous(ask: Ask, versions: dict[str, Site]) -> Reason:
    places = [f"{version or 'no version'} (line {site.line})" for version, site in versions.items()]
    listed = ", ".join(sorted(places))
    return reason("set/ambiguous", image=ask.image, versions=listed)


# -- what is written ----------------------------------------------------------------------------


def _doubt(ask: Ask, site: Site, chosen: Sequence[Site]) -> Reason | None:
    """Why a site cannot get the version, or None."""
    if site.held is not None:
        return site.held
    if site.ring and not {o.field for o in chosen if o.document == site.document}.issuperset(site.ring):
        return reason("site/alias-shared", field=site.field, line=site.line, uses=len(site.ring) + 1)
    tag, digest = ask.target_at(site)
    if tag is None and site.tag is None and site.digest is None:
        return reason("set/no-tag", field=site.field, line=site.line, digest=digest)
    if digest is None and site.digest is not None:
        if any(part.piece == "digest" for part in site.parts):
            return reason("set/digest-key", field=site.field, line=site.line, tag=tag)
        if not ask.drops_digest or site.written.endswith(HASHED):
            return reason("set/pinned", field=site.field, line=site.line, tag=tag)
    return None


def _edit(ask: Ask, site: Site) -> Edit:
    tag, digest = ask.target_at(site)
    # A site by digest alone stays one, whatever tag stands here.
    kept = tag or site.tag or "latest"
    pin, unpin = digest is not None and site.digest is None, digest is None and site.digest is not None
    return Edit(site, kept, digest, pin=pin, unpin=unpin)
