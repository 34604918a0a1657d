"""The demo: a MaskinportenClient becomes a registered client, a Secret and a token, on this machine."""
