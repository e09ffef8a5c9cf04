"""The types of what is answered and sent, as the API's documentation states them.

Instants are RFC 3339 (UTC) in resources, and seconds since the epoch in answers that say the same as a report.
"""

from netpersona.app.api.models.exposure import Exposure
from netpersona.app.api.models.feeds import (
    Feed,
    FeedChange,
    FeedKeys,
    FeedName,
    FeedRefresh,
    FeedWord,
    Indicators,
    Why,
)
from netpersona.app.api.models.findings import Finding, Verdict
from netpersona.app.api.models.firewall import Firewall, FirewallCheck, Receipt
from netpersona.app.api.models.health import Health
from netpersona.app.api.models.personas import (
    Labels,
    Persona,
    PersonaDifference,
    PersonaEdit,
    PersonaSummary,
    PersonaVersion,
    RiskExplanation,
)
from netpersona.app.api.models.policies import Back, Bundle, Mode, Policy, PolicyCheck, PolicyPlan, PolicyVersion, Texts
from netpersona.app.api.models.shape import ListOf, Problem

__all__ = [
    "Back",
    "Bundle",
    "Exposure",
    "Feed",
    "FeedChange",
    "FeedKeys",
    "FeedName",
    "FeedRefresh",
    "FeedWord",
    "Finding",
    "Firewall",
    "FirewallCheck",
    "Health",
    "Indicators",
    "Labels",
    "ListOf",
    "Mode",
    "Persona",
    "PersonaDifference",
    "PersonaEdit",
    "PersonaSummary",
    "PersonaVersion",
    "Policy",
    "PolicyCheck",
    "PolicyPlan",
    "PolicyVersion",
    "Problem",
    "Receipt",
    "RiskExplanation",
    "Texts",
    "Verdict",
    "Why",
]
