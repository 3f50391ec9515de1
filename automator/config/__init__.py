"""The daemon's config: one TOML file, overridden by AUTOMATOR_… variables; secrets are file paths.

Every key has a sentence and a default in `sections`, and stands with both in
`config.example.toml`. What belongs to the policies (which version a workload may take) is not
here but in the config repo. Only `cli` and `app` read this package; the parts take plain arguments.
"""

from automator.config.load import config_file, load
from automator.config.sections import (
    Address,
    AuthorConfig,
    CommitConfig,
    Config,
    DaemonConfig,
    LogConfig,
    RegistryConfig,
    RegistryCredentials,
    RepoConfig,
    RepoCredentials,
    RuleConfig,
    parse_address,
)

__all__ = [
    "Address",
    "AuthorConfig",
    "CommitConfig",
    "Config",
    "DaemonConfig",
    "LogConfig",
    "RegistryConfig",
    "RegistryCredentials",
    "RepoConfig",
    "RepoCredentials",
    "RuleConfig",
    "config_file",
    "load",
    "parse_address",
]
