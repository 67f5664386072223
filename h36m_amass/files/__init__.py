"""Bytes of files: npz, archives, URLs. Knows no recordings and no stores."""
