"""A VM gets a DNS answer only after the kernel holds what it means, so that its first connection is judged right.

    resolver -> ... -> tap of the VM -x-> device of ours -> heard: the kernel's sets gain the addresses -> tap -> VM

Two designs were weighed.  A transparent relay takes the VM's questions (redirect or TPROXY) and asks the resolver
itself.  The other holds the answers back.  This is the second:

- What the VM and its resolver say to each other stays as it is: source addresses, EDNS, cookies, TCP, any resolver
  anywhere.  A relay asks with its own address, or needs routes and marks to ask with the VM's.
- A relay has the question delivered to the host: the host's own firewall for input must let it in, a redirect needs an
  address on the tap, and the VM's rules see another destination.  On a bridged tap it needs more tricks still, and a
  host without an address in that network cannot ask at all.  Holding is done at the tap's egress hook, behind all of
  that, and is the same for routed and bridged taps, IPv4 and IPv6, forwarded answers and those of the host itself.
- When this process is gone, nothing has to be undone: the rule asks a set whose elements end (table.py).

What it costs: a kernel with the egress hook (Linux 5.16) and /dev/net/tun; answers that come in UDP fragments are
exchanged for one that asks for TCP; and a VM that asks by DoH, DoT or another port is not seen, as with a relay.
Answers are read by our own strict reader (message.py) rather than a library: it has to be bounded, and to refuse what
another reader might understand differently.
"""

from netpersona.adapters.dns_relay.admission import Learned
from netpersona.adapters.dns_relay.held import Answered
from netpersona.adapters.dns_relay.hold import AnswerHold, HoldHealth
from netpersona.adapters.dns_relay.message import Told
from netpersona.adapters.dns_relay.table import uninstall

__all__ = ["AnswerHold", "Answered", "HoldHealth", "Learned", "Told", "uninstall"]
