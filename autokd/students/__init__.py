"""Student families, one a file."""
