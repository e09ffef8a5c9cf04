"""How worried we are: findings with their reasons, the detectors that raise them, and the ledger."""
