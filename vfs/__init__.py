"""vfs: one submodule API, four roles: kernel FUSE mounts, a partial virtual machine, a command line and a library."""
