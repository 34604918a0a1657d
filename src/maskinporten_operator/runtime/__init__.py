"""Watches, the work queue, workers, health. The only importer of kopf."""
