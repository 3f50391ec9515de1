"""Signatures as values: what registries hold as one, and what it is worth. `cosign` judges them.

Apart from it, since judging takes a library that is slow to load, and few workloads ask for signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
"""Media type of a layer that is a legacy payload."""
SIGNATURE_NOTE = "dev.cosignproject.cosign/signature"
"""Annotation of such a layer that holds the signature."""


@dataclass(frozen=True, slots=True)
class SimpleSigning:
    """A legacy signature: the bytes of the layer, and what its annotation says."""

    payload: bytes
    signature: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Sigstore bundle, as its layer holds it."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Unusable:
    """A signature that a registry lists, and that cannot be had as one."""

    problem: str


Material = SimpleSigning | Bundle | Unusable


class Checked(NamedTuple):
    """What a signature is worth, for one key and one digest."""

    is_good: bool
    flaw: str | None = None
    """Why it is worth nothing: it is unreadable, by another key, or of another image. None with one that is
    good, and with what is no signature of an image at all (an attestation)."""

    def or_else(self, other: Checked) -> Checked:
        """What two signatures are worth: the good one, else the first that has a flaw."""
        return other if not self.is_good and (other.is_good or self.flaw is None) else self


def legacy_tag(digest: str) -> str:
    """The tag under which cosign keeps the legacy signatures of a digest."""
    return f"{digest.replace(':', '-')}.sig"
