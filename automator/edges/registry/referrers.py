"""Referrers: which signatures and other artifacts a registry lists for a digest.

What belongs here: the index that the referrers API answers with, or that the fallback tag holds.
Format: OCI distribution spec 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from automator.core.reference import DIGEST, Repository
from automator.edges.http import Answer
from automator.edges.registry import failures
from automator.edges.registry.content import BodyLimits, Content, read
from automator.edges.registry.exchange import Exchange, Question
from automator.edges.registry.learnt import Learnt
from automator.edges.registry.manifests import INDEXES, Malformed
from automator.edges.registry.pages import Walk

ABSENT = frozenset({400, 404, 405, 406, 501})
"""Statuses with which registries answer that do not know the question."""
TEXT_LIMIT = 4096
ANNOTATIONS_LIMIT = 64
PAGE_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to another one, its subject."""

    digest: str
    media_type: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def fallback_tag(digest: str) -> str:
    """The tag under which registries without the API keep the index of `digest`'s referrers."""
    algorithm, _, encoded = digest.partition(":")
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{algorithm[:32]}-{encoded[:64]}")


def read_referrers(index: Any) -> list[Referrer]:
    """The entries of an index of referrers. Raises Malformed."""
    entries = index.get("manifests") if isinstance(index, dict) else 0
    if entries is None and "config" in index:
        raise Malformed("it is an image, where an index of referrers should be")
    if entries is None:  # so some say that there are none
        return []
    if not isinstance(entries, list):
        raise Malformed("it is no image index")
    return [_referrer(entry) for entry in entries]


def _referrer(entry: Any) -> Referrer:
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Malformed("an entry of the index has no digest")
    notes = entry.get("annotations")
    told = {
        key: value
        for key, value in (notes.items() if isinstance(notes, dict) else ())
        if isinstance(value, str) and len(key) <= TEXT_LIMIT and len(value) <= TEXT_LIMIT
    }
    return Referrer(
        digest,
        _word(entry, "mediaType"),
        _word(entry, "artifactType"),
        dict(list(told.items())[:ANNOTATIONS_LIMIT]),
    )


def _word(entry: Mapping[Any, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) and len(value) <= TEXT_LIMIT else ""


@dataclass(frozen=True, slots=True)
class ReferrerQuestion:
    """The question for what refers to a digest, within one exchange."""

    exchange: Exchange
    content: Content
    repository: Repository
    learnt: Learnt
    limits: BodyLimits

    def answer(self, digest: str, artifact_type: str | None) -> tuple[Referrer, ...]:
        """All of `artifact_type`, each once. Raises RegistryError."""
        found = None
        if not self.learnt.lacks_referrers(self.repository):
            found = self._listed(digest, artifact_type)
        if found is None:
            found = self._tagged(digest)
        wanted = [r for r in found if artifact_type is None or r.artifact_type == artifact_type]
        return tuple({referrer.digest: referrer for referrer in wanted}.values())

    def _listed(self, digest: str, artifact_type: str | None) -> list[Referrer] | None:
        """What the API lists; None where there is none.

        Whether the registry filtered (`OCI-Filters-Applied`) does not matter: `answer` does it again.
        """
        query = "" if artifact_type is None else urlencode({"artifactType": artifact_type})
        what = f"what refers to {digest}"
        question = Question(
            what,
            "referrers",
            f"referrers/{digest}",
            query,
            accept="application/vnd.oci.image.index.v1+json",
            limit=self.limits.manifest,
            taken=frozenset({200}) | ABSENT,
        )
        first = self.exchange.ask(question)
        if first.status != 200 or not _may_be_index(first):
            known = failures.error_codes(first.body) & {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "DIGEST_INVALID"}
            if first.status != 400 and not known:
                self.learnt.no_referrers(self.repository)
            return None
        self.learnt.has_referrers(self.repository)

        def ask(query: str) -> Answer:
            if query == question.query:
                return first
            return self.exchange.ask(replace(question, query=query, taken=frozenset({200})))

        pages = Walk(self.repository, ask, PAGE_LIMIT, self.limits.pages).pages(query)
        return [r for page in pages for r in read(self.repository, what, page.answer, read_referrers)]

    def _tagged(self, digest: str) -> list[Referrer]:
        """What the index at the fallback tag lists; nothing where there is no such tag."""
        tag = fallback_tag(digest)
        index = self.content.tagged_index(tag)
        return [] if index is None else read(self.repository, f"manifest {tag}", index, read_referrers)


def _may_be_index(answer: Answer) -> bool:
    """Whether it may be an index of referrers, and not somebody's web page."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return not kind or kind in INDEXES or kind == "application/json"
