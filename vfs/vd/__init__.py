"""vd: virtual disks: files that hold the content of a disk, as emulators and virtual machine monitors keep it.

A mounted image is a device with one sub-device, the disk. Formats, each in a folder of its own that says what is read, written
and refused: `raw`, `qcow2`, `vdi`, `vhd`, `vhdx`, `vmdk`.

Files: `module` (probe, mount, create, check), `formats` (the table of formats and how each is recognised), `opening` (parents
found and opened), `disk` (what images of all formats have in common), `device` (the mounted device), `findings` (of a check). For
formats of large blocks and one table: `blocks`, `bitmaps`, `pages`, `space`.

Limits: parents and extents are found only beside the image that names them, or by the option `parent=`; chains are at most 64
images long; encrypted images are refused.
"""
