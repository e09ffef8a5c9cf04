"""The lab's own servers and clients.  Each is run with `python -m`, and uses nothing but the standard library."""
