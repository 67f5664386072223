"""From AMASS recordings to a store."""
