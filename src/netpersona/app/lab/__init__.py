"""The lab: machines of network namespaces on which netpersona can be watched at work, and attacked.

layout      who is where: machines, interfaces, addresses, names       plain data
network     the layout as commands of `ip`                             plain data
material    the files that netpersona reads: inventory, feed, policies plain data
cast        which programs run on which machine
kernel      the system calls that Python does not offer
machine     one machine: its namespaces and what it finds in /etc
home        the folder of a running lab, its lock, and how it is swept
keeper      begins and ends a lab, so that nothing stays behind
supervisor  the first process inside: builds, starts, watches
enter       runs a program on a machine of a running lab
programs/   the servers and clients that make the ordinary traffic
attacks/    the attacks, one file each
"""
