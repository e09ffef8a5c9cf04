"""What one window says of one VM, grouped and mergeable; observe() is the only reader of the flow tables."""
