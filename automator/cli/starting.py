"""`init`: from a config repo to its first policies and config, none of which it overwrites."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automator.cli.firstconfig import HOST, URL, FirstConfig, insecure_tables, opens, toml
from automator.cli.options import Globals, counted, global_options
from automator.errors import CheckoutError, UsageError
from automator.reasons import Reason, one_line, reason

if TYPE_CHECKING:
    from automator.config import Config
    from automator.core.proposal import Listing, Proposal
    from automator.core.reference import Repository
    from automator.cycle.source import Scope, Source
    from automator.cycle.survey import Survey

FAILED = 1
BRANCHES = ("main", "master")
"""Tried where a URL is given without a branch."""

_NO_NAME = re.compile(r"[^a-z0-9]+", re.ASCII)
_OBJECT = re.compile(rb"^[\"']?apiVersion[\"']?:", re.MULTILINE)
"""How every object of Kubernetes says so, and no policy file."""

pass_globals = click.make_pass_decorator(Globals, ensure=True)


@click.command()
@click.argument("place", metavar="[PATH|URL]", default=".")
@click.option("--offline", is_flag=True, help="Ask no registry; propose from the tags in the files alone.")
@click.option("--force", is_flag=True, help="Overwrite files that there are.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the policies are written; else the policies folder of PATH, or `policies` here for a URL.",
)
@click.option("--insecure", multiple=True, metavar="HOST", help="A registry that speaks plain http.")
@click.option("--branch", metavar="NAME", help="Branch of the URL; else main, or master.")
@click.option("--policies", metavar="FOLDER", help="Folder of the config repo for policies; else `policies`.")
@global_options
@pass_globals
def init(
    told: Globals,
    place: str,
    offline: bool,
    force: bool,
    to: Path | None,
    insecure: tuple[str, ...],
    branch: str | None,
    policies: str | None,
) -> int:
    """Write a config and first policies for the images of a config repo.

    PATH is a checkout of the config repo, URL a Git URL; else the current folder. One workload is
    proposed for each image that no policy covers yet: it stays below the next major version, and with the
    same variant. What cannot be told from the tags is written out, and held with the question. Nothing
    is pushed or committed, and no file overwritten.

    \b
        automator init shop-config
        automator init https://git.example.com/acme/shop-config.git --to drafts
    """
    for host in insecure:
        if HOST.fullmatch(host) is None:
            raise UsageError(reason("init/bad-host", host=host))
    start = _start(told, insecure, _folder(policies))
    where = _at_url(start, place, branch) if _is_remote(place) else _at_path(start, Path(place))
    folder = to or where.policies
    shut: dict[str, str] = {}
    proposal = _proposal(start, where, shut, offline=offline, folder=folder)
    files = {folder / name: text for name, text in _texts(proposal).items()}
    first = FirstConfig(
        where.name, where.url, where.branch, start.policies, where.alone, tuple(dict.fromkeys(insecure)), shut
    )
    config = None if start.file.exists() and not force else first.text()
    if not where.images:
        raise UsageError(reason("init/no-images", place=place))
    from automator.edges.folder import write_new_files

    write_new_files({**files, **({} if config is None else {start.file: config})}, force=force)
    outcome = _Outcome(start, where, proposal, folder, tuple(files), first, config is not None, place)
    outcome.print_json() if told.json else outcome.print()
    return 0


# -- where from ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """The config that there is, or will be."""

    file: Path
    config: Config
    """As if it named the hosts of `--insecure`."""
    policies: str | None = None
    """The folder that `--policies` names."""
    undeclared: tuple[str, ...] = ()
    """Hosts of `--insecure` that the config has no table for."""
    secure: tuple[str, ...] = ()
    """Hosts of `--insecure` whose table says nothing of it."""

    def scope(self, name: str | None) -> Scope:
        """What of a config repo is read, under its name in the config that there is."""
        from automator.app import scope_of
        from automator.cycle.source import Scope

        scope = Scope() if name is None else scope_of(self.config.repos[name])
        return scope if self.policies is None else replace(scope, policies=self.policies)


def _folder(policies: str | None) -> str | None:
    """What `--policies` names, as the config has it. Raises UsageError."""
    from automator.config import RepoConfig

    try:
        return None if policies is None else RepoConfig(url="/", policies=policies).policies
    except ValueError:  # as pydantic says it
        raise UsageError(reason("init/bad-folder", folder=policies)) from None


def _start(told: Globals, insecure: tuple[str, ...], policies: str | None) -> _Start:
    from automator.config import Config, RegistryConfig, config_file, load
    from automator.config.load import DEFAULT_FILE

    file = config_file(told.config, os.environ) or Path(DEFAULT_FILE)
    if file.exists():
        config = load(file, os.environ, require_repos=False)
    else:
        config = Config(state=file.absolute().parent / "state")
    hosts = {host: config.registries.get(host, RegistryConfig()) for host in insecure}
    opened = {host: known.model_copy(update={"insecure": True}) for host, known in hosts.items()}
    return _Start(
        file,
        config.model_copy(update={"registries": {**config.registries, **opened}}),
        policies,
        undeclared=tuple(host for host in hosts if host not in config.registries),
        secure=tuple(
            host for host, known in config.registries.items() if host in hosts and not known.insecure
        ),
    )


@dataclass(frozen=True, slots=True)
class _Where:
    """A config repo, surveyed."""

    name: str
    """What the config calls it."""
    url: str | None
    branch: str
    survey: Survey
    policies: Path
    """Folder that policies are written to, unless another one is named."""
    root: Path | None
    """The checkout; None for a URL."""
    foreign: str | None
    """A file in the folder of the policies that is an object of Kubernetes."""

    @property
    def alone(self) -> bool:
        """Whether it is a checkout without a remote."""
        return self.root is not None and self.url == str(self.root.resolve())

    @property
    def images(self) -> bool:
        """Whether any image is written in it."""
        claims = self.survey.snapshot.claims
        return bool(claims.unowned) or any(claims.sites.values())


def _is_remote(place: str) -> bool:
    path = Path(place)
    if path.exists():
        return (path / "HEAD").is_file() and (path / "objects").is_dir()  # a bare repository
    return URL.match(place) is not None


def _known(config: Config, url: str | None) -> str | None:
    """Name of the config repo with this URL in the config that there is."""
    return next((name for name, repo in config.repos.items() if url is not None and repo.url == url), None)


def _foreign(source: Source, survey: Survey) -> str | None:
    """An object of Kubernetes among policy files that have errors: such a folder is somebody else's."""
    from automator.cycle.source import BLOB_LIMIT

    if not survey.snapshot.policies.problems:
        return None
    tree = source.tree(survey.snapshot.commit)
    paths = {tree[file].oid: file for file in survey.policy_files}
    blobs = source.blobs(paths, limit=BLOB_LIMIT)
    return next((paths[oid] for oid, data in blobs if data and _OBJECT.search(data)), None)


def _at_path(start: _Start, path: Path) -> _Where:
    from automator.cycle.source import PlainFolder
    from automator.cycle.survey import survey_folder
    from automator.edges.checkout.work import Origin, origin_of

    found = origin_of(path) if path.is_dir() else None
    origin = found or Origin(path.absolute(), None, "main")
    if found is not None and found.root != path.resolve():
        raise UsageError(reason("init/not-root", path=path, root=found.root))
    url = origin.url or (str(origin.root) if found is not None else None)
    known = _known(start.config, url)
    scope = start.scope(known)
    survey = survey_folder(path, scope)
    foreign = _foreign(PlainFolder(path), survey)
    name = known or _repo_name(origin.url or str(origin.root))
    return _Where(name, url, origin.branch, survey, path / scope.policies, path, foreign)


def _at_url(start: _Start, place: str, branch: str | None) -> _Where:
    from automator.app import App

    url = str(Path(place).absolute()) if Path(place).exists() else place
    known = _known(start.config, url)
    if known is not None and branch is None:
        with App.open(start.config, exclusive=False, repos=(known,)) as app:
            return _cloned(start, known, app)
    branches = BRANCHES if branch is None else (branch,)
    for one in branches:
        try:
            return _first_clone(start, url, one)
        except CheckoutError as error:
            if error.reason.code != "git/no-branch":
                raise
    raise UsageError(reason("init/no-branch", url=url, branches=" and no branch ".join(branches)))


def _first_clone(start: _Start, url: str, branch: str) -> _Where:
    from automator.app import App
    from automator.config import Config, RepoConfig
    from automator.errors import ConfigError

    name = _repo_name(url)
    try:
        repo = RepoConfig(url=url, branch=branch)
    except ValueError:  # as pydantic says it: a URL with a password in it
        raise ConfigError(reason("init/bad-url")) from None
    config = Config(state=start.config.state, repos={name: repo}, registries=start.config.registries)
    with App.open(config, exclusive=False) as app:
        return _cloned(replace(start, config=config), name, app)


def _cloned(start: _Start, name: str, app: Any) -> _Where:
    from automator.cycle.survey import survey_branch

    repo = start.config.repos[name]
    scope, checkout = start.scope(name), app.cycles[name].checkout
    survey = survey_branch(checkout, scope)
    foreign = _foreign(checkout, survey)
    return _Where(name, repo.url, repo.branch, survey, Path(scope.policies), None, foreign)


def _repo_name(url: str) -> str:
    """The last word of a URL, as the config may call a config repo."""
    last = re.split(r"[/:]", url.rstrip("/").removesuffix(".git"))[-1]
    return _NO_NAME.sub("-", last.lower()).strip("-") or "config"


# -- what to write ---------------------------------------------------------------------------------


def _proposal(start: _Start, where: _Where, shut: dict[str, str], *, offline: bool, folder: Path) -> Proposal:
    """Also adds to `shut` each host that only the config can have asked, with the reason's code.

    Raises UsageError where the policies that there are have errors.
    """
    from automator.core.proposal import propose, repositories

    snapshot, claims = where.survey.snapshot, where.survey.snapshot.claims
    if where.foreign is not None:
        raise UsageError(reason("init/foreign-policies", file=where.foreign))
    if snapshot.policies.problems:
        _, why = snapshot.policies.problems[0]
        raise UsageError(reason("init/broken-policies", problem=why.sentence))
    wanted = repositories(claims.unowned)
    listings = {} if offline else _asked(start, wanted, shut)
    return propose(
        claims.unowned,
        listings,
        owned=[site for sites in claims.sites.values() for site in sites],
        names=[workload.name for workload in snapshot.policies.workloads],
        files=where.survey.policy_files if folder == where.policies else (),
    )


def _asked(start: _Start, wanted: Sequence[Repository], shut: dict[str, str]) -> dict[Repository, Listing]:
    from automator.app import registry_client, utc_now
    from automator.cycle.survey import ask_registries

    if sys.stderr.isatty():
        click.echo(f"asking for the tags of {counted(len(wanted), 'image')} …", err=True)
    client = registry_client(start.config)

    def failed(why: Reason) -> None:
        _warn(why)
        host = dict(why.params).get("host", "")
        if opens(why.code) and HOST.fullmatch(host):
            shut[host] = why.code

    try:
        return ask_registries(wanted, lambda one: client.tags(one, now=utc_now()).tags, failed=failed)
    finally:
        client.close()


def _warn(why: Reason) -> None:
    click.echo(
        click.style("warning: ", fg="yellow") + f"{why.sentence}; {why.next_step}  [{why.code}]", err=True
    )


def _texts(proposal: Proposal) -> dict[str, str]:
    from automator.core.policytext import policy_text
    from automator.core.proposal import header

    return {
        name: policy_text(drafts, header=header(drafts)) for name, drafts in proposal.files.items() if drafts
    }


# -- telling ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an `init`."""

    start: _Start
    where: _Where
    proposal: Proposal
    folder: Path
    files: tuple[Path, ...]
    first: FirstConfig
    configured: bool
    """Whether the config was written."""
    place: str

    def print(self) -> None:
        """For people: what was written, what was left out, what to do next."""
        from automator.cli.render import print_table

        for file, drafts in zip(self.files, self.proposal.files.values(), strict=True):
            held = sum("hold" in draft.keys for draft in drafts)
            note = f", {held} of them held until you decide" if held else ""
            click.echo(f"wrote {file}: {counted(len(drafts), 'workload')}{note}")
        if self.configured:
            click.echo(
                f"wrote {self.start.file}: {self.where.name} at {self.where.url or 'an address to give'}"
            )
            if self.first.shut:
                click.echo(f"  as comments there, for you to allow: {', '.join(self.first.shut)}")
        if not self.configured:
            self._print_lacks()
        if not self.files:
            some = any(self.where.survey.snapshot.claims.sites.values())
            click.echo(
                "nothing new: every image that can have a policy has one"
                if some
                else "no policy written: no image can have one"
            )
        if self.proposal.left:
            click.echo("left out:")
            rows = [(f"{s.file}:{s.line}", _image(s), one_line(why)) for s, why in self.proposal.left]
            print_table(("place", "image", "why"), rows)
        for sentence in self._next():
            click.echo(sentence)

    def _print_lacks(self) -> None:
        """What the config that there is must be told, with the lines to copy."""
        kept = f"kept {self.start.file};"
        if self._moved():
            click.echo(f"{kept} give {self.where.name} there {self._moved()}")
        for host in self.start.secure:
            click.echo(f"{kept} add insecure = true to [registries.{toml(host)}] there")
        if self._lacks():
            unknown = self._unknown()
            why = f" it names no config repo at {self.where.url}:" if unknown else ""
            click.echo(f"{kept}{why} add these lines to it")
            click.echo("\n" + "\n".join(self._lacks()))

    def _unknown(self) -> bool:
        """Whether the config that there is does not have the config repo."""
        return self.where.url is not None and _known(self.start.config, self.where.url) is None

    def _lacks(self) -> tuple[str, ...]:
        """The tables that the config that there is does not have."""
        if self.configured:
            return ()
        repo = (self.first.repo(),) if self._unknown() else ()
        return (*repo, *insecure_tables(self.start.undeclared))

    def _moved(self) -> str:
        """The line of the config for a folder of policies that it does not name."""
        known = _known(self.start.config, self.where.url)
        named = self.start.policies
        if named is None or known is None or self.start.config.repos[known].policies == named:
            return ""
        return f"policies = {toml(named)}"

    def _next(self) -> tuple[str, ...]:
        if not self.files:
            return ()
        where, file = self.where, self.start.file
        if where.root is None:
            target = f"{where.policies}/ of the config repo"
            return (
                f"next: read {self.folder}, commit its files to {target}, and push;",
                "      then `automator plan` shows what would be released",
            )
        if self.folder != where.policies:
            return (f"next: read {self.folder}, and move its files to {where.policies}",)
        if where.url is None:
            return (
                f"next: read {self.folder}, commit {self.place} to a Git repository, and push it;",
                f"      give its url in {file}, then `automator plan` shows what would be released",
            )
        git = "git" if self.place == "." else f"git -C {shlex.quote(self.place)}"
        added = shlex.quote(str(self.folder.relative_to(where.root)))
        push = "" if where.alone else f" && {git} push"
        return (
            f'next: {git} add {added} && {git} commit -m "Policies of automator"{push}',
            "      automator plan",
        )

    def print_json(self) -> None:
        """For programs."""
        from automator.cli.render import print_json

        workloads = [
            {"name": draft.name, "file": str(self.folder / name), "keys": dict(draft.keys)}
            for name, drafts in self.proposal.files.items()
            for draft in drafts
        ]
        left = [
            {"file": site.file, "line": site.line, "image": _image(site), "why": why}
            for site, why in self.proposal.left
        ]
        written = [str(file) for file in self.files] + ([str(self.start.file)] if self.configured else [])
        lacks = "\n".join(self._lacks())
        print_json({"written": written, "config_lacks": lacks, "workloads": workloads, "left": left})


def _image(site: Any) -> str:
    tag = f":{site.tag}" if site.tag else ""
    return one_line(f"{site.written}{tag}") or "(templated)"
