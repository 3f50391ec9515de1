"""The error family. Each error is a reason (sentence, place, next step) and says whether waiting helps.

    AutomatorError
    ├─ UsageError          a flag or argument                      exit 2
    ├─ ConfigError         the daemon's config                     exit 2
    ├─ PolicyError         a policy file: file, line, key
    ├─ ActionError         what a person asked for, and the config repo or the policy does not let through
    ├─ InvalidReference    text that is no image reference
    ├─ InvalidConstraint   text that is no version range
    ├─ ManifestError       a file of the config repo that cannot be read or edited
    ├─ RegistryError       a registry's no, or its silence
    ├─ ForgeError          a forge's no, or its silence
    ├─ CheckError          a key or command of the config that could prove nothing
    ├─ RuntimeTrouble      a runtime's no, or its silence: what runs there is not known
    └─ CheckoutError       Git's no, or its silence

`retry` is False where a person must change something first, True where the next cycle may succeed.
"""

from __future__ import annotations

from automator.reasons import Reason


class AutomatorError(Exception):
    """Base of all errors that automator raises on purpose; carries its reason."""

    retry = False

    def __init__(self, reason: Reason, *, retry: bool | None = None) -> None:
        super().__init__(reason.sentence)
        self.reason = reason
        if retry is not None:
            self.retry = retry


class UsageError(AutomatorError):
    """A command line that cannot work."""


class ConfigError(AutomatorError):
    """The daemon's config cannot be used."""


class PolicyError(AutomatorError):
    """A policy file, or one workload of it, is invalid."""


class ActionError(AutomatorError):
    """What a person asked for is not done: the state of the config repo, or a policy, forbids it."""


class InvalidReference(AutomatorError):
    """Text that is no image reference."""


class InvalidConstraint(AutomatorError):
    """Text that is no version range."""


class ManifestError(AutomatorError):
    """A file of the config repo cannot be read, located in or edited."""


class RegistryError(AutomatorError):
    """A registry refused, failed or did not answer in time."""

    retry = True


class ForgeError(AutomatorError):
    """A forge refused, failed or did not answer in time."""

    retry = True


class CheckError(AutomatorError):
    """A key or a command of the daemon's config told neither yes nor no."""

    retry = True


class RuntimeTrouble(AutomatorError):
    """A place where images run refused, failed or did not answer in time: nothing is known of it."""

    retry = True


class CheckoutError(AutomatorError):
    """A git step failed or did not end in time."""

    retry = True
