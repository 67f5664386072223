"""Stores in the layouts of other projects."""
