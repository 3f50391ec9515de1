"""The composition root: from a config to running parts. The only package that knows them all."""

from automator.app.build import App, open_forges, registry_client, scope_of, utc_now
from automator.app.chains import runtime_scopes

__all__ = ["App", "open_forges", "registry_client", "runtime_scopes", "scope_of", "utc_now"]
