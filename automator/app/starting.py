"""The start: the parts of the cycles first, and what is around them while git fetches the branches."""

from __future__ import annotations

import gc

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from automator.app.build import App
from automator.app.configwatch import ConfigSource
from automator.bell import Bell
from automator.config import Config
from automator.edges.log import log_reason
from automator.errors import ConfigError

LOCK_PATIENCE = 5.0
"""Seconds to wait for somebody else to leave the state folder."""


def serve(config: Config, source: ConfigSource, bell: Bell) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    `source` is where `config` came from, and changed ones come. Raises ConfigError where the state folder or
    a listener cannot be had.
    """
    app = opened(config)
    try:
        app.set_out()
        from automator.app.serve import Serving  # listeners, pages, numbers: a third of all that is loaded

        # What was loaded stays: the collector need not look through it, now or ever.
        gc.freeze()
        gc.enable()
        serving = Serving(app, source, bell)
    except BaseException:
        app.close()
        raise
    return serving.run()


def opened(config: Config) -> App:
    """The parts; a `plan` or `explain` that has the state folder just now is waited for."""
    patient = Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, ConfigError) and e.reason.code == "state/locked"),
        stop=stop_after_delay(LOCK_PATIENCE),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    return patient(App.open, config, exclusive=True, warn=log_reason)
