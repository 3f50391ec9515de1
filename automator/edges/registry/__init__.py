"""The registry edge: what container registries say of image repositories, as values of the core."""

from automator.edges.registry.client import BodyLimits, RegistryClient
from automator.edges.registry.credentials import Credential, CredentialSource, DockerConfig, PasswordFile
from automator.edges.registry.failures import RateLimited
from automator.edges.registry.hosts import HostSettings

__all__ = [
    "BodyLimits",
    "Credential",
    "CredentialSource",
    "DockerConfig",
    "HostSettings",
    "PasswordFile",
    "RateLimited",
    "RegistryClient",
]
