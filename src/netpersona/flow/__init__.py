"""What happened: flows and transactions in columns, the VMs they belong to, and windows of time."""
