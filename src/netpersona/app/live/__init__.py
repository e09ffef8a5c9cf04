"""The live loop: traffic at the taps in, rules in the kernel out, about ten times a second.

    Controller (a Service) --asks, between two turns--> Loop --runs--> what is below

supervisor   runs a part, writes down how it is, tries again     Supervisor, health.py
judge        open windows judged again, closed ones learned      LiveJudge
threats      feeds read anew, pushed values worked in beside     Threats, indicators.py
policies     which are in force, in which version                LivePolicies, ledger.py
enforcing    what is in force in the kernel, and its guard       Enforcing, rules.py
"""
