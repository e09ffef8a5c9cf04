"""The live loop: traffic at the taps in, rules in the kernel out, about ten times a second.

judge        open windows judged again as evidence comes, closed ones learned      LiveJudge
rules        the ruleset that follows the personas, the policies and the clock     LiveRules
health       how each part is                                                      Health
controller   one thread that runs them all and takes orders                        Controller
"""
