"""Which VMs exist, from where that is written down."""
