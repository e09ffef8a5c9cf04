"""What can go wrong with a lab."""

from netpersona.errors import NetpersonaError


class LabError(NetpersonaError):
    """The lab cannot be built, found or entered; the host is as it was."""
