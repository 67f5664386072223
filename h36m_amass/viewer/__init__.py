"""A store's poses in the browser."""
