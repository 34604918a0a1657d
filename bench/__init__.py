"""The operator's figures, measured on a real API server with the simulator as DigDir."""
