"""Signatures: what a registry holds as signatures of a digest.

What belongs here: fetching (never judging) the two forms that cosign writes: legacy payloads under the tag
`sha256-….sig`, and Sigstore bundles that refer to the digest. What is found is bounded and untrusted.

The legacy tag is asked first where nothing is known of a repository: one request tells that it is not
there, every registry knows tags, and most signatures that exist are of this form. Found, it costs two
requests (manifest, payload); a bundle costs three (referrers, manifest, bundle). The form that sufficed
last for a repository is asked first there from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from automator.core.reference import DIGEST, Repository
from automator.core.signed import (
    SIGNATURE_NOTE,
    SIMPLE_SIGNING,
    Bundle,
    Material,
    SimpleSigning,
    Unusable,
    legacy_tag,
)
from automator.edges.registry.referrers import Referrer
from automator.errors import RegistryError

MAX_SIGNATURES = 32
"""Signatures of one form and digest that are looked at."""
PAYLOAD_LIMIT = 64 * 1024
BUNDLE_LIMIT = 128 * 1024
_BUNDLE_TYPES = "application/vnd.dev.sigstore.bundle"
_REMEMBERED = 10_000

# What one signature alone can be the cause of: it counts for nothing, and the others may be good. Any other
# failure leaves open what there is.
_OF_ONE = frozenset(
    {
        "registry/not-found",
        "registry/bad-answer",
        "registry/not-json",
        "registry/too-large",
        "registry/bad-digest",
    }
)


class Registry(Protocol):
    """What is asked of registries (`RegistryClient` answers it)."""

    def manifest(self, repository: Repository, reference: str) -> tuple[str, dict[str, Any]]: ...
    def blob(self, repository: Repository, digest: str, limit: int) -> bytes: ...
    def referrers(
        self, repository: Repository, digest: str, artifact_type: str | None = None
    ) -> Sequence[Referrer]: ...


class SignatureSource:
    """Fetches signatures; thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._bundled: dict[Repository, None] = {}
        """Repositories whose last good signature was a bundle."""

    def fetch(self, repository: Repository, digest: str, suffices: Callable[[Material], bool]) -> None:
        """Fetch the signatures of a digest, and hand over one after the other until that suffices.

        Raises RegistryError where it is not known what there is.
        """
        with self._lock:
            bundles_first = repository in self._bundled
        for are_bundles in (bundles_first, not bundles_first):
            for material in (self._bundles if are_bundles else self._legacy)(repository, digest):
                if suffices(material):
                    self._remember(repository, are_bundles=are_bundles)
                    return

    def _remember(self, repository: Repository, *, are_bundles: bool) -> None:
        with self._lock:
            self._bundled.pop(repository, None)
            if are_bundles:
                if len(self._bundled) >= _REMEMBERED:
                    self._bundled.pop(next(iter(self._bundled)))
                self._bundled[repository] = None

    def _legacy(self, repository: Repository, digest: str) -> Iterator[Material]:
        try:
            _, manifest = self._registry.manifest(repository, legacy_tag(digest))
        except RegistryError as error:
            if error.reason.code == "registry/not-found":
                return
            yield _unusable(error)
            return
        layers = [layer for layer in _layers(manifest) if layer.get("mediaType") == SIMPLE_SIGNING]
        if len(layers) > MAX_SIGNATURES:
            yield _too_many(len(layers))
        payloads: dict[str, bytes | Unusable] = {}
        for layer in layers[-MAX_SIGNATURES:]:  # the latest is the last
            notes, blob = layer.get("annotations"), str(layer.get("digest"))
            signature = notes.get(SIGNATURE_NOTE) if isinstance(notes, dict) else None
            if not isinstance(signature, str):
                yield Unusable("its signature is missing")
                continue
            if blob not in payloads:
                payloads[blob] = self._blob(repository, blob, PAYLOAD_LIMIT)
            payload = payloads[blob]
            yield payload if isinstance(payload, Unusable) else SimpleSigning(payload, signature)

    def _bundles(self, repository: Repository, digest: str) -> Iterator[Material]:
        try:
            # Without the type: the registry is asked once, whatever versions of bundles there are.
            listed = self._registry.referrers(repository, digest)
        except RegistryError as error:
            if error.reason.code == "registry/not-found":
                return
            yield _unusable(error)
            return
        bundles = [referrer for referrer in listed if _may_be_bundle(referrer)]
        if len(bundles) > MAX_SIGNATURES:
            yield _too_many(len(bundles))
        for referrer in bundles[:MAX_SIGNATURES]:
            yield from self._bundle(repository, referrer.digest)

    def _bundle(self, repository: Repository, digest: str) -> Iterator[Material]:
        try:
            _, manifest = self._registry.manifest(repository, digest)
        except RegistryError as error:
            yield _unusable(error)
            return
        layers = [layer for layer in _layers(manifest) if _is_bundle(layer.get("mediaType"))]
        for layer in layers[:1]:
            body = self._blob(repository, str(layer.get("digest")), BUNDLE_LIMIT)
            yield body if isinstance(body, Unusable) else Bundle(body)

    def _blob(self, repository: Repository, digest: str, limit: int) -> bytes | Unusable:
        if not DIGEST.fullmatch(digest):
            return Unusable("its layer has no digest")
        try:
            return self._registry.blob(repository, digest, limit)
        except RegistryError as error:
            return _unusable(error)


def _unusable(error: RegistryError) -> Unusable:
    """What became of a signature that cannot be had; raises the error that says nothing of it alone."""
    if error.reason.code not in _OF_ONE:
        raise error
    return Unusable(error.reason.sentence)


def _too_many(count: int) -> Unusable:
    return Unusable(f"there are {count}, of which {MAX_SIGNATURES} are looked at")


def _layers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    layers = manifest.get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _may_be_bundle(referrer: Referrer) -> bool:
    """Whether a referrer may be a bundle that signs; some registries do not tell the type."""
    kind = referrer.annotations.get("dev.sigstore.bundle.predicateType", "")
    is_other = bool(kind) and kind != "https://sigstore.dev/cosign/sign/v1"
    return not is_other and (not referrer.artifact_type or _is_bundle(referrer.artifact_type))


def _is_bundle(kind: object) -> bool:
    return isinstance(kind, str) and kind.startswith(_BUNDLE_TYPES)
