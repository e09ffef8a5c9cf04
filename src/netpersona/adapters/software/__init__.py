"""Where it is read what software a VM runs."""
