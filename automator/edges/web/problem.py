"""Problems: what a request cannot have, as a status, a reason and headers; JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from automator.core.shown import plain, shown_reason
from automator.reasons import Reason


class Problem(Exception):
    """Ends the handling of a request with an answer that says why. Never leaves this package."""

    def __init__(self, status: int, why: Reason, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why.sentence)
        self.status = status
        self.reason = why
        self.headers = dict(headers or {})


def to_json(value: Any) -> bytes:
    """A value as the command line shows it with `--output json`, on one line."""
    return json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def problem_json(why: Reason) -> bytes:
    """What went wrong, for programs: `code` is stable."""
    return to_json({"error": shown_reason(why)})
