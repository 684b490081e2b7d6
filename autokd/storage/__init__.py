"""The ledger and the folders: what is on record, and where files lie."""
