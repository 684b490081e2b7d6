"""Search spaces shipped with autokd, one YAML file each."""
