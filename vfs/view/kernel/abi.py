"""Numbers of the Linux system call interface that are the same on every machine.

Only what Python's own modules lack (os, fcntl, signal, errno have the rest).  The sources are the kernel's exported
headers, named above each group.  What differs between machines is in x86_64.py and arm64.py.
"""

from typing import Final

# ---- names and descriptors: linux/fcntl.h
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EACCESS: Final = 0x200
AT_REMOVEDIR: Final = 0x200
AT_HANDLE_FID: Final = 0x200
AT_SYMLINK_FOLLOW: Final = 0x400
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
AT_STATX_FORCE_SYNC: Final = 0x2000
AT_STATX_DONT_SYNC: Final = 0x4000
AT_RECURSIVE: Final = 0x8000
F_DUPFD: Final = 0
F_DUPFD_CLOEXEC: Final = 1030
F_DUPFD_QUERY: Final = 1027
F_CREATED_QUERY: Final = 1028
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4
XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
CLOSE_RANGE_UNSHARE: Final = 2
CLOSE_RANGE_CLOEXEC: Final = 4
NAME_MAX: Final = 255
PATH_MAX: Final = 4096  # with the NUL
IOV_MAX: Final = 1024

# ---- openat2: linux/openat2.h
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20
OPEN_HOW_SIZE: Final = 24

# ---- statx: linux/stat.h
STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800
STATX_MNT_ID: Final = 0x1000
STATX_MNT_ID_UNIQUE: Final = 0x4000
STATX_RESERVED: Final = 0x80000000
STATX_ATTR_COMPRESSED: Final = 0x4
STATX_ATTR_IMMUTABLE: Final = 0x10
STATX_ATTR_APPEND: Final = 0x20
STATX_ATTR_NODUMP: Final = 0x40
STATX_ATTR_ENCRYPTED: Final = 0x800
STATX_ATTR_MOUNT_ROOT: Final = 0x2000

# ---- statfs: linux/statfs.h
ST_RDONLY: Final = 0x1
ST_NOSUID: Final = 0x2
ST_NODEV: Final = 0x4
ST_NOEXEC: Final = 0x8
ST_VALID: Final = 0x20
ST_NOATIME: Final = 0x400
ST_NODIRATIME: Final = 0x800
ST_RELATIME: Final = 0x1000

# ---- mount and umount2: linux/mount.h
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_MANDLOCK: Final = 64
MS_DIRSYNC: Final = 128
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_SILENT: Final = 32768
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25
MS_MGC_VAL: Final = 0xC0ED0000
MS_MGC_MSK: Final = 0xFFFF0000
MNT_FORCE: Final = 1
MNT_DETACH: Final = 2
MNT_EXPIRE: Final = 4
UMOUNT_NOFOLLOW: Final = 8

# ---- clone: linux/sched.h
CLONE_VM: Final = 0x100
CLONE_FS: Final = 0x200
CLONE_FILES: Final = 0x400
CLONE_SIGHAND: Final = 0x800
CLONE_PIDFD: Final = 0x1000
CLONE_PTRACE: Final = 0x2000
CLONE_VFORK: Final = 0x4000
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000
CLONE_NEWNS: Final = 0x20000
CLONE_UNTRACED: Final = 0x800000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# ---- memory: asm-generic/mman-common.h, linux/mman.h
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
MAP_SHARED: Final = 1
MAP_PRIVATE: Final = 2
MAP_SHARED_VALIDATE: Final = 3
MAP_ANONYMOUS: Final = 0x20

# ---- inotify: linux/inotify.h
IN_DONT_FOLLOW: Final = 0x02000000

# ---- fanotify_mark: linux/fanotify.h
FAN_MARK_DONT_FOLLOW: Final = 0x4
FAN_MARK_FLUSH: Final = 0x80

# ---- ioctl: linux/fs.h, linux/fiemap.h
FIGETBSZ: Final = 2
FICLONE: Final = 0x40049409
FICLONERANGE: Final = 0x4020940D
FIDEDUPERANGE: Final = 0xC0189436
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
FS_IOC_FIEMAP: Final = 0xC020660B
FS_IOC_FSGETXATTR: Final = 0x801C581F
FS_IOC_FSSETXATTR: Final = 0x401C5820

# ---- bpf: linux/bpf.h
BPF_OBJ_PIN: Final = 6
BPF_OBJ_GET: Final = 7
BPF_F_PATH_FD: Final = 1 << 14

# ---- landlock_add_rule: linux/landlock.h
LANDLOCK_RULE_PATH_BENEATH: Final = 1

# ---- capabilities: linux/capability.h
CAP_DAC_READ_SEARCH: Final = 2
CAP_SYS_PTRACE: Final = 19
CAP_SYS_PACCT: Final = 20
CAP_SYS_ADMIN: Final = 21

# ---- memfd_create: linux/memfd.h
MFD_EXEC: Final = 0x10  # Linux 6.3

# ---- sockets: linux/socket.h
SOL_SOCKET: Final = 1
SCM_RIGHTS: Final = 1

# ---- prctl: linux/prctl.h
PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

# ---- seccomp: linux/seccomp.h
SECCOMP_SET_MODE_STRICT: Final = 0
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5  # Linux 5.19
SECCOMP_RET_KILL_PROCESS: Final = 0x80000000
SECCOMP_RET_ERRNO: Final = 0x00050000
SECCOMP_RET_USER_NOTIF: Final = 0x7FC00000
SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_ACTION_FULL: Final = 0xFFFF0000
SECCOMP_RET_DATA: Final = 0x0000FFFF
SECCOMP_IOCTL_NOTIF_RECV: Final = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND: Final = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID: Final = 0x40082102
SECCOMP_IOCTL_NOTIF_ADDFD: Final = 0x40182103
SECCOMP_IOCTL_NOTIF_SET_FLAGS: Final = 0x40082104
SECCOMP_USER_NOTIF_FLAG_CONTINUE: Final = 1
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: Final = 1  # Linux 6.6
SECCOMP_ADDFD_FLAG_SETFD: Final = 1
SECCOMP_ADDFD_FLAG_SEND: Final = 2

# ---- ptrace: linux/ptrace.h
PTRACE_DETACH: Final = 17
PTRACE_SYSCALL: Final = 24
PTRACE_GETREGSET: Final = 0x4204
PTRACE_SETREGSET: Final = 0x4205
PTRACE_SEIZE: Final = 0x4206
PTRACE_INTERRUPT: Final = 0x4207
PTRACE_GETSIGMASK: Final = 0x420A
PTRACE_SETSIGMASK: Final = 0x420B
PTRACE_GETEVENTMSG: Final = 0x4201
PTRACE_LISTEN: Final = 0x4208
PTRACE_GET_SYSCALL_INFO: Final = 0x420E
PTRACE_SYSCALL_INFO_ENTRY: Final = 1
PTRACE_O_TRACESYSGOOD: Final = 0x1
PTRACE_O_TRACEFORK: Final = 0x2
PTRACE_O_TRACEVFORK: Final = 0x4
PTRACE_O_TRACECLONE: Final = 0x8
PTRACE_O_TRACEEXEC: Final = 0x10
PTRACE_EVENT_FORK: Final = 1
PTRACE_EVENT_VFORK: Final = 2
PTRACE_EVENT_CLONE: Final = 3
PTRACE_EVENT_EXEC: Final = 4
PTRACE_EVENT_STOP: Final = 128
PTRACE_O_EXITKILL: Final = 0x100000
NT_PRSTATUS: Final = 1
NT_ARM_SYSTEM_CALL: Final = 0x404
WALL: Final = 0x40000000  # waitpid: threads as well (__WALL)
WNOTHREAD: Final = 0x20000000  # waitpid: only what the calling thread itself traces (__WNOTHREAD)
ERESTARTNOINTR: Final = 513  # linux/errno.h: the kernel repeats the call, whatever handler runs in between

# ---- pidfd: linux/pidfd.h
PIDFD_THREAD: Final = 0o200  # O_EXCL; Linux 6.9
