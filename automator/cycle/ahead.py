"""Ahead: the branch's tip is fetched while what is around the first cycle is still being made."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait

from automator.edges.checkout import Checkout, Ending

PATIENCE = 5.0
"""Seconds to wait for the end of what nobody waits for any more."""


class Ahead:
    """A look at the branch, and the fetch of what it holds, on a thread of its own. Nobody else may use the
    checkout before `tip` or `give_up` has returned."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._tip: Future[str] = Future()
        # The end of the process waits for no git server that hangs.
        threading.Thread(target=self._go, name="ahead", daemon=True).start()

    def _go(self) -> None:
        try:
            tip = self._checkout.ask_tip()
            self._checkout.fetch(tip)
        except BaseException as error:  # noqa: BLE001 - it is the cycle's, which is on another thread
            self._tip.set_exception(error)
        else:
            self._tip.set_result(tip)

    def tip(self) -> str:
        """The commit that the branch is at, fetched. Raises what `Checkout.ask_tip` and `fetch` raise."""
        return self._tip.result()

    def give_up(self) -> None:
        """End it: no cycle will come."""
        if not self._tip.done():
            self._checkout.end_processes(Ending.STOP)
        wait((self._tip,), PATIENCE)
