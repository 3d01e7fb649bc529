"""The kernel front end: a mounted module as an ordinary Linux mount, through FUSE (pyfuse3 and trio).

Read in this order:

* `mounting`: `mount` and `unmount`, what the command line calls; the checks that need no file system;
* `background`: a process of its own, whose parent returns when the mount is usable;
* `session`: one mount's life: open the image, mount, serve, end;
* `options`: what `-o` means here, and what of it the kernel gets;
* `operations`: each request of the kernel becomes one call of a node or a handle. No file system logic;
* `nodes`: the kernel's numbers and our nodes; `attributes`: a `Stat` in the form the kernel wants;
* `readiness`: waiting for the next request without the cost of an event loop for each;
* `devices`: a device module's storages as a directory of files; `mounts`: the kernel's table of mounts.

One process serves one mount (pyfuse3 has one session a process).
"""
