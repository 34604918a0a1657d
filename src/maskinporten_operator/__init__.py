"""Registers Maskinporten clients at DigDir from Kubernetes manifests."""
