"""Bytes of files: npz, archives, addresses. Knows no recordings and no stores."""
