"""The VMs that libvirt runs: what their XML says, which of two claims counts, and how it is followed."""
