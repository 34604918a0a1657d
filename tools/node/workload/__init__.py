"""What runs in the tests' pods."""
