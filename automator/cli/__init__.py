"""The command line: parses words, calls `app`, prints. The only place that decides exit codes."""

from automator.cli.entry import main

__all__ = ["main"]
