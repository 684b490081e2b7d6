"""Contract tests that any plug-in can run."""
