"""Few errors, named by what the caller can do about them.

Every message says what is wrong, where, and what to do; it never carries a secret.
"""


class NetpersonaError(Exception):
    """The root: catching it catches all that netpersona raises on purpose."""


class SourceError(NetpersonaError):
    """A sensor cannot read its source at all: name another source, or repair this one."""


class FeedError(NetpersonaError):
    """A feed gives nothing usable: the last good version stays in force."""


class InventoryError(NetpersonaError):
    """The list of VMs cannot be read or contradicts itself."""


class PolicyError(NetpersonaError):
    """A policy cannot mean anything: mend the file at the place the message names."""


class ConfigError(NetpersonaError):
    """The configuration or a command-line value is refused."""


class StoreError(NetpersonaError):
    """The store cannot be opened, read or written; what was stored before is still good."""


class EnforcerError(NetpersonaError):
    """The kernel refused a transaction: nothing of it is in force, the rules before it still are."""


class StoppedError(NetpersonaError):
    """The operator stopped it before it was done; the message says what became of it."""


class SinkError(NetpersonaError):
    """Findings cannot be told: they wait, and are told again later; nothing else is held up by it."""
