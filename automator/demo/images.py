"""Tiny images for the demo: built in memory and pushed to a registry, with Python alone.

What belongs here: a valid OCI image of one empty layer, and the four requests that push it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urljoin

import requests

from automator.edges import http

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY_TAR = bytes(10240)
SECONDS = 30.0


class PushError(Exception):
    """The registry did not take an image."""


def image(
    *, created: datetime | None, labels: Mapping[str, str] | None = None, layer: bytes = EMPTY_TAR
) -> tuple[bytes, tuple[bytes, bytes]]:
    """Manifest, and the two blobs (config, layer) it points to. `layer` is an uncompressed tar."""
    packed = gzip.compress(layer, mtime=0)
    config: dict[str, object] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": dict(labels or {})},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    if created is not None:
        config["created"] = created.isoformat()
    config_bytes = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": _digest(config_bytes), "size": len(config_bytes)},
        "layers": [{"mediaType": LAYER, "digest": _digest(packed), "size": len(packed)}],
    }
    return json.dumps(manifest).encode(), (config_bytes, packed)


def push_image(
    registry_url: str,
    repository: str,
    tag: str,
    *,
    created: datetime | None = None,
    labels: Mapping[str, str] | None = None,
    session: requests.Session | None = None,
) -> str:
    """Push a tiny image to `registry_url` (`http://127.0.0.1:5000`); its digest.

    Images pushed with equal `created` and `labels` are equal: give one that differs, such as a
    label with the version. Pass a `session` to keep the connection for the next. Raises PushError.
    """
    manifest, blobs = image(created=created, labels={"tag": tag} if labels is None else labels)
    with contextlib.ExitStack() as stack:
        kept = session if session is not None else stack.enter_context(http.new_session())
        base = f"{registry_url}/v2/{repository}"
        for blob in blobs:
            _push_blob(kept, base, blob)
        _send(kept, "PUT", f"{base}/manifests/{tag}", (201,), manifest, {"Content-Type": MANIFEST})
    return _digest(manifest)


def _push_blob(session: requests.Session, base: str, blob: bytes) -> None:
    if _send(session, "HEAD", f"{base}/blobs/{_digest(blob)}", (200, 404)).status == 200:
        return
    answer = _send(session, "POST", f"{base}/blobs/uploads/", (202,))
    upload = urljoin(f"{base}/blobs/uploads/", answer.headers.get("Location", ""))
    joint = "&" if "?" in upload else "?"
    _send(session, "PUT", f"{upload}{joint}digest={quote(_digest(blob))}", (201,), blob)


def _send(
    session: requests.Session,
    method: str,
    url: str,
    wanted: tuple[int, ...],
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> http.Answer:
    limits = http.Limits(connect=5, read=SECONDS, ends_at=time.monotonic() + SECONDS, body=1024 * 1024)
    kind = {"Content-Type": "application/octet-stream"} if data is not None else {}
    try:
        answer = http.send(session, method, url, headers=kind | dict(headers or {}), limits=limits, data=data)
    except http.TransportError as e:
        raise PushError(f"{method} {url}: {e}") from e
    if answer.status not in wanted:
        raise PushError(f"{method} {url}: HTTP {answer.status}")
    return answer


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def main(arguments: list[str]) -> int:
    """Push a new tiny image: `python -m automator.demo.images HOST/REPOSITORY:TAG`, over plain HTTP."""
    if len(arguments) != 1 or not (match := re.fullmatch(r"([^/\s]+)/([^:\s]+):([^:\s]+)", arguments[0])):
        sys.stderr.write("usage: python -m automator.demo.images HOST/REPOSITORY:TAG\n")
        return 2
    host, repository, tag = match.groups()
    try:
        digest = push_image(f"http://{host}", repository, tag, created=datetime.now(UTC))
    except (PushError, requests.RequestException, http.TransportError) as error:
        sys.stderr.write(f"{arguments[0]} was not pushed: {error}\n")
        return 1
    sys.stdout.write(f"pushed {arguments[0]} {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
