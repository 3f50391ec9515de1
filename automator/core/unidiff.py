"""Unified diffs of texts, as `git apply` takes them."""

from __future__ import annotations

import difflib


def unified_diff(path: str, before: str, after: str) -> str:
    """What changed in a file of that path. A line ends at its line feed and nowhere else, as in git."""
    old, new = before.split("\n"), after.split("\n")
    paths = quoted_path(f"a/{path}"), quoted_path(f"b/{path}")
    lines = difflib.unified_diff(_ended(old), _ended(new), *paths)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _ended(lines: list[str]) -> list[str]:
    ended = [f"{line}\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended


def quoted_path(path: str) -> str:
    """A path in a diff, as git quotes those that could be read as something else."""
    if path.isprintable() and not {'"', "\\"} & set(path):
        return path
    octets = path.encode("utf-8", "surrogateescape")
    spelled = (chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in octets)
    return f'"{"".join(spelled)}"'
