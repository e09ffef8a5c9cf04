"""The two policies that live tests enforce, and what each does."""

LOW_REPUTATION = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: low-reputation}
spec:
  mode: enforce
  order: 100
  rules: [{name: listed, direction: outbound, peers: {reputation_below: 0.5}, action: deny, existing: cut}]
"""
"""What is listed is out of reach, also for connections that are open."""

RISKY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: risky}
spec:
  mode: enforce
  order: 50
  rules: [{name: nothing-out, when: persona.risk_score > 0.3, direction: outbound, action: deny, existing: cut}]
"""
"""Of a VM at risk nothing goes out."""

NOTHING_OUT = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: nothing-out}
spec:
  mode: enforce
  order: 1
  rules: [{name: all, direction: outbound, action: deny}]
"""
"""Nothing new goes out, of nobody."""
