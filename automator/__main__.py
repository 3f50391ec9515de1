"""The console script: answers `--version` at once, and leaves everything else to `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; never returns."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from automator import describe

        sys.stdout.write(f"{describe()}\n")
        sys.exit(0)
    from automator.cli import main as run
    from automator.cli.output import leave, prepare

    prepare()
    leave(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
