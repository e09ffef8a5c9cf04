"""The attacks: one file each.  Every one is real traffic, bounded in number and time, made on a VM of the lab.

An attack is a module with `run(order, tally)`; it is run on the VM by `python -m netpersona.app.lab.attacks NAME`.
"""
