"""Images for several platforms, pushed as builds push them: an index over one image for each."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from urllib.parse import urljoin

import requests
from parts.registry import INDEX_TYPE

from automator.demo import images

BUILT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def push_platforms(host: str, repository: str, tag: str, *platforms: str) -> str:
    """Push an index for these platforms (`linux/arm/v7`) under a tag of a plain registry; its digest."""
    children = []
    with requests.Session() as session:
        session.trust_env = False
        for platform in platforms:
            manifest, blobs = images.image(created=BUILT, labels={"tag": tag, "platform": platform})
            for blob in blobs:
                push_blob(session, host, repository, blob)
            digest = put_manifest(session, host, repository, None, images.MANIFEST, manifest)
            system, architecture, *variant = platform.split("/")
            about = {
                "os": system,
                "architecture": architecture,
                **({"variant": variant[0]} if variant else {}),
            }
            children.append(
                {"mediaType": images.MANIFEST, "digest": digest, "size": len(manifest), "platform": about}
            )
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": children}
        return put_manifest(session, host, repository, tag, INDEX_TYPE, json.dumps(index).encode())


def push_blob(session: requests.Session, host: str, repository: str, blob: bytes) -> None:
    begun = session.post(f"http://{host}/v2/{repository}/blobs/uploads/", timeout=20)
    assert begun.status_code == 202, begun.text
    place = urljoin(begun.url, begun.headers["Location"])
    joint = "&" if "?" in place else "?"
    kind = {"Content-Type": "application/octet-stream"}
    answer = session.put(f"{place}{joint}digest={_digest(blob)}", data=blob, headers=kind, timeout=20)
    assert answer.status_code == 201, answer.text


def put_manifest(
    session: requests.Session, host: str, repository: str, tag: str | None, kind: str, manifest: bytes
) -> str:
    digest = _digest(manifest)
    url = f"http://{host}/v2/{repository}/manifests/{tag or digest}"
    answer = session.put(url, data=manifest, headers={"Content-Type": kind}, timeout=20)
    assert answer.status_code == 201, answer.text
    return digest


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
