"""Automator: writes new image versions into a GitOps config repo, one commit a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Setting", "__version__", "set_image"]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from automator.core.setting import Setting, set_image


def describe() -> str:
    """Version, and which YAML scanner runs: `libyaml`, or `pure`, which is some twenty times slower."""
    # Looked up, not imported: the scanner's package takes longer to load than everything else here.
    from importlib.util import find_spec

    scanner = "libyaml" if find_spec("_ruamel_yaml") is not None else "pure"
    return f"automator {__version__} (YAML scanner: {scanner})"


def __getattr__(name: str) -> object:
    # `automator --version` is what health checks call most: it must not load the YAML library.
    if name in ("Setting", "set_image"):
        from automator.core import setting

        return getattr(setting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
