"""ramdisk: an empty disk in memory, `size=` bytes, with parts if `mbr` is given. What is in it ends with the mount.

Its content is a memfd: what was never written, and what was discarded, occupies nothing; reading and writing go at the kernel's
speed, and a front end may hand out the descriptor.

Files: `module` (mount), `device`, `storage`. The parts are the module mbr's, which the registry gives.
"""
