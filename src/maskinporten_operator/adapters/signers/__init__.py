"""What signs for the operator by keys that it doesn't hold: a module for each provider, with that one's library."""
