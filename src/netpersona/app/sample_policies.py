"""The policies that the sample and the lab come with."""

from __future__ import annotations

BLOCK_LOW_REPUTATION = """\
# Above a risk of 0.7 nothing goes out; else peers of low reputation are blocked; else traffic is allowed.
apiVersion: netpersona/v1
kind: Policy
metadata: {name: block-outbound-low-reputation}
spec:
  mode: enforce
  order: 100
  rules:
    - {name: nothing-out-when-risky, when: persona.risk_score > 0.7, direction: outbound, action: deny, existing: cut}
    - {name: no-low-reputation, direction: outbound, peers: {reputation_below: 0.3}, action: deny, existing: cut}
"""


def isolate_controlled(span: str, words: str) -> str:
    """What is done to a VM that is under command and control, for a span (10m) that is `words` (ten minutes)."""
    return f"""\
# A VM that calls back like malware is cut off for {words}; management stays reachable.
apiVersion: netpersona/v1
kind: Policy
metadata: {{name: isolate-command-and-control}}
spec:
  mode: enforce
  order: 10
  rules:
    - name: isolate
      when: persona.signatures.exists(s, s.name in ['c2_beacon', 'c2_channel'] && s.confidence >= 0.8)
      until: persona.risk_score < 0.3
      action: isolate
      existing: cut
      for: {span}
"""
