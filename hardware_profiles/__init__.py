"""Hardware profiles shipped with autokd, one YAML file each."""
