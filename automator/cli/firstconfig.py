"""The first config: the text that `init` writes, and the lines that a config lacks that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/\s]+@[^/\s]+:|[^/\s]+\.[^/\s]+:", re.ASCII)
"""How a Git URL begins, and no path."""
HOST = re.compile(r"(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII)
"""The host of a registry, as image references have it."""

_BEGIN = """\
# The config of the automator daemon, begun by `automator init`. Everything else has a default: see
# config.example.toml. Secrets are paths of files, never the secrets themselves.
state = "state"                     # clones and one SQLite file, beside this file; all that matters is in Git

"""
_HTTPS = """\
# A token that may push to the branch, in a file; read at each use.
#credentials = { username = "automator", password_file = "/run/secrets/git-token" }
"""
_SSH = """\
# A deploy key that may push, and the server's host keys; else what ssh finds by itself.
#credentials = { ssh_key_file = "/run/secrets/deploy-key", known_hosts_file = "/etc/automator/known_hosts" }
"""
_ALONE = """\
# The checkout has no remote. Give the URL of one, and take this line away:
mode = "observe"
"""
_PLAIN = "insecure = true                     # it speaks plain http\n"
_MAYBE_PLAIN = "insecure = true                     # where it speaks plain http\n"
_OWN_AUTHORITY = 'ca_file = "/etc/automator/ca.pem"   # where an authority of your own signed it\n'
_OPENED_BY: Mapping[str, str] = {
    "registry/address-refused": _MAYBE_PLAIN + _OWN_AUTHORITY,
    "registry/no-tls": _PLAIN,
    "registry/tls": _OWN_AUTHORITY,
}
"""Codes of hosts that were not asked because the config says too little, and what it could say."""


@dataclass(frozen=True, slots=True)
class FirstConfig:
    """What is known of a config repo and its registries before there is a config."""

    name: str
    """What the config calls the config repo."""
    url: str | None
    """None for a folder that is no checkout."""
    branch: str
    policies: str | None
    """The folder of the policies, where it is not the usual one."""
    alone: bool
    """Whether it is a checkout without a remote."""
    insecure: tuple[str, ...] = ()
    """Registry hosts that speak plain http."""
    shut: Mapping[str, str] = field(default_factory=dict)
    """Registry hosts that were not asked -> code of the reason; see `opens`."""

    def text(self) -> str:
        """The whole config. What only a person can allow is there as a comment."""
        return "\n".join((_BEGIN + self.repo(), *self._shut(), *insecure_tables(self.insecure)))

    def repo(self) -> str:
        """The table of the config repo."""
        named = "" if self.policies is None else f"policies = {toml(self.policies)}\n"
        key = self.name if re.fullmatch(r"[a-z0-9-]+", self.name) else toml(self.name)
        if self.url is None:
            return (
                "# The folder is no checkout: say where the config repo is, and take the # away.\n"
                f'#[repos.{key}]\n#url = "https://git.example.com/acme/config.git"\n#branch = "main"\n'
                + _commented(named)
            )
        table = f"[repos.{key}]\nurl = {toml(self.url)}\nbranch = {toml(self.branch)}\n{named}"
        if self.url.startswith(("https:", "http:")):
            table += _HTTPS
        elif URL.match(self.url) and not self.url.startswith("file:"):
            table += _SSH
        return table + (
            _ALONE if self.alone else '#mode = "observe"                    # everything but the push\n'
        )

    def _shut(self) -> Iterable[str]:
        for host, code in self.shut.items():
            yield (
                f"# {host} was not asked ({code}). If it may be, take the # away where it applies:\n"
                + _commented(f"[registries.{toml(host)}]\n{_OPENED_BY[code]}")
            )


def opens(code: str) -> bool:
    """Whether a table of the config can have a registry asked that was not, for this reason."""
    return code in _OPENED_BY


def insecure_tables(hosts: Iterable[str]) -> tuple[str, ...]:
    """The tables of registries that speak plain http."""
    return tuple(f"[registries.{toml(host)}]\n{_PLAIN}" for host in hosts)


def toml(text: str) -> str:
    """A string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def _commented(lines: str) -> str:
    return "".join(f"#{line}" for line in lines.splitlines(keepends=True))
