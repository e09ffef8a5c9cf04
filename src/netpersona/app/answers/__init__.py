"""What people ask of netpersona, answered in plain values: lists, mappings, texts and numbers.

The same question gives the same value whether it is asked of a store or of the running controller through its API,
and a command prints it with the same table.

    command -> Answers -> OfStore ---------------------------+-> personas.py, findings.py, policies.py, why.py
                       -> Controller -> socket -> app/api ---+
"""
