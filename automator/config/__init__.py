"""The daemon's config: one TOML file, overridden by AUTOMATOR_… variables; secrets are file paths.

Every key has a sentence and a default in `sections`, and stands with both in
`config.example.toml`. What belongs to the policies (which version a workload may take) is not
here but in the config repo. Only `cli` and `app` read this package; the parts take plain arguments.
"""

from automator.config.forges import CheckConfig, ForgeConfig
from automator.config.load import config_file, load
from automator.config.notify import NotifyConfig
from automator.config.outside import HookConfig, KeyConfig, RegistryConfig, RegistryCredentials
from automator.config.repos import (
    AuthorConfig,
    PullRequestConfig,
    RepoConfig,
    RepoCredentials,
    RequireSignedConfig,
    SigningConfig,
)
from automator.config.runtimes import RuntimeConfig
from automator.config.sections import CommitConfig, Config, DaemonConfig, LogConfig, RuleConfig
from automator.config.values import Address, parse_address

__all__ = [
    "Address",
    "AuthorConfig",
    "CheckConfig",
    "CommitConfig",
    "Config",
    "DaemonConfig",
    "ForgeConfig",
    "HookConfig",
    "KeyConfig",
    "LogConfig",
    "NotifyConfig",
    "PullRequestConfig",
    "RegistryConfig",
    "RegistryCredentials",
    "RepoConfig",
    "RepoCredentials",
    "RequireSignedConfig",
    "RuleConfig",
    "RuntimeConfig",
    "SigningConfig",
    "config_file",
    "load",
    "parse_address",
]
