"""Forges: thin clients of GitHub, GitLab, Gitea, Forgejo and Bitbucket over edges.http."""

from automator.edges.forge.api import Forge
from automator.edges.forge.opening import open_forge
from automator.edges.forge.settings import ForgeSettings

__all__ = ["Forge", "ForgeSettings", "open_forge"]
