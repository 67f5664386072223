"""Joints of folded regressors on any torch device, and the full mesh that they are compared with."""
