"""What the operator wants: policies, their conditions, and how they are parsed and checked."""
