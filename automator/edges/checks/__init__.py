"""Checks: what the daemon's config has asked about an image, or about a release.

What belongs here: reading a public key file, running a command within bounds, and asking a page what it
says of a release.
"""

from automator.edges.checks.commands import (
    Commands,
    ImageCommand,
    read_key,
    unusable_key,
)
from automator.edges.checks.releases import Check, CommandCheck, PageCheck, filled

__all__ = [
    "Check",
    "CommandCheck",
    "Commands",
    "ImageCommand",
    "PageCheck",
    "filled",
    "read_key",
    "unusable_key",
]
