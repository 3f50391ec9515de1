"""The rewriter for pipelines: `set` and `images`, on plain files, without any configuration."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automator.cli.opening import warn
from automator.cli.options import Globals, counted, global_options
from automator.errors import UsageError
from automator.reasons import Reason, one_line, reason

if TYPE_CHECKING:
    from automator.core.setting import Setting
    from automator.core.site import FileSites, Site

FAILED = 1
LARGEST = 8_000_000
"""Bytes of a file that is read."""
STDIN = "-"
DIGEST_SHOWN = 19
"""Characters of a digest in a table: the algorithm and 12 digits."""

pass_globals = click.make_pass_decorator(Globals, ensure=True)


# -- the files -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it was read."""

    shown: str
    """Its path as a person would name it."""
    data: bytes
    text: str
    named: bool = True
    """Whether it was named itself, not just its folder."""

    @property
    def path(self) -> Path:
        return Path(self.shown)


def _read(paths: Sequence[str], name: str, *, warn: Callable[[Reason], None]) -> Iterator[_File]:
    """The files that are named, and those below folders that are, each once, sorted within a folder.

    Raises UsageError for a named file that cannot be read or is no text.
    """
    seen: set[str] = set()
    for path in paths:
        found = _below(Path(path), warn) if path != STDIN and Path(path).is_dir() else [_named(path, name)]
        for file in found:
            key = os.path.realpath(file.shown)
            if key not in seen:
                seen.add(key)
                yield file


def _named(path: str, name: str) -> _File:
    from automator.edges.folder import read_file

    data = _standard_input() if path == STDIN else read_file(Path(path), limit=LARGEST)
    text = _decoded(data)
    if text is None:
        shown = "standard input" if path == STDIN else path
        raise UsageError(reason("file/named", file=shown, problem="it is no text in UTF-8"))
    return _File(name if path == STDIN else path, data, text)


def _standard_input() -> bytes:
    try:
        with open(0, "rb", closefd=False) as stream:  # sys.stdin is None where it was closed
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(reason("file/named", file="standard input", problem=error.strerror)) from error
    if len(data) > LARGEST:
        raise UsageError(
            reason("file/named", file="standard input", problem=f"it is larger than {LARGEST} bytes")
        )
    return data


def _below(root: Path, warn: Callable[[Reason], None]) -> Iterator[_File]:
    """The files of a folder that may hold images: YAML and JSON, none in a folder that begins with a dot."""
    from automator.cycle.screen import may_hold
    from automator.cycle.source import Scope
    from automator.edges.folder import REGULAR, FolderSource

    folder, scope = FolderSource(root), Scope(policies="")
    modes = folder.modes()
    paths = sorted(path for path, mode in modes.items() if mode == REGULAR and scope.is_manifest(path))
    for path, data in folder.blobs(paths, limit=LARGEST):
        text = None if data is None else _decoded(data)
        shown = str(root / path)
        if data is None or text is None:
            problem = "is too large, or may not be read" if data is None else "is no text in UTF-8"
            warn(reason("file/unreadable", file=shown, problem=problem))
        elif may_hold(path, data):
            yield _File(shown, data, text, named=False)


def _located(files: Iterable[_File], fields: tuple[str, ...] = ()) -> Iterator[tuple[_File, FileSites]]:
    """What each file holds, joined with what the others say: where charts lie, what a variable is for."""
    from automator.core.joining import Joiner
    from automator.core.setting import base_name
    from automator.core.site import locate

    joiner = Joiner()
    found = [(file, locate(file.text, base_name(file.shown), fields)) for file in files]
    for file, located in found:
        joiner.put(os.path.normpath(file.shown), located.sites, located.sources)
    for file, located in found:
        yield file, replace(located, sites=joiner.join(os.path.normpath(file.shown), located.sites))


def _decoded(data: bytes) -> str | None:
    """The text of a file, byte for byte reversible; None where it is none."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


# -- set -----------------------------------------------------------------------------------------


@click.command("set")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--image", default="", metavar="IMAGE", help="Image repository, as the files write it.")
@click.option(
    "--to", required=True, metavar="VERSION", help="Tag, tag@sha256:…, or @sha256:… (keeps the tag)."
)
@click.option("--old", metavar="VERSION", help="Only where it is at this tag, digest or tag@digest.")
@click.option("--field", metavar="PATH", help="Only this field, as `automator images` prints it.")
@click.option("--diff", is_flag=True, help="Show the changes as a unified diff.")
@click.option("--write", is_flag=True, help="Write the changed files.")
@click.option("--name", default="stdin.yaml", metavar="FILE", help="What standard input is the text of.")
@global_options
@pass_globals
def set_(
    told: Globals,
    files: tuple[str, ...],
    image: str,
    to: str,
    old: str | None,
    field: str | None,
    diff: bool,
    write: bool,
    name: str,
) -> int:
    """Set an image in files to a version, and change nothing else.

    Needs no configuration and no network. FILE is a file, a folder (its YAML and JSON files), or `-`
    for standard input. The new text of one file goes to standard output, unless --diff or --write is
    given. Everything that is meant is changed or nothing: what cannot be edited exactly is told, and
    the exit code is 1, as it is where no file holds the image.

    \b
        automator set apps/web.yaml --image ghcr.io/acme/web --to 1.4.3 --write
        automator set deploy/ --image ghcr.io/acme/web --old 1.4.2 --to 1.4.3 --diff
        helm template . | automator set - --image nginx --to 1.27.3 | kubectl diff -f -
    """
    _refuse_mixtures(files, printed=not (diff or write or told.json), write=write)
    work = _Work(image, to, old, field)
    work.set(_read(files, name, warn=lambda why: None))
    if write and not work.held:
        work.write()
    if told.json:
        work.print_json(diff=diff, written=write and not work.held)
    elif diff:
        _print_exactly("".join(one.diff() for one in work.done))
    elif write:
        work.print_written()
    else:
        _print_exactly("".join(one.setting.text for one in work.done))
    if write and work.held:
        click.echo("automator: nothing was written", err=True)
    return work.complain()


def _refuse_mixtures(files: tuple[str, ...], *, printed: bool, write: bool) -> None:
    if STDIN in files and (write or len(files) > 1):
        raise UsageError(reason("set/standard-input"))
    if printed and (len(files) > 1 or Path(files[0]).is_dir()):
        raise UsageError(reason("set/several"))


@dataclass(frozen=True, slots=True)
class _Done:
    """A file, and what became of it."""

    file: _File
    setting: Setting

    def diff(self) -> str:
        """A unified diff as `git apply` takes it: a line ends at its line feed and nowhere else."""
        from automator.core.unidiff import unified_diff

        shown = os.path.normpath(self.file.shown).lstrip("/")
        return unified_diff(shown, self.file.text, self.setting.text)

    def json(self, *, diff: bool) -> dict[str, Any]:
        from automator.core.shown import shown_reason

        shown = {
            "file": self.file.shown,
            "changed": self.setting.changed,
            "held": [shown_reason(why) for why in self.setting.held],
            "sites": [_site_json(self.file, site) for site in self.setting.sites],
        }
        return {**shown, "diff": self.diff()} if diff else shown


class _Work:
    """What `set` does: every file is worked out before the first is written."""

    def __init__(self, image: str, to: str, old: str | None, field: str | None) -> None:
        from automator.core.setting import asked

        self._ask, self._to = asked(image, to, old, field), to
        self.done: list[_Done] = []

    def set(self, files: Iterable[_File]) -> None:
        from automator.core.setting import Setting, set_sites

        for file, located in _located(files, self._ask.fields):
            if located.trouble is not None:
                setting = Setting(file.text, False, (located.trouble,))
            elif file.named or any(self._concerns(site) for site in located.sites):
                setting = set_sites(file.text, file.shown, located.sites, self._ask)
            else:
                continue
            # A broken file that only its folder names is of interest if it may hold the image.
            if file.named or located.trouble is None or self._ask.image.rpartition("/")[2] in file.text:
                self.done.append(_Done(file, setting))

    def _concerns(self, site: Site) -> bool:
        named = self._ask.names(site)
        if self._ask.field is None:
            return named
        return self._ask.field in site.selectors and (named or not self._ask.image or site.repository is None)

    @property
    def held(self) -> bool:
        return any(one.setting.held for one in self.done)

    def write(self) -> None:
        from automator.edges.folder import Replacement, replace_files

        changed = [one for one in self.done if one.setting.changed]
        replace_files(
            [Replacement(one.file.path, one.file.data, one.setting.text.encode()) for one in changed]
        )

    def print_written(self) -> None:
        changed = [one for one in self.done if one.setting.changed]
        for one in changed if not self.held else ():
            click.echo(f"{one_line(one.file.shown)}: {counted(len(one.setting.sites), 'site')} at {self._to}")
        if not changed and not self.held and any(one.setting.sites for one in self.done):
            click.echo(f"nothing to do: {self._what} is at {self._to}")

    def print_json(self, *, diff: bool, written: bool) -> None:
        from automator.cli.render import print_json

        print_json({"written": written, "files": [one.json(diff=diff) for one in self.done]})

    def complain(self) -> int:
        """Tell what was not done; returns the exit code."""
        from automator.cli.render import complain

        for one in self.done:
            for why in one.setting.held:
                complain(why, place=one_line(one.file.shown))
        if self.held:
            return FAILED
        if not any(one.setting.sites for one in self.done):
            at = f" at {self._ask.old}" if self._ask.old else ""
            complain(reason("set/nothing", what=self._what + at))
            return FAILED
        return 0

    @property
    def _what(self) -> str:
        return self._ask.image or f"a version at {self._ask.field}"


def _print_exactly(text: str) -> None:
    """Write a file's text to standard output as the file has it: UTF-8, with its own line ends."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    sys.stdout.write(text)
    sys.stdout.flush()


# -- images --------------------------------------------------------------------------------------


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@click.option("--image", metavar="IMAGE", help="Only this image repository.")
@global_options
@pass_globals
def images(told: Globals, paths: tuple[str, ...], image: str | None) -> int:
    """List every place in files or folders where an image is written.

    Needs no configuration and no network. PATH is a file, a folder such as a checkout of the config repo, or
    `-` for standard input; else the current folder. The last column says why a place cannot be
    edited as it stands: `automator explain site/templated` tells more.

    \b
        automator images apps/
        automator images --image ghcr.io/acme/web --output json
    """
    from automator.core.setting import names_image
    from automator.core.spelling import repository_of

    warnings: list[Reason] = []
    found: list[tuple[_File, Site]] = []
    for file, located in _located(_read(paths or (".",), "stdin.yaml", warn=warnings.append)):
        if located.trouble is not None:
            warnings.append(reason("file/unreadable", file=file.shown, problem=located.trouble.sentence))
        found += [
            (file, site)
            for site in located.sites
            if image is None or names_image(site, image, repository_of(image))
        ]
    for why in warnings:
        warn(why)
    if told.json:
        from automator.cli.render import print_json
        from automator.core.shown import shown_reason

        shown = [_site_json(file, site) for file, site in found]
        print_json({"sites": shown, "warnings": [shown_reason(why) for why in warnings]})
    elif found:
        from automator.cli.render import print_table

        columns = ("place", "image", "tag", "digest", "resource", "field", "held")
        print_table(columns, [_row(file, site) for file, site in found])
    else:
        click.echo(f"no file names {image or 'an image'}", err=True)
    return 0


def _row(file: _File, site: Site) -> tuple[str | None, ...]:
    resource = "/".join(part for part in (site.kind, site.name, site.container) if part)
    return tuple(
        None if cell is None else one_line(cell)
        for cell in (
            f"{file.shown}:{site.line}",
            site.written or None,
            site.tag,
            None if site.digest is None else site.digest[:DIGEST_SHOWN],
            resource or None,
            site.field,
            None if site.held is None else site.held.code,
        )
    )


def _site_json(file: _File, site: Site) -> dict[str, Any]:
    """A site for programs."""
    from automator.core.shown import shown_reason

    return {
        "file": file.shown,
        "line": site.line,
        "document": site.document,
        "field": site.field,
        "image": site.written or None,
        "repository": None if site.repository is None else str(site.repository),
        "tag": site.tag,
        "digest": site.digest,
        "kind": site.kind,
        "namespace": site.namespace,
        "name": site.name,
        "container": site.container,
        "held": None if site.held is None else shown_reason(site.held),
    }
