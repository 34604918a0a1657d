"""The outside world: DigDir, the API server, keys. Each translates its errors into `model.errors` in one place."""
