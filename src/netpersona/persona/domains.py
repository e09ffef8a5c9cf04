"""Names are learned as the part that somebody registered: see intel.sites."""

from netpersona.intel.sites import registered_domain

__all__ = ["registered_domain"]
