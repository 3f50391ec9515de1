"""`import`: the settings of another tool as policy files, none of which it overwrites."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automator.cli.opening import warn
from automator.cli.options import Globals, counted, global_options
from automator.errors import UsageError
from automator.reasons import one_line, reason

if TYPE_CHECKING:
    from automator.core.migration.imported import Imported, Note
    from automator.core.policytext import Draft

FAILED = 1
LARGEST = 8_000_000
"""Bytes of a file that is read."""
TOOLS = {
    "flux1": "Flux v1",
    "flux2": "Flux v2",
    "argocd": "Argo CD Image Updater",
    "keel": "Keel",
}
ENDINGS = (".yaml", ".yml", ".json")

pass_globals = click.make_pass_decorator(Globals, ensure=True)


@click.command("import")
@click.argument("tool", type=click.Choice(list(TOOLS)))
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the policies are written; else the folder `policies` of the checkout, or of PATH.",
)
@click.option("--dry-run", is_flag=True, help="Show the policy files and write nothing.")
@click.option("--force", is_flag=True, help="Overwrite policy files that there are.")
@global_options
@pass_globals
def import_(told: Globals, tool: str, path: Path, to: Path | None, dry_run: bool, force: bool) -> int:
    """Write policies that choose the same tags as another tool does.

    PATH is a checkout of the config repo, a folder of it, or one file; needs no network and no cluster.
    What means something else here stands as a comment in the policy files. What could not be carried
    over is told, and so is what to switch off in the old tool: two tools that write undo each other.

    \b
        automator import flux2 shop-config --dry-run
        automator import argocd shop-config && automator check shop-config
    """
    root = _root(path)
    folder = to or root / "policies"
    found = _import(tool, _read(path, root))
    if not found.drafts:
        return _nothing(told, tool, path, found)
    drafts = _renamed(found.drafts, _taken(folder, found.drafts))
    texts = {folder / file: _text(tool, one) for file, one in drafts.items()}
    if not dry_run:
        from automator.edges.folder import write_new_files

        write_new_files(texts, force=force)
    outcome = _Outcome(tool, found, drafts, texts, root, written=not dry_run)
    outcome.print_json() if told.json else outcome.print()
    return 0


def _nothing(told: Globals, tool: str, path: Path, found: Imported) -> int:
    """Tell that nothing was found, with all that was left; returns the exit code."""
    from automator.cli.render import complain, print_json
    from automator.core.shown import shown_reason

    why = reason("import/nothing", tool=TOOLS[tool], path=path)
    if told.json:
        print_json({**_json(found), "written": False, "files": [], "reason": shown_reason(why)})
        return FAILED
    _print_notes("left for you:", found.left)
    complain(why)
    return FAILED


# -- reading ------------------------------------------------------------------------------------------


def _root(path: Path) -> Path:
    """Top of the checkout that a path lies in, since policies name files from there; else its folder.

    Raises UsageError for a path that is not there.
    """
    if not path.exists():
        raise UsageError(reason("usage/no-folder", path=path))
    folder = path if path.is_dir() else path.parent
    for one in (folder, *folder.absolute().parents):
        if (one / ".git").exists():
            return Path(os.path.relpath(one))
    return folder


def _read(path: Path, root: Path) -> dict[str, str]:
    """The texts of the files, by their path in the config repo."""
    from automator.edges.folder import REGULAR, FolderSource, read_file

    if not path.is_dir():
        data: bytes | None = read_file(path, limit=LARGEST)
        text = _decoded(data)
        if text is None:
            raise UsageError(reason("file/named", file=path, problem="it is no text in UTF-8"))
        return {_below(root, path): text}
    folder = FolderSource(path)
    paths = sorted(
        name for name, mode in folder.modes().items() if mode == REGULAR and name.endswith(ENDINGS)
    )
    texts: dict[str, str] = {}
    for name, data in folder.blobs(paths, limit=LARGEST):
        text = _decoded(data)
        if text is None:
            problem = "is too large, or may not be read" if data is None else "is no text in UTF-8"
            warn(reason("file/unreadable", file=path / name, problem=problem))
        else:
            texts[_below(root, path / name)] = text
    return texts


def _below(root: Path, path: Path) -> str:
    return path.absolute().relative_to(root.absolute()).as_posix()


def _decoded(data: bytes | None) -> str | None:
    try:
        return None if data is None or b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _import(tool: str, files: Mapping[str, str]) -> Imported:
    match tool:
        case "flux1":
            from automator.core.migration.flux1 import import_flux1

            return import_flux1(files)
        case "flux2":
            from automator.core.migration.flux2 import import_flux2

            return import_flux2(files)
        case "argocd":
            from automator.core.migration.argocd import import_argocd

            return import_argocd(files)
        case _:
            from automator.core.migration.keel import import_keel

            return import_keel(files)


# -- writing -------------------------------------------------------------------------------------------


def _taken(folder: Path, files: Collection[str]) -> set[str]:
    """Names of workloads in the policy files beside those that are written."""
    from automator.core.policyfile import read_policy_file
    from automator.edges.folder import FolderSource

    if not folder.is_dir():
        return set()
    beside = FolderSource(folder)
    paths = [path for path in beside.modes() if path not in files and path.endswith(ENDINGS[:2])]
    texts = {path: _decoded(data) for path, data in beside.blobs(paths, limit=LARGEST)}
    return {
        entry.name
        for path, text in texts.items()
        if text is not None
        for entry in read_policy_file(path, text).entries
    }


def _renamed(drafts: Mapping[str, tuple[Draft, ...]], taken: Collection[str]) -> dict[str, tuple[Draft, ...]]:
    """The drafts, none of them with a name that is taken."""
    from automator.core.policytext import free_name

    names = {draft.name for found in drafts.values() for draft in found} | set(taken)
    renamed: dict[str, tuple[Draft, ...]] = {}
    for file, found in drafts.items():
        kept: list[Draft] = []
        for draft in found:
            one = draft
            if draft.name in taken:
                one = draft._replace(name=free_name(draft.name, names))
                names.add(one.name)
            kept.append(one)
        renamed[file] = tuple(kept)
    return renamed


def _text(tool: str, drafts: tuple[Draft, ...]) -> str:
    from automator.core.policytext import policy_text

    header = (f"Imported from {TOOLS[tool]}. Read what differs, and run `automator check`.",)
    return policy_text(drafts, header=header)


# -- telling -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an import."""

    tool: str
    found: Imported
    drafts: Mapping[str, tuple[Draft, ...]]
    texts: Mapping[Path, str]
    root: Path
    written: bool

    def print(self) -> None:
        """For people: what was written, what differs, what is left, what to switch off, what comes next."""
        for (file, text), found in zip(self.texts.items(), self.drafts.values(), strict=True):
            held = sum("hold" in draft.keys for draft in found)
            note = f", {held} of them held" if held else ""
            verb = "wrote" if self.written else "would write"
            click.echo(f"{verb} {one_line(file)}: {counted(len(found), 'workload')}{note}")
            if not self.written:
                click.echo(text)
        _print_notes("differs (and stands as a comment in the policies):", self.found.differs)
        _print_notes("left for you:", self.found.left)
        if self.found.switch_off:
            click.echo(f"switch off in {TOOLS[self.tool]}:")
            for number, sentence in enumerate(self.found.switch_off, 1):
                click.echo(f"  {number}. {one_line(sentence, 400)}")
        if self.written:
            click.echo(f"next: read the policies, then run `automator check {one_line(self.root)}`")

    def print_json(self) -> None:
        """For programs."""
        from automator.cli.render import print_json

        files = [
            {"file": str(file), "workloads": [draft.name for draft in found], "text": text}
            for (file, text), found in zip(self.texts.items(), self.drafts.values(), strict=True)
        ]
        print_json({"written": self.written, "files": files, **_json(self.found)})


def _print_notes(title: str, notes: Collection[Note]) -> None:
    if notes:
        click.echo(title)
    for note in notes:
        click.echo(f"  {note}")


def _json(found: Imported) -> dict[str, Any]:
    return {
        "differs": [_note_json(note) for note in found.differs],
        "left": [_note_json(note) for note in found.left],
        "switch_off": list(found.switch_off),
    }


def _note_json(note: Note) -> dict[str, Any]:
    return {**note.source._asdict(), "sentence": note.sentence}
