"""Guard rails as values: what a rule of the config or of `_rules.yaml` is about, and what it demands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Rail:
    """One rule; `guardrails` reads it and holds workloads to it."""

    rank: tuple[str, int]
    """File and number in the file, which no other rail shares: rails are met in this order."""
    place: str
    """Where it is written, for people: `policies/_rules.yaml:7`, `config.toml: rules[0]`."""
    name: str | None = None
    paths: tuple[str, ...] = ()
    """gitignore-style globs; like `owners` and `environments`, empty for every workload."""
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    """The only hosts, as `Repository.registry` has them; empty for any."""
    images: tuple[str, ...] = ()
    """Globs over the whole text of a repository, of which one must cover it; empty for any."""
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    """Keys, one of which must have signed; empty for none."""
    min_age: timedelta | None = None
    step: str | None = None
    deliver: str | None = None
    """`pull-request`, where releases must go through one."""

    @property
    def label(self) -> str:
        return "a rule" if self.name is None else f'rule "{self.name}"'
