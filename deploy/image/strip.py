#!/usr/bin/env python3
"""Run inside the image under construction: removes what only builds need, compiles what is left.

Standard library alone. What is removed here is in no layer of the image, which is copied afterwards.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import stat
import sys
import sysconfig
from pathlib import Path

REMOVED = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*",
    "/etc/apt/apt.conf.d/99build",
    "/etc/pip.conf",
    f"{Path.home()}/.*",
    "/run/build",
    "/usr/lib/python3*/ensurepip",
    "/usr/local/bin/pip*",
    "/usr/local/lib/python3*/ensurepip",
    "/usr/local/lib/python3*/site-packages/*",
    "/usr/share/python-wheels",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/var/cache/*",
    "/var/lib/apt/lists/*",
    "/var/log/*",
)
"""Package sources and caches of the build's machine, pip, manuals."""


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> int:
    for pattern in REMOVED:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            remove(path)
    # The licences of Debian's packages stay.
    for path in Path("/usr/share/doc").rglob("*"):
        if path.is_symlink() or (path.is_file() and path.name != "copyright"):
            path.unlink()
    # Nobody becomes somebody else here.
    for folder in ("bin", "sbin", "lib"):
        for path in Path("/usr", folder).rglob("*"):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))
    # The official image has no compiled standard library, and nothing can be written where it runs.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compiled = compileall.compile_dir(sysconfig.get_path("stdlib"), quiet=2, invalidation_mode=unchecked)
    return 0 if compiled else 1


if __name__ == "__main__":
    sys.exit(main())
