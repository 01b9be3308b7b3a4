"""Where engines run: in this process, or in others on this machine or a cluster."""
