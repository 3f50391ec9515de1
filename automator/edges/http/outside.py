"""Outside: the ways out that the environment names, read once when the program starts.

What belongs here: proxies and certificate bundles, by the variables that requests and curl know.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

BUNDLE_FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name the certificates trusted instead of the usual ones; the first that is set counts."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Proxies, and the certificates to trust instead of the usual ones. Proxies may hold passwords."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By scheme of the URL that is asked for: `http`, `https`, `all`."""
    no_proxy: tuple[str, ...] = ()
    """Names, addresses and networks that are called without proxy; lower case."""
    bundle: str | None = None
    """File or folder of certificates."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """What `environ` says. A variable in lower case comes before the same in upper case."""
        proxies = {scheme: _variable(environ, f"{scheme}_proxy") for scheme in ("http", "https", "all")}
        if "REQUEST_METHOD" in environ and "http_proxy" not in environ:
            del proxies["http"]  # under CGI, HTTP_PROXY is what a client's `Proxy:` header says
        excepted = _variable(environ, "no_proxy").lower().split(",")
        bundles = [environ.get(name, "") for name in (*BUNDLE_FILES, "SSL_CERT_DIR")]
        return cls(
            {scheme: proxy for scheme, proxy in proxies.items() if proxy},
            tuple(name.strip() for name in excepted if name.strip()),
            next(filter(None, bundles), None),
        )

    def proxy_for(self, url: str) -> str | None:
        """The proxy to call `url` by, as `http://proxy:3128`; None to call it directly."""
        parts = urlsplit(url)
        proxy = self.proxies.get(parts.scheme) or self.proxies.get("all")
        if proxy is None:
            return None
        if self._excepted(parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _excepted(self, host: str, port: int | None) -> bool:
        """Whether NO_PROXY has it: `*`, a name or its end, an address, a network; `:port` may follow."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        for entry in self.no_proxy:
            if entry == "*":
                return True
            if address is not None and _holds(entry, address):
                return True
            name = entry.removesuffix(f":{port}").removeprefix("*").lstrip(".").strip("[]")
            if name and (host == name or (address is None and host.endswith("." + name))):
                return True
        return False


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, environ.get(name.upper(), "")).strip()
