"""The words of the domain; pure, imported by everything."""
