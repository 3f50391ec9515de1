"""Access: where an API server is, whom we trust there, and as whom we speak.

What belongs here: a kubeconfig (v1; clusters, contexts, users) or a pod's service account, read at each look,
since tokens and certificates are replaced while the program runs. No program is ever run to log in.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from automator.core import yamltext
from automator.edges.kubernetes.reading import records, text
from automator.edges.kubernetes.settings import ClusterSettings
from automator.edges.secretfile import UnusableFile, read_file
from automator.errors import ManifestError, RuntimeTrouble
from automator.reasons import Reason, one_line, reason

FILE_LIMIT = 1 << 20
_TOKEN = re.compile(r"[\x21-\x7e]+")
_REFUSED = {
    "auth-provider": "auth-provider plugins are not run",
    "username": "user and password are not spoken: API servers have dropped them",
    "as": "impersonation (`as`) is not spoken",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How one API server is spoken to, with the secrets in hand."""

    server: str
    """https://host:port, perhaps with a path; no slash at its end."""
    login: str
    """As whom, in words: `the token in /run/token`."""
    authority: bytes | None = field(default=None, repr=False)
    """Certificates that are trusted, in PEM, instead of the usual ones."""
    verify: bool = True
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)


def read_access(settings: ClusterSettings) -> Access:
    """Raises RuntimeTrouble: `cluster/kubeconfig`, `cluster/login-program`, `cluster/file`,
    `cluster/no-account`."""
    if settings.kubeconfig is None:
        return _of_account(settings)
    return _Kubeconfig(settings.name, settings.kubeconfig).access(settings.context)


def _of_account(settings: ClusterSettings) -> Access:
    """The service account that every pod is given."""
    name, folder = settings.name, settings.account
    host, port = (settings.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    token_file, ca_file = os.path.join(folder, "token"), os.path.join(folder, "ca.crt")
    if not host or not os.path.exists(token_file):
        raise _no(reason("cluster/no-account", runtime=name, folder=folder))
    shown = f"[{host}]" if ":" in host else host
    return Access(
        f"https://{shown}:{port or '443'}",
        f"the service account's token in {token_file}",
        authority=_certificates(name, ca_file, _read(name, ca_file)),
        token=_token(name, token_file, _read(name, token_file)),
    )


class _Kubeconfig:
    """One file, read once."""

    def __init__(self, runtime: str, path: str) -> None:
        self._runtime = runtime
        self._path = path
        try:
            documents = yamltext.parse(_read(runtime, path).decode("utf-8-sig"))
        except (ManifestError, UnicodeError):
            # Not chained: the error may quote a key.
            raise self._wrong("it is no YAML") from None
        root = _plain(documents[0].root) if documents else None
        if not isinstance(root, dict) or not isinstance(root.get("clusters"), list):
            raise self._wrong("it has no `clusters`: it is no kubeconfig")
        self._root: dict[str, Any] = root

    def access(self, context: str | None) -> Access:
        wanted = context or text(self._root, "current-context")
        if not wanted:
            raise self._wrong("it has no current-context; name one by `context`")
        chosen = self._named("contexts", wanted, "context")
        cluster = self._named("clusters", text(chosen, "cluster"), "cluster")
        user = self._named("users", text(chosen, "user"), "user") if text(chosen, "user") else {}
        self._refuse(user, text(chosen, "user"))
        server = text(cluster, "server").rstrip("/")
        is_plain = server.startswith("http://")
        if not self._is_address(server):
            raise self._wrong(
                f'cluster {text(chosen, "cluster")} has no `server` such as "https://host:6443"'
            )
        if text(cluster, "tls-server-name"):
            raise self._wrong("tls-server-name is not spoken: name the server as its certificate does")
        token, login = self._token_of(user)
        authority = self._bytes(cluster, "certificate-authority")
        certificate, key = self._bytes(user, "client-certificate"), self._bytes(user, "client-key")
        if (certificate is None) != (key is None):
            raise self._wrong("a client certificate needs its key, and the key its certificate")
        if is_plain and (token is not None or certificate is not None):
            raise self._wrong(f"{server} is not https, and would be shown a secret")
        if authority is not None:
            authority = _certificates(self._runtime, self._path, authority)
        return Access(
            server,
            login if certificate is None else "the client certificate of the kubeconfig",
            authority=authority,
            verify=text(cluster, "insecure-skip-tls-verify").lower() != "true",
            certificate=certificate,
            key=key,
            token=token,
            proxy=text(cluster, "proxy-url") or None,
        )

    def _named(self, table: str, name: str, what: str) -> dict[str, Any]:
        for one in records(self._root, table):
            if text(one, "name") == name:
                found = one.get(what)
                return found if isinstance(found, dict) else {}
        raise self._wrong(f'it has no {what} "{name}"')

    def _refuse(self, user: Mapping[str, Any], name: str) -> None:
        if "exec" in user:
            command = text(user, "exec", "command") or "a program"
            why = reason(
                "cluster/login-program", runtime=self._runtime, file=self._path, user=name, command=command
            )
            raise _no(why)
        for key, problem in _REFUSED.items():
            if key in user:
                raise self._wrong(f"user {name}: {problem}; give it a token or a client certificate")

    def _token_of(self, user: Mapping[str, Any]) -> tuple[str | None, str]:
        """The token, and where it stands. As kubectl does, `tokenFile` comes before `token`."""
        path = text(user, "tokenFile")
        if path:
            path = self._beside(path)
            return _token(self._runtime, path, _read(self._runtime, path)), f"the token in {path}"
        written = text(user, "token")
        if written:
            return _token(self._runtime, self._path, written.encode()), f"the token in {self._path}"
        return None, "no login"

    def _bytes(self, of: Mapping[str, Any], key: str) -> bytes | None:
        """What `KEY-data` holds, else the file that KEY names; None where neither is there."""
        inline = text(of, f"{key}-data")
        if inline:
            try:
                return base64.b64decode("".join(inline.split()), validate=True)
            except (binascii.Error, ValueError):
                raise self._wrong(f"{key}-data is no base64") from None
        path = text(of, key)
        return _read(self._runtime, self._beside(path)) if path else None

    def _beside(self, path: str) -> str:
        return os.path.join(os.path.dirname(os.path.abspath(self._path)), path)

    def _is_address(self, server: str) -> bool:
        try:
            parts = urlsplit(server)
            # An `@` further on may be the end of a password with a `/` in it.
            return parts.scheme in ("https", "http") and bool(parts.hostname) and "@" not in server
        except ValueError:
            return False

    def _wrong(self, problem: str) -> RuntimeTrouble:
        return _no(
            reason("cluster/kubeconfig", runtime=self._runtime, file=self._path, problem=one_line(problem))
        )


def _plain(node: yamltext.Node | None, depth: int = 0) -> Any:
    """A document as plain values; every scalar is text."""
    target = node.target if isinstance(node, yamltext.Alias) else node
    if depth > 12:
        return None
    if isinstance(target, yamltext.Mapping):
        return {
            key.value: _plain(value, depth + 1)
            for key, value in target.pairs
            if isinstance(key, yamltext.Scalar)
        }
    if isinstance(target, yamltext.Sequence):
        return [_plain(item, depth + 1) for item in target.items]
    if not isinstance(target, yamltext.Scalar) or (
        target.style == "plain" and target.value in ("", "~", "null")
    ):
        return None
    return target.value


# -- files -------------------------------------------------------------------------------------------------


def _read(runtime: str, path: str) -> bytes:
    try:
        return read_file(path, FILE_LIMIT)
    except UnusableFile as why:
        raise _unusable(runtime, path, str(why)) from None


def _token(runtime: str, path: str, content: bytes) -> str:
    token = content.decode("utf-8-sig", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise _unusable(runtime, path, "its token is empty, or holds characters that no token has")
    return token


def _certificates(runtime: str, path: str, content: bytes) -> bytes:
    try:
        ssl.create_default_context(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise _unusable(runtime, path, "it holds no certificate of an authority in PEM") from None
    return content


def _unusable(runtime: str, path: str, problem: str) -> RuntimeTrouble:
    return _no(reason("cluster/file", runtime=runtime, file=path, problem=problem))


def _no(why: Reason) -> RuntimeTrouble:
    return RuntimeTrouble(why, retry=False)
