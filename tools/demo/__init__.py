"""The demo: an Application becomes a registered client, a Secret, a workload and a token, on this machine."""
