"""Stores made of joints that others have published."""
