"""From downloads to a support folder: what each file is, and where it belongs."""
