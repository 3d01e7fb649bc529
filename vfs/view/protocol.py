"""What both ends of the control channel know (`control`, `commands.channel`). The commands start often: this imports nothing."""

MAGIC = 0x76696577
"""`view`. (Options of prctl are small numbers.)"""
LARGEST = 1 << 16
"""Bytes of a request or a reply."""
