"""Content: manifests, image configs and blobs of an image repository, fetched and verified.

What belongs here: questions whose answer has a digest, asked within an exchange. Every body is held
against the digest that was asked for or that the answer claims; whoever calls gets bytes that fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from automator.core.reference import DIGEST, Repository
from automator.edges.http import Answer
from automator.edges.registry import failures, manifests
from automator.edges.registry.exchange import Exchange, Question
from automator.edges.registry.manifests import Descriptions, Malformed, Manifest
from automator.errors import RegistryError

T = TypeVar("T")
INDEX_DEPTH = 2
CHILDREN_ASKED = 4
UNTOLD = ("text/", "application/vnd.docker.distribution.manifest.v1+")
"""Content types of what is no manifest that counts: a page for people, schema 1."""
HEAD_TAKEN = frozenset({200, 400, 403, 404, 405, 501})
"""Answers to a HEAD that a GET may contradict, or explain: a HEAD has no words."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What an answer may have: bytes, and tags."""

    page: int = 16 * MIB
    pages: int = 64 * MIB
    """All pages of one list together."""
    tags: int = 1_000_000
    """All pages of one list together."""
    manifest: int = 4 * MIB
    config: int = 4 * MIB


class Content:
    """The content of one image repository, within one exchange. All methods raise RegistryError."""

    def __init__(self, exchange: Exchange, repository: Repository, limits: BodyLimits) -> None:
        self._exchange = exchange
        self._repository = repository
        self._limits = limits

    def head(self, reference: str) -> str | None:
        """The digest that a HEAD tells; None where it tells none, or talks of something else."""
        question = replace(self._question(reference), method="HEAD", taken=HEAD_TAKEN)
        answer = self._exchange.ask(question)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status != 200 or not DIGEST.fullmatch(digest) or _kind(answer).startswith(UNTOLD):
            return None
        return digest

    def manifest(self, reference: str) -> tuple[str, Manifest]:
        """The digest and content of the manifest at a tag or digest; the digest is always computed."""
        digest, answer = self._manifest(reference)
        return digest, read(self._repository, f"manifest {reference}", answer, _agreeing(answer))

    def manifest_json(self, reference: str) -> tuple[str, dict[str, Any]]:
        """The digest of the manifest at a tag or digest, and its JSON object as it is."""
        digest, answer = self._manifest(reference)
        return digest, read(self._repository, f"manifest {reference}", answer, _an_object)

    def tagged_index(self, tag: str) -> Answer | None:
        """The index at a tag, as it came; None where there is none."""
        answer = self._exchange.ask(replace(self._question(tag), taken=frozenset({200, 404})))
        if answer.status == 404:
            return None
        self._verify(f"manifest {tag}", answer, tag)
        return answer

    def blob(self, digest: str, limit: int, what: str = "") -> bytes:
        """The bytes of a blob, at most `limit`."""
        what = what or f"blob {digest}"
        question = Question(what, "blobs", f"blobs/{digest}", accept="*/*", limit=limit)
        answer = self._exchange.ask(question)
        self._verify(what, answer, digest)
        return answer.body

    def described(self, manifest: Manifest, depth: int = 0) -> Descriptions:
        """What annotations and, where they say no build time, the image's config say."""
        told = manifest.described
        if manifest.config is not None:
            what = f"image config {manifest.config}"
            body = self.blob(manifest.config, self._limits.config, what)
            answer = Answer(200, {}, body, "")
            return told.filled_from(read(self._repository, what, answer, manifests.read_config))
        if told.built is None and manifest.children and depth < INDEX_DEPTH:
            return told.filled_from(self._child(manifest.children, depth + 1))
        return told

    def _child(self, digests: tuple[str, ...], depth: int) -> Descriptions:
        """What the first of these images says that is there: a copy of an index need not have them all."""
        missing: RegistryError | None = None
        for digest in digests[:CHILDREN_ASKED]:
            try:
                return self.described(self.manifest(digest)[1], depth)
            except RegistryError as e:
                if e.reason.code != "registry/not-found":
                    raise
                missing = missing or e
        assert missing is not None
        raise missing

    def _question(self, reference: str) -> Question:
        return Question(
            f"manifest {reference}",
            "manifests",
            f"manifests/{reference}",
            accept=manifests.ACCEPT,
            limit=self._limits.manifest,
        )

    def _manifest(self, reference: str) -> tuple[str, Answer]:
        question = self._question(reference)
        answer = self._exchange.ask(question)
        return self._verify(question.what, answer, reference), answer

    def _verify(self, what: str, answer: Answer, reference: str) -> str:
        """The digest of the bytes that came, which must be the one asked for, or the one claimed."""
        claimed = answer.headers.get("Docker-Content-Digest", "")
        wanted = next((d for d in (reference, claimed) if DIGEST.fullmatch(d)), None)
        digest = manifests.digest_of(answer.body, wanted)
        if wanted is not None and digest != wanted:
            raise failures.bad_digest(self._repository, what, wanted, digest)
        return digest


def read(repository: Repository, what: str, answer: Answer, reader: Callable[[Any], T]) -> T:
    """The JSON of `answer` as `reader` understands it, whose Malformed becomes a RegistryError."""
    try:
        return reader(manifests.read_json(answer.body))
    except ValueError as e:
        raise failures.not_json(repository, what, answer) from e
    except Malformed as e:
        raise failures.bad_answer(repository, what, str(e)) from e


def _agreeing(answer: Answer) -> Callable[[Any], Manifest]:
    return lambda parsed: manifests.read_manifest(parsed, _kind(answer))


def _an_object(parsed: Any) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise Malformed("it is no JSON object")
    return parsed


def _kind(answer: Answer) -> str:
    """The content type without its parameters; empty where there is none."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
