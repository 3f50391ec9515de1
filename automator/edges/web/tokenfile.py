"""The file with the tokens that open API and dashboard: read at each use, and never believed when odd."""

from __future__ import annotations

from automator.edges.secretfile import UnusableFile, read_lines

LEAST = 16
"""Characters that a token has at least: what is shorter can be guessed."""


class UnusableTokens(Exception):
    """Why nobody can be let in, as words that follow `daemon.token_file`. Holds neither token nor path."""


def read_tokens(path: str) -> tuple[bytes, ...]:
    """The tokens of a file, one a line. Raises UnusableTokens where there is none, or one that is none."""
    try:
        tokens = read_lines(path)
    except UnusableFile as why:
        raise UnusableTokens(f"cannot be used: {why}") from None
    for token in tokens:
        if not all(0x21 <= byte <= 0x7E for byte in token):
            raise UnusableTokens("holds characters that no token has")
        if len(token) < LEAST:
            raise UnusableTokens(f"holds a token of less than {LEAST} characters")
    return tokens
