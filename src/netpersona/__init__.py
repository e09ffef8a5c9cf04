"""netpersona: a persona for each virtual machine, and firewall rules that can explain themselves."""

__version__ = "0.1.0"
