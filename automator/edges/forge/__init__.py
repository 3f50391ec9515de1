"""Forges: thin clients of GitHub, GitLab, Gitea, Forgejo and Bitbucket over edges.http.

`opening` makes them, and is imported where the config names one.
"""

from automator.edges.forge.api import Forge
from automator.edges.forge.settings import ForgeSettings

__all__ = ["Forge", "ForgeSettings"]
