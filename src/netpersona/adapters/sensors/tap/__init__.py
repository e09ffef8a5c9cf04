"""Live packets of VMs' interfaces, from a ring that the kernel writes.

filter         which interfaces' packets the kernel puts into the ring     -> a socket filter
ring           the ring itself                                             socket -> blocks of bytes
blocks         blocks of bytes into Packets, in columns
sensor         taps come and go; polling gives Reports (packets/window_meter.py)
open_windows   Reports into the windows' tables as they stand
"""
