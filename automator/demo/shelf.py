"""The shelf: where the embedded registry keeps blobs, manifests and tags, as files in one folder.

What belongs here: storing by digest, with every digest verified. Names, tags and digests reach it
only after they were checked against the grammar, since they become paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

DIGEST = r"sha256:[0-9a-f]{64}"


class Refusal(Exception):
    """An error answer of the specification: status, code, sentence."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Shelf:
    """The folder: blobs and manifests by digest, tags as small files that hold a digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        for name in ("blobs", "uploads", "repositories"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        return self._folder / "blobs" / digest.removeprefix("sha256:")

    def upload(self, upload: str) -> Path:
        return self._folder / "uploads" / upload

    def begin_upload(self) -> str:
        upload = secrets.token_hex(16)
        self.upload(upload).touch()
        return upload

    def finish_upload(self, upload: str, digest: str) -> None:
        """Move an upload to its digest's place. Raises Refusal when the digest is another."""
        path = self.upload(upload)
        with path.open("rb") as file:
            got = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        if got != digest:
            path.unlink()
            raise Refusal(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"the content has digest {got}")
        os.replace(path, self.blob(digest))

    def put_manifest(self, name: str, reference: str, media_type: str, body: bytes) -> str:
        """Keep a manifest under a tag or its digest; the digest. Raises Refusal when it is another's,
        or when what it points to was not pushed before."""
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if reference.startswith("sha256:") and reference != digest:
            raise Refusal(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"the content has digest {digest}")
        self._check_manifest(name, body)
        with self._lock:
            self._write(
                self._manifest(name, digest), json.dumps({"type": media_type}).encode() + b"\n" + body
            )
            if reference != digest:
                self._write(self._tags(name) / reference, digest.encode())
        return digest

    def get_manifest(self, name: str, reference: str) -> tuple[str, str, bytes]:
        """Digest, media type and bytes of a tag or digest. Raises Refusal."""
        try:
            digest = reference
            if not reference.startswith("sha256:"):
                digest = (self._tags(name) / reference).read_text("ascii")
            head, _, body = self._manifest(name, digest).read_bytes().partition(b"\n")
        except OSError:
            code = "MANIFEST_UNKNOWN" if self._tags(name).is_dir() else "NAME_UNKNOWN"
            raise Refusal(HTTPStatus.NOT_FOUND, code, f"{name} has no manifest {reference}") from None
        return digest, json.loads(head)["type"], body

    def delete_manifest(self, name: str, reference: str) -> None:
        digest, _, _ = self.get_manifest(name, reference)
        with self._lock:
            if reference != digest:
                (self._tags(name) / reference).unlink(missing_ok=True)
                return
            for tag in list(self._tags(name).iterdir()):
                if tag.read_text("ascii") == digest:
                    tag.unlink()
            self._manifest(name, digest).unlink(missing_ok=True)

    def tags(self, name: str) -> list[str]:
        """All tags in ASCII order. Raises Refusal for a repository that nobody pushed to."""
        if not self._tags(name).is_dir():
            raise Refusal(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", f"no repository {name}")
        with self._lock:
            return sorted(path.name for path in self._tags(name).iterdir() if not path.name.endswith("~"))

    # No part of a repository's name begins with "_", so these folders meet no other repository's.
    def _tags(self, name: str) -> Path:
        return self._folder / "repositories" / name / "_tags"

    def _manifest(self, name: str, digest: str) -> Path:
        return self._folder / "repositories" / name / "_manifests" / digest.removeprefix("sha256:")

    def _check_manifest(self, name: str, body: bytes) -> None:
        """Refuse a manifest that points to what was not pushed before."""
        try:
            manifest = json.loads(body)
            blobs = [manifest["config"], *manifest["layers"]] if "config" in manifest else []
            missing = [d["digest"] for d in blobs if not self._has(self.blob, d["digest"])]
            children = [d["digest"] for d in manifest.get("manifests", [])]
            missing += [d for d in children if not self._has(lambda x: self._manifest(name, x), d)]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refusal(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", "this is no image manifest") from None
        if missing:
            raise Refusal(HTTPStatus.BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", f"{missing[0]} was not pushed")

    @staticmethod
    def _has(place: Callable[[str], Path], digest: str) -> bool:
        return re.fullmatch(DIGEST, digest) is not None and place(digest).is_file()

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name[:120] + f".{secrets.token_hex(4)}~")
        aside.write_bytes(content)
        os.replace(aside, path)
