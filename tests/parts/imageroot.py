"""What a container engine would do with an image, by what the kernel and coreutils give to root.

Debian's buildah makes images where no engine runs; it has no read-only root. So the root folder of
the image is bound read-only in namespaces of its own, and the image's own user, variables, folder and
command are used, as a container engine takes them from the image.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts.world import Running, until

DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Image:
    """An image that buildah has mounted."""

    name: str
    root: Path
    config: Mapping[str, Any]
    """As the engines write it: User, Env, Labels, …"""
    layers: int
    said: str
    """All that `inspect` says of it."""

    def _script(self, arguments: tuple[str, ...], binds: Mapping[Path, str], env: Mapping[str, str]) -> str:
        """Commands for the shell inside of the new namespaces; the last one becomes the program."""
        root = self.root
        lines = [f"mount --bind {root} {root}"]
        for source, target in binds.items():
            options = "rw" if target in self.config["Volumes"] else "ro"
            lines.append(f"mount --bind {shlex.quote(str(source))} {root}{target}")
            lines.append(f"mount -o remount,bind,nosuid,{options} {root}{target}")
        lines += [
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs -o mode=755,size=64k tmpfs {root}/dev",
            *(f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES),
            f"mount -o remount,ro {root}/dev",
            f"mount -o remount,bind,ro {root}",
        ]
        told = dict(pair.split("=", 1) for pair in self.config["Env"])
        chroot = ["chroot", f"--userspec={self.config['User']}", "--groups=", str(root)]
        program = [
            *("setpriv", "--no-new-privs", *chroot, "env", "-i", "-C", self.config["WorkingDir"]),
            *(f"{name}={value}" for name, value in {**told, **env}.items()),
            *(self.config["Entrypoint"] if arguments[:1] != ("--",) else ()),
            *(arguments[1:] if arguments[:1] == ("--",) else arguments or self.config["Cmd"]),
        ]
        return "set -e\n" + "\n".join(lines) + f"\nexec {shlex.join(program)}\n"

    def _command(
        self, arguments: tuple[str, ...], binds: Mapping[Path, str], env: Mapping[str, str]
    ) -> list[str]:
        alone = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        return [*alone, "sh", "-c", self._script(arguments, binds, env)]

    def run(
        self, *arguments: str, binds: Mapping[Path, str] | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the image's entrypoint with arguments, to its end; after "--", another program."""
        command = self._command(arguments, binds or {}, env or {})
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )

    @contextmanager
    def start(
        self, log: Path, *arguments: str, binds: Mapping[Path, str], env: Mapping[str, str] | None = None
    ) -> Iterator[Contained]:
        """Run what the image says, or as `run` does, as process 1 of a container, and leave it running."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                self._command(arguments, binds, env or {}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield Contained(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


class Contained(Running):
    """A program at work in a container; signals go to its process 1."""

    def send(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until(lambda: children.read_text().split(), "process 1 of the container")
        os.kill(int(children.read_text().split()[0]), number)


def mounted(name: str, buildah: Mapping[str, str]) -> Image:
    """The image of that name in the storage that the variables `buildah` tell of."""

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["buildah", *arguments], env={**os.environ, **buildah}, capture_output=True, text=True, check=True
        ).stdout.strip()

    said = ask("inspect", "--type", "image", name)
    docker = json.loads(said)["Docker"]
    container = ask("from", "--pull-never", name)
    root, layers = Path(ask("mount", container)), docker["rootfs"]["diff_ids"]
    return Image(name, root, docker["config"], len(layers), said)
