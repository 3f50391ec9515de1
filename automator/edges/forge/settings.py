"""Settings of one forge: where it is, what it is, and as whom it is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ForgeKind = Literal["bitbucket", "forgejo", "gitea", "github", "gitlab"]


@dataclass(frozen=True, slots=True)
class ForgeSettings:
    """A forge as the config has it. Paths of secrets, never secrets."""

    host: str
    kind: ForgeKind
    api: str | None = None
    """Address of its API; None: the usual place on `host`."""
    token_file: str | None = None
    username: str | None = None
    """Bitbucket: the account's mail address, where the token is an API token."""
    app_id: str | None = None
    app_key_file: str | None = None
    installation_id: int | None = None
    ca_file: str | None = None
    timeout: float = 30.0
    """Seconds for one answer as a whole."""

    @property
    def address(self) -> str:
        """Where the API is, without a slash at its end."""
        return (self.api or _usual(self.host, self.kind)).rstrip("/")

    @property
    def page(self) -> str:
        """The forge's pages for people, without a slash at their end."""
        scheme = "http" if self.address.startswith("http://") else "https"
        return f"{scheme}://{self.host}"


def _usual(host: str, kind: ForgeKind) -> str:
    match kind:
        case "github":
            return "https://api.github.com" if host == "github.com" else f"https://{host}/api/v3"
        case "gitlab":
            return f"https://{host}/api/v4"
        case "bitbucket":
            return "https://api.bitbucket.org/2.0" if host == "bitbucket.org" else f"https://{host}/2.0"
    return f"https://{host}/api/v1"
