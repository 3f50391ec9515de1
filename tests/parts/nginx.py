"""Debian's nginx in tests: TLS in front of a registry, or answers of its own."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from parts.certificates import CertFiles
from parts.registry import wait_until

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """nginx on a free port of loopback, with its files in `folder`.

    `location` is what it does with every request: `behind(host)` passes it on. With `certificate` it speaks
    TLS; with `client_ca` it lets nobody in without a certificate of that authority, or with `optional`
    asks for one.
    """

    def __init__(
        self,
        folder: Path,
        location: str,
        *,
        certificate: CertFiles | None = None,
        client_ca: Path | None = None,
        optional: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        self._folder = folder
        self._location = location
        self._certificate = certificate
        self._client_ca = client_ca
        self._optional = optional
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def host(self) -> str:
        """As an image reference names it; `name` makes it another one."""
        return self.called(f"[{self._address}]" if ":" in self._address else self._address)

    def called(self, name: str) -> str:
        return f"{name}:{self.port}"

    def requests(self) -> list[str]:
        """The requests so far, as `GET /v2/… 200`; written after the answer."""
        log = self._folder / "access.log"
        return log.read_text().splitlines() if log.exists() else []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port(self._address)
        (self._folder / "nginx.conf").write_text(self._config())
        self._process = subprocess.Popen(
            ["nginx", "-c", str(self._folder / "nginx.conf"), "-p", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_listening, "nginx listening")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def _config(self) -> str:
        folder = self._folder
        tls, lines = "", []
        if self._certificate is not None:
            tls = " ssl"
            lines += [
                f"ssl_certificate {self._certificate.cert_file};",
                f"ssl_certificate_key {self._certificate.key_file};",
            ]
        if self._client_ca is not None:
            wanted = "optional" if self._optional else "on"
            lines += [f"ssl_client_certificate {self._client_ca};", f"ssl_verify_client {wanted};"]
        address = f"[{self._address}]" if ":" in self._address else self._address
        paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
        return f"""
            daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections 256; }}
            http {{
              {paths}
              log_format short '$request_method $request_uri $status';
              access_log {folder}/access.log short;
              server {{
                listen {address}:{self.port}{tls};
                {" ".join(lines)}
                default_type application/json;
                location / {{ {self._location} }}
              }}
            }}
        """

    def _is_listening(self) -> bool:
        assert self._process is not None
        problem = self._folder / "error.log"
        assert self._process.poll() is None, (
            problem.read_text() if problem.exists() else "nginx did not start"
        )
        try:
            socket.create_connection((self._address, self.port), 1).close()
        except OSError:
            return False
        return True


def behind(host: str) -> str:
    """Passes every request on to the registry at `host`, which believes that it is called by nginx's name."""
    return (
        f"proxy_pass http://{host}; proxy_set_header Host $http_host; "
        "proxy_set_header X-Forwarded-Proto $scheme;"
    )


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])
