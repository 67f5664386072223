"""Damaged and odd files, made on the spot, each with the reason that it must be given.

``recordings``, ``models`` and ``stores`` each hold a table of faults; ``examine`` meets them in a process of its own.
"""
