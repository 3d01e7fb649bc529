"""mbr: a disk with a partition table, MBR or GPT, as a device with parts.

Read: primary and logical partitions (types 05, 0F, 85), GPT by either header, hybrid, protective without a GPT, sectors of 512 to
4096 bytes. Nothing of the table is ever written by us: programs write it through the device, which then reads it again.

Specification: UEFI 2.10, sections 5.2 and 5.3; where it says nothing, as Linux (`block/partitions/{msdos,efi}.c`) does: numbers
of parts, extended partitions of 1 KiB, what a FAT's boot sector is not.

Files: `module` (probe, mount), `device` (the parts and their storages), `table` (which kind it is), `dos`, `gpt`, `signs` (file
systems whose boot sector looks like a table), `types` (names), `check` (`vfs check`), `layout`.

Limits: BSD, Sun, SGI, Apple and LDM tables are not read; nor are BSD disk labels inside an MBR partition.
"""
