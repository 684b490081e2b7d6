"""The stages of a candidate, one a file. The fields of a stage are its key: its work sees them, its parent and nothing else."""
