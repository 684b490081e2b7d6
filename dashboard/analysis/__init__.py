"""What pages compute: pure functions of what a ledger holds; no Streamlit here."""
