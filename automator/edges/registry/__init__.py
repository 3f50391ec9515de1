"""The registry edge: what container registries say of image repositories, as values of the core."""

from automator.edges.registry.budget import Breaker, HostResting, Standing
from automator.edges.registry.client import RegistryClient
from automator.edges.registry.clouds import CloudLogin
from automator.edges.registry.content import BodyLimits
from automator.edges.registry.credentials import Credential, CredentialSource, PasswordFile
from automator.edges.registry.dockerconfig import DockerConfig
from automator.edges.registry.failures import RateLimited
from automator.edges.registry.hosts import HostSettings
from automator.edges.registry.signatures import SignatureSource

__all__ = [
    "BodyLimits",
    "Breaker",
    "CloudLogin",
    "Credential",
    "CredentialSource",
    "DockerConfig",
    "HostResting",
    "HostSettings",
    "PasswordFile",
    "RateLimited",
    "RegistryClient",
    "SignatureSource",
    "Standing",
]
