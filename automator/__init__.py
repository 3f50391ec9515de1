"""Automator: writes new image versions into a GitOps config repo, one commit a release."""

__version__ = "0.1.0"
