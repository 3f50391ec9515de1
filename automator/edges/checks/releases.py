"""Release checks: a page or a command of the daemon's config, asked about one release.

What belongs here: filling in what a check is asked about, asking, and making one of three answers of what
came back: yes, no, or nothing that counts. Never a redirect followed, so a token goes nowhere else.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from automator.core.verification import Answer, Said, Wanted, judged
from automator.edges.checks.commands import NothingCheckedError, run_to_end
from automator.edges.http import Limits, Outside, TransportError, Trust, TrustError, new_session, send
from automator.edges.secretfile import UnusableFile, read_file
from automator.reasons import one_line

BODY_LIMIT = 1 << 20
ABOUT = ("workload", "image", "version", "digest", "commit", "environment", "repo")
"""What a check may be asked about; what is not known is empty."""
_BRACES = re.compile(r"\{(" + "|".join(ABOUT) + r")\}")
_HOST = re.compile(r"[A-Za-z0-9-]+", re.ASCII)


class Check(Protocol):
    """One check of the config; for several threads at once."""

    def ask(self, about: Mapping[str, str], stopping: threading.Event) -> Said:
        """Ask once, about one release. Never raises what asking can meet."""


def filled(text: str, about: Mapping[str, str]) -> str:
    """`text` with the names in braces filled in; other braces stay."""
    return _BRACES.sub(lambda found: about.get(found[1], ""), text)


@dataclass(frozen=True, slots=True)
class CommandCheck:
    """A command that ends with 0 where all is well."""

    argv: tuple[str, ...]
    seconds: float
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def ask(self, about: Mapping[str, str], stopping: threading.Event) -> Said:
        """Run it to its end, or until `stopping`."""
        argv = [filled(word, about) for word in self.argv]
        for word, template in zip(argv, self.argv, strict=True):
            if word.startswith("-") and not template.startswith("-"):
                # What a policy says is a word for the command, and never one of its options.
                name = _BRACES.findall(template)[0]
                return Said(Answer.SILENT, f"it cannot be asked with this {name}, which looks like an option")
        try:
            code = run_to_end(argv, self.seconds, self.environ, stopping)
        except NothingCheckedError as error:
            return Said(Answer.SILENT, str(error))
        return Said(Answer.NO if code else Answer.YES, f"it ended with {code}")


@dataclass(frozen=True, slots=True)
class PageCheck:
    """An address whose answer must have a status, and a value in its JSON where one is wanted."""

    url: str
    seconds: float
    status: int = 200
    wanted: Wanted | None = None
    token_file: str | None = None
    header: str = "Authorization"
    trust: Trust | None = None
    outside: Outside = field(default_factory=Outside)

    def ask(self, about: Mapping[str, str], stopping: threading.Event) -> Said:
        """Ask the address. A status or a value other than wanted is a no; that nobody answers is none."""
        if stopping.is_set():
            return Said(Answer.SILENT, "automator is stopping")
        try:
            url = address(self.url, about)
            headers = {} if self.token_file is None else {self.header: self._credential(self.token_file)}
            with new_session(pool_size=1, trust=self.trust, proxy=self.outside.proxy_for(url)) as session:
                limits = Limits(self.seconds, self.seconds, time.monotonic() + self.seconds, BODY_LIMIT)
                answer = send(session, "GET", url, headers=headers, limits=limits)
        except _Unusable as error:
            return Said(Answer.SILENT, str(error))
        except TrustError:
            return Said(Answer.SILENT, "its certificates cannot be read")
        except TransportError as error:
            return Said(Answer.SILENT, one_line(error))
        if answer.status != self.status:
            return Said(Answer.NO, f"it answered {answer.status}, not {self.status}")
        if self.wanted is None:
            return Said(Answer.YES, f"it answered {answer.status}")
        return judged(answer.body.decode("utf-8", "replace"), self.wanted)

    def _credential(self, file: str) -> str:
        try:
            text = read_file(file).decode("ascii").strip()
        except UnusableFile as why:
            raise _Unusable(f"its token file cannot be used: {why}") from None
        except UnicodeDecodeError:
            raise _Unusable("its token file holds no token") from None
        if not text or not text.isprintable():
            raise _Unusable("its token file holds no token")
        return f"Bearer {text}" if self.header.lower() == "authorization" else text


class _Unusable(Exception):
    """The check cannot be asked; says why."""


def address(url: str, about: Mapping[str, str]) -> str:
    """The address with all that is filled in quoted; in the host, only what is one part of a name. A part
    of the path that is `.` or `..`, which would ask about another place, makes it unusable.

    Raises _Unusable.
    """
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    for name in _BRACES.findall(host):
        if not _HOST.fullmatch(about.get(name, "")):
            raise _Unusable(f"its {name} is no part of a host name")
    quoted = {name: quote(value, safe="") for name, value in about.items()}
    where = filled(rest[len(host) :], quoted)
    if not {".", ".."}.isdisjoint(re.split(r"[?#]", where, maxsplit=1)[0].split("/")):
        raise _Unusable("what is filled in makes a part of its path . or ..")
    return f"{scheme}://{filled(host, about)}{where}"
