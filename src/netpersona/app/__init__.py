"""What runs it: configuration, wiring, the replay, the command line."""
