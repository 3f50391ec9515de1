"""HTTP: the one place that makes sessions, sends requests and reads bodies, always within bounds.

What belongs here: what every edge that speaks HTTP needs and `requests` does not give. A total end
time for an exchange (`requests` bounds each socket operation only), a limit on the body, a look at
the address before anything is sent, and nothing taken from `~/.netrc` or the environment unasked.
"""

from automator.edges.http.addresses import Address, AddressRule, is_elsewhere, is_global, literal
from automator.edges.http.outside import Outside
from automator.edges.http.probing import probe
from automator.edges.http.sending import ERROR_BODY_LIMIT, USER_AGENT, Answer, Limits, send
from automator.edges.http.sessions import new_session
from automator.edges.http.trouble import Cause, Kind, TransportError
from automator.edges.http.trust import Stamp, Trust, TrustError

__all__ = [
    "ERROR_BODY_LIMIT",
    "USER_AGENT",
    "Address",
    "AddressRule",
    "Answer",
    "Cause",
    "Kind",
    "Limits",
    "Outside",
    "Stamp",
    "TransportError",
    "Trust",
    "TrustError",
    "is_elsewhere",
    "is_global",
    "literal",
    "new_session",
    "probe",
    "send",
]
