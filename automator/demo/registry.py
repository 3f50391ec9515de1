"""An OCI registry of our own that serves from a folder: for the demo, and for tests of pagination.

What belongs here: the OCI distribution spec 1.1 as far as clients push, pull and list with it. Every
name is checked against the grammar before it becomes a path. Loopback only, no authentication: not a
registry to run for others.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from automator.demo.shelf import DIGEST, Refusal, Shelf

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_UPLOAD = r"[0-9a-f]{32}"
MANIFEST_LIMIT = 4 * 1024 * 1024
UPLOAD_LIMIT = 1024 * 1024 * 1024
CHUNK = 64 * 1024
PAGE_LIMIT = 1000
DEFAULT_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


class EmbeddedRegistry:
    """The registry as a context manager: serves `folder` on loopback until it is left.

        with EmbeddedRegistry(Path("images")) as registry:
            push_image(registry.url, "acme/web", "1.4.3")

    `port` 0 takes a free one. `page_limit` is the most tags it gives at once, asked for or not.
    """

    def __init__(self, folder: Path, *, port: int = 0, page_limit: int = PAGE_LIMIT) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.shelf = Shelf(folder)
        self._server.page_limit = page_limit
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:40123`, as image references have it."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def log(self) -> tuple[str, ...]:
        """The requests so far, as `GET /v2/acme/web/tags/list 200`."""
        return tuple(self._server.log)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close all connections. Harmless when already stopped."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    shelf: Shelf
    page_limit: int

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.log: list[str] = []
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not worth a traceback on the demo's terminal."""

    def hang_up(self) -> None:
        with self._open_lock:
            opened = dict(self._open)
        for connection, thread in opened.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "automator-demo-registry"
    disable_nagle_algorithm = True
    server: _Server

    def _route(self) -> None:
        parts = urlsplit(self.path)
        self._query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self._body = self._read_body()
        try:
            for pattern, methods in _ROUTES:
                match = re.fullmatch(pattern, parts.path)
                if match is not None:
                    if self.command not in methods:
                        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "no such method here")
                    methods[self.command](self, **match.groupdict())
                    break
            else:
                raise Refusal(HTTPStatus.NOT_FOUND, "NAME_INVALID", "no such resource")
        except Refusal as refusal:
            error = {"errors": [{"code": refusal.code, "message": str(refusal), "detail": None}]}
            self._answer(refusal.status, json.dumps(error).encode(), {"Content-Type": "application/json"})
        for _ in self._body:  # what was not read would be taken for the next request
            pass

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _route  # noqa: N815

    # -- resources ------------------------------------------------------------------------------

    def _base(self) -> None:
        self._answer(HTTPStatus.OK, b"{}", {"Content-Type": "application/json"})

    def _list_tags(self, name: str) -> None:
        tags = self.server.shelf.tags(name)
        asked = self._query.get("n", "")
        if asked and not (asked.isascii() and asked.isdigit()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "PAGINATION_NUMBER_INVALID", f"n={asked}")
        size = min(int(asked or self.server.page_limit), self.server.page_limit)
        rest = [tag for tag in tags if tag > self._query.get("last", "")]
        headers = {"Content-Type": "application/json"}
        if size and len(rest) > size:
            query = urlencode({"n": size, "last": rest[size - 1]})
            headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
        self._answer(HTTPStatus.OK, json.dumps({"name": name, "tags": rest[:size]}).encode(), headers)

    def _get_manifest(self, name: str, reference: str) -> None:
        digest, media_type, body = self.server.shelf.get_manifest(name, reference)
        self._answer(
            HTTPStatus.OK,
            body,
            {"Content-Type": media_type, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'},
        )

    def _put_manifest(self, name: str, reference: str) -> None:
        body = bytearray()
        for chunk in self._body:
            body += chunk
            if len(body) > MANIFEST_LIMIT:
                raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "a manifest is smaller")
        media_type = self.headers.get("Content-Type") or DEFAULT_MEDIA_TYPE
        digest = self.server.shelf.put_manifest(name, reference, media_type, bytes(body))
        place = f"/v2/{name}/manifests/{quote(digest)}"
        self._answer(HTTPStatus.CREATED, b"", {"Location": place, "Docker-Content-Digest": digest})

    def _delete_manifest(self, name: str, reference: str) -> None:
        self.server.shelf.delete_manifest(name, reference)
        self._answer(HTTPStatus.ACCEPTED)

    def _get_blob(self, name: str, digest: str) -> None:
        path = self.server.shelf.blob(digest)
        if not path.is_file():
            raise Refusal(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(path.stat().st_size))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _begin_upload(self, name: str) -> None:
        upload = self.server.shelf.begin_upload()
        if "digest" in self._query:  # all at once; a mount is answered with an upload instead
            self._append(upload)
            self._finish(name, upload)
        else:
            self._accepted(name, upload)

    def _continue_upload(self, name: str, upload: str) -> None:
        self._append(upload)
        self._accepted(name, upload)

    def _finish_upload(self, name: str, upload: str) -> None:
        self._append(upload)
        self._finish(name, upload)

    def _upload_status(self, name: str, upload: str) -> None:
        self._upload_path(upload)
        self._accepted(name, upload, HTTPStatus.NO_CONTENT)

    # -- parts of answers -----------------------------------------------------------------------

    def _upload_path(self, upload: str) -> Path:
        path = self.server.shelf.upload(upload)
        if not path.is_file():
            raise Refusal(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        return path

    def _append(self, upload: str) -> None:
        with self._upload_path(upload).open("ab") as file:
            start = self.headers.get("Content-Range", "").partition("-")[0]
            if start.isdigit() and int(start) != file.tell():
                raise Refusal(
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", "wrong range"
                )
            for chunk in self._body:
                file.write(chunk)
                if file.tell() > UPLOAD_LIMIT:
                    raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "too large a blob")

    def _finish(self, name: str, upload: str) -> None:
        digest = self._query.get("digest", "")
        if not re.fullmatch(DIGEST, digest):
            raise Refusal(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "only sha256 is served")
        self.server.shelf.finish_upload(upload, digest)
        place = f"/v2/{name}/blobs/{quote(digest)}"
        self._answer(HTTPStatus.CREATED, b"", {"Location": place, "Docker-Content-Digest": digest})

    def _accepted(self, name: str, upload: str, status: HTTPStatus = HTTPStatus.ACCEPTED) -> None:
        size = self.server.shelf.upload(upload).stat().st_size
        place = f"/v2/{name}/blobs/uploads/{upload}"
        self._answer(
            status,
            b"",
            {"Location": place, "Docker-Upload-UUID": upload, "Range": f"0-{max(size - 1, 0)}"},
        )

    def _answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _read_body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline(100).split(b";")[0], 16):
                while size > 0:
                    data = self.rfile.read(min(size, CHUNK))
                    if not data:
                        return
                    size -= len(data)
                    yield data
                self.rfile.readline(100)
            while self.rfile.readline(1000).strip():
                pass
            return
        length = self.headers.get("Content-Length", "")
        left = int(length) if length.isdigit() else 0
        while left > 0:
            data = self.rfile.read(min(left, CHUNK))
            if not data:
                return
            left -= len(data)
            yield data

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        status = code.value if isinstance(code, HTTPStatus) else code
        self.server.log.append(f"{self.command} {self.path} {status}")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal: the demo is read as a tutorial."""


_ROUTES: tuple[tuple[str, dict[str, Callable[..., None]]], ...] = (
    (r"/v2/?", {"GET": _Handler._base, "HEAD": _Handler._base}),
    (rf"/v2/(?P<name>{_NAME})/tags/list", {"GET": _Handler._list_tags}),
    (
        rf"/v2/(?P<name>{_NAME})/manifests/(?P<reference>{_TAG}|{DIGEST})",
        {
            "GET": _Handler._get_manifest,
            "HEAD": _Handler._get_manifest,
            "PUT": _Handler._put_manifest,
            "DELETE": _Handler._delete_manifest,
        },
    ),
    (
        rf"/v2/(?P<name>{_NAME})/blobs/(?P<digest>{DIGEST})",
        {"GET": _Handler._get_blob, "HEAD": _Handler._get_blob},
    ),
    (rf"/v2/(?P<name>{_NAME})/blobs/uploads/", {"POST": _Handler._begin_upload}),
    (
        rf"/v2/(?P<name>{_NAME})/blobs/uploads/(?P<upload>{_UPLOAD})",
        {
            "GET": _Handler._upload_status,
            "PATCH": _Handler._continue_upload,
            "PUT": _Handler._finish_upload,
        },
    ),
)
