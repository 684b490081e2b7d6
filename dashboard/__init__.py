"""The Streamlit app: pages that only read a study."""
