"""The pages, one a file: ``page(view)`` draws one."""
