"""The kernel front end: a mounted module as an ordinary Linux mount, through FUSE (pyfuse3).

Read in this order:

* `mounting`: `mount` and `unmount`, what the command line calls; the checks that need no file system;
* `background`: a process of its own, whose parent returns when the mount is usable;
* `session`: one mount's life: open the image, mount, serve, end;
* `options`: what `-o` means here, and what of it the kernel gets;
* `operations`: each request of the kernel becomes one call of a node or a handle. No file system logic;
* `nodes`: the kernel's numbers and our nodes; `attributes`: a `Stat` in the form the kernel wants;
* `loop`: serves one request after another, where nothing waits; `readiness`: waiting for the next one at little cost;
* `threaded`: serves file systems that may wait long, in threads, by trio; `library`: pyfuse3, imported without trio;
* `devices`: a device module's storages as a directory of files; `mounts`: the kernel's table of mounts; `presence`: unmounting
  waits until the image is closed.

One process serves one mount (pyfuse3 has one session a process).
"""
