"""Pages as a browser gets them, without a socket: the site's application asked directly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlencode
from xml.etree.ElementTree import Element

import html5lib

from automator.edges.web import Access, Desk, Health
from automator.edges.web.site import Behind, make_site

FINE = Health(True, "all is well")
_XHTML = "{http://www.w3.org/1999/xhtml}"


@dataclass(frozen=True)
class Shown:
    """An answer."""

    status: int
    headers: dict[str, str]
    text: str

    @cached_property
    def tree(self) -> Element:
        """The page, which must be without a mistake."""
        parser = html5lib.HTMLParser(namespaceHTMLElements=True)
        found = parser.parse(self.text)
        assert [error[1] for error in parser.errors] == []
        return found

    def all(self, tag: str, /, **attributes: str) -> list[Element]:
        """Its elements of a name, with these attributes."""
        told = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        found = self.tree.iter(_XHTML + tag)
        return [one for one in found if all(one.get(key) == value for key, value in told.items())]

    @property
    def words(self) -> str:
        """All of its text, with a blank between its pieces."""
        (main,) = self.all("main")
        return words_of(main)

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return [one.get("href", "") for one in self.tree.iter() if str(one.tag).endswith("}a")]

    def rows(self) -> list[str]:
        """The heads of the rows of its first table."""
        return [text_of(one) for one in self.all("th", scope="row")]


def words_of(element: Element) -> str:
    """Text with a blank between its pieces."""
    return " ".join(" ".join(element.itertext()).split())


def text_of(element: Element) -> str:
    """Text as it stands."""
    return " ".join("".join(element.itertext()).split())


@dataclass(frozen=True)
class Site:
    """A site over a desk."""

    app: Any

    def get(self, path: str, query: dict[str, Any] | None = None, accept: str = "text/html") -> Shown:
        """Ask as the browser of somebody on this machine does."""
        before, _, told = path.partition("?")
        headers = [(b"host", b"localhost"), (b"accept", accept.encode())]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": unquote(before),
            "raw_path": before.encode(),
            "query_string": (told or urlencode(query or {}, doseq=True)).encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "root_path": "",
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        body = b"".join(message.get("body", b"") for message in sent[1:])
        told_headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Shown(sent[0]["status"], told_headers, body.decode())


def site(desk: Desk) -> Site:
    """The site of a desk, for who is on this machine."""
    return Site(make_site(Behind(desk, lambda: FINE, lambda: FINE, lambda: b"", "1.2.3"), Access(None)))
