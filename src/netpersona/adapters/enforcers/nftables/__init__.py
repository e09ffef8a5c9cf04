"""Rules in the kernel's nf_tables: see enforcer.py."""

from netpersona.adapters.enforcers.nftables.enforcer import Nftables, nftables

__all__ = ["Nftables", "nftables"]
