"""raw: the bytes of a disk as they are, a file's or a block device's. Holes are kept, discards and zeroing make new ones."""
