"""All I/O: what sees traffic, lists VMs and indicators, keeps state, and keeps rules in force."""
