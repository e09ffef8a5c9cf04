"""Who each VM is: its persona, the profile learned from calm traffic, and how complete that learning is."""
