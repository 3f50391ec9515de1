"""Compose: versions in variables, as the default in the Compose file or as the value in the `.env` beside it.

`image: ghcr.io/acme/web:${TAG:-1.4.2}` is edited in place, in the characters of the default. Where an `.env`
sets `TAG`, the default is not in force: then the site is the variable's line there. So the Compose file tells
(as a source) what its variables are for, and the `.env` which ones it sets; `joining` puts them together.

Source: docs.docker.com/reference/compose-file/interpolation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from automator.core.fields import Link
from automator.core.found import Awaits, Found, Owner, Piece, content
from automator.core.sources import UNSET, VARIABLE, Source
from automator.core.spans import runs, to_raw
from automator.core.spelling import Spelled, read_reference, read_version, repository_of
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, Sequence

_VARIABLE = re.compile(
    r"\$(?:(?P<bare>[A-Za-z_][A-Za-z0-9_]*+)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*+)"
    # The rest may hold variables, one level deep: possessive, so that no text is gone through again.
    r"(?:(?P<operator>:?[-?+])(?P<rest>(?:[^${}]++|\$\{[^${}]*+\}|\$[A-Za-z_])*+))?\})",
    re.ASCII,
)
_NAME = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*+)", re.ASCII)
"""A variable's name, however its value is then made."""
_LONGEST = 1_000
"""Characters of an image that is read; a reference has some 500 at most."""
# Words in a variable's name that say what its value is. Values of others count only if they cannot be
# anything else: an `.env` holds passwords too, and those are not to be shown, kept or compared.
_NAMES_VERSION = re.compile(
    r"(?:.*[_.-])?(?:TAG|VERSION|VER|RELEASE|REVISION|REV|IMAGE|DIGEST|SHA)(?:[_.-].*)?", re.IGNORECASE
)
_NAMES_IMAGE = re.compile(r".*(?:IMAGE|IMG).*", re.IGNORECASE)
_NAMES_SECRET = re.compile(
    r".*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|APIKEY|PRIVATE).*"
    r"|(?:.*[_.-])?(?:PASS|PW|PWD|SALT|KEY|PIN|CREDS?)(?:[_.-].*)?"
    # Services are called so too (`AUTH_TAG`, `KEYCLOAK_VERSION`): then the last word says what the value is.
    r"|(?!.*[_.-](?:TAG|VERSION|RELEASE|IMAGE|IMG|DIGEST)$).*(?:AUTH|LOGIN|PASS|KEY).*",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"v?[0-9]+(?:\.[0-9]+){1,3}(?:[-_.][0-9A-Za-z._-]+)?(?:@.*)?", re.ASCII)
_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}", re.ASCII)


class Variable(NamedTuple):
    """A variable in a value: `value[start:end]`; its default is `value[from_:to]`, None where it has none."""

    name: str
    start: int
    end: int
    default: tuple[int, int] | None
    settled: bool
    """Whether its value, where set, stands there as it is (`${X:+y}` puts another)."""

    def spans(self, value: str) -> bool:
        """Whether it is all of a value."""
        return self.end - self.start == len(value)


class _Use(NamedTuple):
    """The image of a service, in which a variable stands."""

    link: Link
    node: Scalar
    value: str
    container: str


# -- the Compose file --------------------------------------------------------------------------------


def find(document: Document, text: str) -> list[Found]:
    """Images of a Compose file whose version a variable gives: at the default, or held where it has none.

    Each awaits that no `.env` beside the file sets the variable.
    """
    found = []
    for use in _uses(document.root):
        place = _place(text, use)
        if place is not None:
            found.append(place)
    return found


def sources(document: Document) -> tuple[Source, ...]:
    """What the variables of a Compose file are for: the repository whose version they give, or an empty
    value where they give anything else of an image."""
    if not _is_compose(document.root):
        return ()
    given: dict[Source, None] = {}
    for value, line in _images(document.root):
        for name, repository in _purposes(value):
            given[Source(VARIABLE, name, None, repository, line)] = None
    return tuple(given)


def _is_compose(root: Node | None) -> bool:
    if not isinstance(root, Mapping) or root.get("kind") is not None:
        return False
    services = _followed(root.get("services"))
    return isinstance(services, Mapping) and any(
        isinstance(_followed(service), Mapping) for _, service in services.pairs
    )


def _followed(node: Node | None) -> Node | None:
    return node.target if isinstance(node, Alias) else node


def _images(node: Node | None) -> Iterator[tuple[str, int]]:
    """Every image with a variable and its line, wherever it stands: aliases and merges bring in from
    anywhere what services are made of. What an alias points at is looked at where it is written."""
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _images(item)
    elif isinstance(node, Mapping):
        for key, value in node.pairs:
            image = content(value) if isinstance(key, Scalar) and key.value == "image" else None
            if image is not None and "$" in image:
                yield image, value.line
            yield from _images(value)


def _purposes(value: str) -> Iterator[tuple[str, str]]:
    """Each variable of an image and the repository whose version it is; empty where it is something else
    of the version, or nobody can tell what. Those of the name, or of all that stands there, are left out."""
    value = value.replace("$$", "xx")  # a dollar sign, and no variable
    variables = _variables(value)
    around = next(variables, None)
    name = _before_version(value)
    for match in _NAME.finditer(value):
        at = match.start()
        while around is not None and around.end <= at:
            around = next(variables, None)
        understood = around is not None and around.start <= at
        if around is None or not understood or (at > around.start and not _is_name(value, around, name)):
            yield match[1], ""
            continue
        repository = _repository(value, around, name)
        if repository is not None:
            yield match[1], repository


def _uses(root: Node | None) -> Iterator[_Use]:
    """Images with a variable in the services of a Compose file, and in its extensions (`x-…`)."""
    if not isinstance(root, Mapping) or not _is_compose(root):
        return
    for key, value in root.pairs:
        if not isinstance(key, Scalar) or not isinstance(value, Mapping):
            continue
        if key.value == "services":
            for item, service in value.pairs:
                if isinstance(item, Scalar) and isinstance(service, Mapping):
                    yield from _image(
                        service, Link(Link(None, key.value, root), item.value, value), item.value
                    )
        elif key.value.startswith("x-"):
            yield from _image(value, Link(None, key.value, root), key.value)


def _image(service: Mapping, link: Link, container: str) -> Iterator[_Use]:
    node = service.get("image")
    value = content(node)
    if value is None or not isinstance(node, Scalar) or len(value) > _LONGEST:
        return
    # An anchor stands for several places, which are not looked at here.
    if "$" in value and "$$" not in value and node.anchor is None:
        yield _Use(Link(link, "image", service), node, value, container)


def _variables(value: str) -> Iterator[Variable]:
    for match in _VARIABLE.finditer(value):
        default = match.span("rest") if match["operator"] in ("-", ":-") else None
        settled = match["operator"] not in ("+", ":+")
        yield Variable(match["bare"] or match["name"], *match.span(), default, settled)


def _repository(value: str, variable: Variable, name: str) -> str | None:
    """The repository whose version a variable is, whole: `ghcr.io/acme/web` of `ghcr.io/acme/web:$TAG`; empty
    where it is but a part of the version; None where it is no part of it."""
    if variable.spans(value) or _is_name(value, variable, name):  # a whole reference says all by itself
        return None
    return name if _is_whole(value, variable, name) else ""


def _is_name(value: str, variable: Variable, name: str) -> bool:
    return variable.start < len(name) and not variable.spans(value)


def _is_whole(value: str, variable: Variable, name: str) -> bool:
    """Whether all that an image says of its version, or of itself, is the value of a variable."""
    return (
        variable.settled
        and variable.end == len(value)
        and value[: variable.start] in ("", f"{name}:", f"{name}@")
    )


def _before_version(value: str) -> str:
    """A reference's name: what is before the tag's colon, or before the digest."""
    covered = _VARIABLE.sub(lambda found: "x" * len(found[0]), value)
    name = covered.partition("@")[0]
    before, colon, tag = name.rpartition(":")
    return value[: len(before if colon and "/" not in tag else name)]


def _place(text: str, use: _Use) -> Found | None:
    """Where the version of an image is written; None where no variable gives the whole of it."""
    name = _before_version(use.value)
    for variable in _variables(use.value):
        if _is_name(use.value, variable, name):
            continue
        exact = _in_default(text, use, variable, name)
        if exact is None and not _is_whole(use.value, variable, name):
            return None
        if exact is None:
            exact = _made(use.value, variable, name), (Piece("reference", use.node, use.link),)
        return Found(*exact, (), Owner(), use.container, awaits=Awaits(UNSET, variable.name))
    return None


def _made(value: str, variable: Variable, name: str) -> Spelled:
    """What an image says whose version is made elsewhere; the name may stand in the variable's default."""
    if variable.default is not None and variable.spans(value):
        spelled = read_reference(value[slice(*variable.default)])
        if spelled is not None and spelled.repository is not None and spelled.doubt is not None:
            return spelled
    return Spelled(name, repository_of(name), None, None, "site/templated")


def _in_default(
    text: str, use: _Use, variable: Variable, name: str
) -> tuple[Spelled, tuple[Piece, ...]] | None:
    """The version in a variable's default, and the characters of it; None where it is not wholly there."""
    if variable.default is None:
        return None
    start, end = variable.default
    head, tail = use.value[: variable.start], use.value[variable.end :]
    default = use.value[start:end]
    if not head and not tail:
        spelled, kinds = read_reference(default), [("reference", start, end)]
    elif head == f"{name}@" and not tail:
        spelled, kinds = _digest_alone(default), [("digest", start, end)]
    elif head == f"{name}:" and not tail:
        spelled, kinds = read_version(default), [("tag", start, end)]
    elif head == f"{name}:" and tail.startswith("@"):
        spelled = read_version(default + tail)
        kinds = [("tag", start, end), ("digest", variable.end + 1, len(use.value))]
    else:
        return None
    if spelled is None or spelled.doubt is not None or not (spelled.tag or spelled.digest):
        return None
    if head:
        spelled = spelled._replace(written=name, repository=repository_of(name))
    pieces = [_piece(text, use, *kind) for kind in kinds]
    return (spelled, tuple(p for p in pieces if p is not None)) if None not in pieces else None


def _digest_alone(text: str) -> Spelled | None:
    version = read_version(text)
    return version if version is not None and version.tag is None else None


def _piece(text: str, use: _Use, piece: str, start: int, end: int) -> Piece | None:
    """The characters of the file that spell `value[start:end]` as a scalar of their own."""
    raw = to_raw(runs(text, use.node), start, end)
    if raw is None:
        return None
    line = _line(text, use.node, raw[0])
    return Piece(piece, Scalar(use.value[start:end], *raw, line, "text", None, None), use.link, use.node)


def _line(text: str, node: Scalar, at: int) -> int:
    return node.line + text.count("\n", node.start, at)


# -- the .env ----------------------------------------------------------------------------------------


def find_env(document: Document) -> list[Found]:
    """Versions and whole references in the variables of an `.env` (`dotenv.read_dotenv`).

    A version alone awaits that a Compose file beside says what it is the version of.
    """
    found = []
    for link, node in _last_set(document.root):
        key, text = str(link.step), content(node) or ""
        if _NAMES_SECRET.fullmatch(key) is not None:
            continue
        whole = _reference(key, text)
        if whole is not None:
            found.append(Found(whole, (Piece("reference", node, link),), (), Owner(), None))
            continue
        version = read_version(text)
        if version is None or version.doubt is not None or not _is_version(key, text):
            continue
        awaits = Awaits(VARIABLE, key)
        piece = Piece("tag" if version.tag else "digest", node, link)
        found.append(Found(version, (piece,), (), Owner(), None, awaits=awaits))
    return found


def _reference(key: str, text: str) -> Spelled | None:
    """A reference under a name that speaks of an image, or with a digest: others are told apart neither from
    hosts with a port (`redis:6379`) nor from users with a password (`acme.corp/admin:hunter2`)."""
    if "/" not in text and ":" not in text.partition("@")[0]:
        return None
    spelled = read_reference(text)
    if spelled is None or spelled.repository is None or not (spelled.tag or spelled.digest):
        return None
    return spelled if spelled.digest is not None or _NAMES_IMAGE.fullmatch(key) is not None else None


def _is_version(key: str, text: str) -> bool:
    if _NAMES_VERSION.fullmatch(key) is not None:
        return True
    return _DOTTED.fullmatch(text) is not None and _ADDRESS.fullmatch(text) is None


def env_sources(document: Document) -> tuple[Source, ...]:
    """Which variables an `.env` sets, and of which a version is found there; never their values."""
    sites = {place.pieces[0].link.step for place in find_env(document)}
    return tuple(
        Source(UNSET, str(link.step), None, "site" if link.step in sites else "", node.line)
        for link, node in _last_set(document.root)
    )


def _last_set(root: Node | None) -> Iterator[tuple[Link, Scalar]]:
    """Each variable at the last place that sets it, which is the one that counts."""
    if not isinstance(root, Mapping):
        return
    last = {key.value: value for key, value in root.pairs if isinstance(key, Scalar)}
    for key, value in last.items():
        if isinstance(value, Scalar):
            yield Link(None, key, root), value
