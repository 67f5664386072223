"""The HDF5 store: its format, writing and reading it."""
