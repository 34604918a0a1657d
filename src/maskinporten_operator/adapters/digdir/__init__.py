"""DigDir's self-service API and Maskinporten's token endpoint."""
