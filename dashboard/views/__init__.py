"""The pages, one a file: ``page(view)`` draws one. Not `pages/`: Streamlit takes such a folder for an app of its own."""
