"""What the policies mean for packets: the resolved rules, their verdicts with reasons, their difference, nft text."""
