"""What the project is made of, and what is known against it: SBOM, audit, and lint of the workflows."""
