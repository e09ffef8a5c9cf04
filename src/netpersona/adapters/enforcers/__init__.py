"""What keeps a ruleset in force."""
