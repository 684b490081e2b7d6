"""What pages do beside showing: start and stop searches, write study files; no Streamlit here."""
