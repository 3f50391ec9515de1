"""The console script: answers `--version` at once, and leaves everything else to `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; never returns."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from automator import __version__

        sys.stdout.write(f"automator {__version__} (YAML scanner: {_scanner()})\n")
        sys.exit(0)
    from automator.cli import main as run
    from automator.cli.output import leave, prepare

    prepare()
    leave(run(sys.argv[1:]))


def _scanner() -> str:
    # Looked up, not imported: the scanner's package takes longer to load than everything else here.
    from importlib.util import find_spec

    return "libyaml" if find_spec("_ruamel_yaml") is not None else "pure"


if __name__ == "__main__":
    main()
