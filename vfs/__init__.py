"""vfs: one submodule API, four roles: kernel FUSE mounts, a partial virtual machine, a command line and a library.

    import vfs

    with vfs.open_image("disk.img") as image:
        print(image.listdir("/etc"))
        print(image.read_bytes("/etc/hostname"))

Everything of `vfs.api` can be had from here. `import vfs` itself imports nothing: a name is fetched when it is first used.
"""

TYPE_CHECKING = False  # what `typing` has; importing that takes as long as all the rest
if TYPE_CHECKING:
    from vfs.api import *  # noqa: F403


def __getattr__(name: str) -> object:
    # Names with underscores are Python's own questions (`__path__`, `__wrapped__`), not worth an import.
    if not name.startswith("_"):
        import vfs.api

        if name in vfs.api.__all__:
            return getattr(vfs.api, name)
    raise AttributeError(f"module 'vfs' has no attribute '{name}'")


def __dir__() -> list[str]:
    import vfs.api

    return [*globals(), *vfs.api.__all__]
