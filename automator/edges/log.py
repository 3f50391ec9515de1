"""The log: structlog lines for people or for programs, without secrets, on one line each.

A cycle is one sentence and a line for each of its outcomes. Libraries that log by the standard
library (apscheduler, uvicorn, git) come out by the same door.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from automator.core.report import Outcome, Report
from automator.reasons import Reason, Status, one_line

MASK = "***"
LINE_LIMIT = 2000

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|token|secret|authorization|credential|cookie|api[_-]?key", re.I
)
_KEY_OF_A_PATH = re.compile(r"_(file|path)$", re.I)
# A password may have a slash in it: after a colon that no port follows, all up to the last @ is one.
_USERINFO = re.compile(r"(?<=://)(?:[^/?#\s:]{0,200}:(?![0-9]{1,5}(?:[/?#\s]|$))\S{0,500}@|[^/?#\s]*@)")
_SENSITIVE = (
    r"(?:[\w-]{0,64}?(?:passw(?:or)?d|passphrase|token|secret|signature|(?:api|access)[_-]?key|credential)"
    r"|(?:[\w-]{0,64}?[_-])?sig)"
)
# Other words with a colon behind them are prose: headers are known, or begin with a capital letter.
_KNOWN_HEADER = r"(?:(?:proxy-)?authorization|(?:set-)?cookie)"
_OTHER_HEADER = rf"(?:(?=x-|(?-i:[A-Z])\w{{0,64}}-){_SENSITIVE}(?:-\d{{1,4}})?)"
_HEADER = re.compile(
    rf"(?i)(?<![\w-])(?:(?:{_KNOWN_HEADER}|{_OTHER_HEADER})(?:(?P<closed>[\"'])\s*[:,]|\s*:)|{_KNOWN_HEADER}\s*=)"
    r"\s*(?:b(?=[\"']))?"
)
_PAIR = re.compile(
    rf"(?i)((?P<a>[\"'])(?:{_SENSITIVE}|auth)(?P=a)\s*:\s*b?(?P<b>[\"']))(?:\\.|(?!(?P=b))[^\\])+"
)
_PARAMETER = re.compile(
    rf"(?i)(?<![\w-])({_SENSITIVE}(?:=|%3d))(?:\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?|[^\s&;,'\"<>`)]+)"
)
_TO_THE_QUOTE = {quote: re.compile(rf"(?:\\.|[^\\{quote}])*") for quote in "'\"`"}
_TO_THE_END = re.compile(r"[^\r\n]*")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9+/=._~-]{16,}")
_FIRST = {"timestamp": 0, "level": 1, "event": 2}
_AS_WRITTEN = ("exception", "stack")
"""Tracebacks: the only values that may span lines."""

_LEVELS = {
    Status.RELEASED: "info",
    Status.CURRENT: "info",
    Status.WAITING: "info",
    Status.HELD: "warning",
    Status.FAILED: "error",
}

_log = structlog.stdlib.get_logger("automator")


def configure(format: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set the log up, once, before anything is logged.

    `format` is console, json or auto (console on a terminal, else json); `level` the least level
    written; `stream` standard error unless told.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    least = logging.getLevelNamesMapping()[level.upper()]
    last: Processor
    if format == "json" or (format == "auto" and not terminal):
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        last = structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            clean,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_FromLibraries()]
    root.setLevel(max(least, logging.WARNING))
    # A cycle that is late is told as `daemon/late`, in our words.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # It warns of every request that is no HTTP: anybody could fill the disk.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


class _FromLibraries(logging.Handler):
    """Passes on what libraries log by the standard library, from warnings upwards."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets, and put every value on one line (structlog's processor signature)."""
    ordered = sorted(event.items(), key=lambda item: _FIRST.get(item[0], len(_FIRST)))
    return {key: _clean(key, value) for key, value in ordered}


def mask(text: str) -> str:
    """`text` without what looks like a credential: userinfo in URLs, headers, parameters and settings whose
    names say that they are secret."""
    text = _USERINFO.sub(f"{MASK}@", text)
    text = _PAIR.sub(rf"\1{MASK}", _mask_headers(text))
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)


def _mask_headers(text: str) -> str:
    """Secret headers without their values, which may be of several words: to the end of their quotes, or
    of the line."""
    shown, at = "", 0
    while (header := _HEADER.search(text, at)) is not None:
        begins, before = header.end(), text[max(0, header.start() - 1) : header.start()]
        first = text[begins : begins + 1]
        if first and first in _TO_THE_QUOTE:
            begins, end = begins + 1, _TO_THE_QUOTE[first]
        elif before in _TO_THE_QUOTE and header["closed"] is None:
            end = _TO_THE_QUOTE[before]
        else:
            end = _TO_THE_END
        value = end.match(text, begins)
        ends = begins if value is None else value.end()
        shown += text[at:begins] + (MASK if ends > begins else "")
        at = ends
    return shown + text[at:]


def _clean(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key) and not _KEY_OF_A_PATH.search(key) and value:
        return MASK
    if isinstance(value, str):
        return mask(value if key in _AS_WRITTEN else one_line(value, LINE_LIMIT))
    if isinstance(value, Mapping):
        return {one_line(inner): _clean(str(inner), below) for inner, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, below) for below in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(one_line(value, LINE_LIMIT))


def log_report(report: Report, previous: Report | None = None) -> None:
    """Log a cycle: what `log_outcomes` does, its error, and the one sentence that tells of it."""
    log_outcomes(report, previous)
    is_bad = report.error is not None and not report.is_broken_off
    if report.error is not None:
        _say("error" if is_bad else "info", report.error, repo=report.repo)
    log = _log.error if is_bad else _log.info
    log(report.sentence, trigger=report.trigger, head=report.head, pushed=report.pushed)


def log_outcomes(report: Report, previous: Report | None = None) -> None:
    """Log one line for each outcome, and the warnings.

    What is as it was in the `previous` report of the same config repo is logged at debug, and so
    is every workload that is simply current on the first look.
    """
    before = {} if previous is None else {o.workload: _gist(o) for o in previous.outcomes}
    for outcome in report.outcomes:
        _log_outcome(report.repo, outcome, before.get(outcome.workload))
    known = () if previous is None else previous.warnings
    for warning in report.warnings:
        _say("debug" if warning in known else "warning", warning, repo=report.repo)


def log_reason(why: Reason, error: BaseException | None = None, *, level: str = "warning") -> None:
    """Log something that went wrong outside of any workload, with the traceback of a bug."""
    _say(level if error is None else "error", why, exc_info=error)


def log_stack(why: Reason, stack: str) -> None:
    """Log something that went wrong, with the lines of code that are at work."""
    _say("error", why, stack=stack)


def _log_outcome(repo: str, outcome: Outcome, before: tuple[object, ...] | None) -> None:
    quiet = before == _gist(outcome) or (before is None and outcome.status is Status.CURRENT)
    _say(
        "debug" if quiet else _LEVELS[outcome.status],
        outcome.reason,
        prefix=f"{outcome.workload} {outcome.status}: ",
        repo=repo,
        workload=outcome.workload,
        status=outcome.status.value,
    )


def _gist(outcome: Outcome) -> tuple[object, ...]:
    # Parameters are left out: counts and times in them change without any news.
    return outcome.status, outcome.reason.code, outcome.target, outcome.commit


def _say(level: str, why: Reason, *, prefix: str = "", **about: Any) -> None:
    told = {"code": why.code, **{key: value for key, value in about.items() if value is not None}}
    if level in ("warning", "error"):
        told["next_step"] = why.next_step
    if why.changes_at is not None:
        told["changes_at"] = why.changes_at.isoformat(timespec="seconds")
    _log.log(logging.getLevelNamesMapping()[level.upper()], f"{prefix}{why.sentence}", **told)


class EventLog:
    """Tells of events that came from outside, but never more than so many lines a minute: whoever sends
    them must not be able to fill the disk.

    Refused events are counted apart from others, so that neither hide the other.
    """

    def __init__(self, clock: Callable[[], float], *, lines: int = 30) -> None:
        """`clock` gives seconds; `lines` are let through in a minute, of each kind."""
        self._clock = clock
        self._lines = lines
        self._lock = threading.Lock()
        self._minutes: dict[str, _Minute] = {}

    def tell(self, kind: str, what: str | Reason, *, level: str = "info", **about: Any) -> None:
        """One line about an event: words, or why it was refused (then with its code and next step).

        Lines of a `kind` are counted together; the first after some were left out says how many."""
        left_out = self._admit(kind)
        if left_out is None:
            return
        if left_out:
            about["left_out"] = f"{left_out} lines like this"
        if isinstance(what, Reason):
            _say(level, what, **about)
        else:
            told = {key: value for key, value in about.items() if value is not None}
            _log.log(logging.getLevelNamesMapping()[level.upper()], what, **told)

    def _admit(self, kind: str) -> int | None:
        """How many lines were left out before this one; None where it is left out itself."""
        with self._lock:
            now = self._clock()
            minute = self._minutes.setdefault(kind, _Minute(now))
            if not 0 <= now - minute.began < 60:
                minute.began, minute.told = now, 0
            if minute.told >= self._lines:
                minute.left_out += 1
                return None
            minute.told += 1
            left_out, minute.left_out = minute.left_out, 0
            return left_out


@dataclass(slots=True)
class _Minute:
    """What was logged of a kind since a minute began."""

    began: float
    told: int = 0
    left_out: int = 0


def log_started(
    version: str, repos: tuple[str, ...], port: int | None, hooks_port: int | None = None
) -> None:
    """Log that the daemon is up: for which config repos, and where its probes answer and events come."""
    ports = {"port": port} if hooks_port is None else {"port": port, "hooks_port": hooks_port}
    _log.info(f"automator {version} started", repos=list(repos), **ports)
