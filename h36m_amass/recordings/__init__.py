"""AMASS recordings: finding them, reading one, resampling, choosing some."""
