"""vhdx: virtual hard disks of Hyper-V, version 2.

Read and written: fixed, dynamic and differencing disks, logical sectors of 512 and 4096 bytes, every block state. A log with
changes is replayed: into the file when it is opened to be written, else in memory. A differencing disk's parent is found beside
it, by the file name in `relative_path`; every other path wants the option `parent=`. The parent must not have been changed since
the child was made (its DataWriteGuid tells).

The files in the order of a call: `layout`; `headers` (which of the two counts); `log` (what was not finished); `regions` (where
the tables are, what the metadata says); `image` (open, read, write); `journal` (changes of the tables, through the log);
`parent`; `create`; `check`.

Limits: 64 TiB. Logs of more than 64 MiB are refused. Blocks that are discarded leave a gap in the file that later blocks fill;
the file does not shrink.
"""
