"""Data sources, one a file; splits and seeded views."""
