"""arm64: the kernel's include/uapi/asm-generic/unistd.h, asm/ptrace.h, asm-generic/stat.h.

Written from the documents, not yet run.  Two things differ from x86_64 beyond the numbers.  A stop in the middle of a
call that is to be restarted comes *after* the kernel has taken the instruction pointer back to the `svc` instruction
(do_signal in arch/arm64/kernel/signal.c).  And the number of a call under way is a register set of its own
(NT_ARM_SYSTEM_CALL); a call that begins takes it from x8.
"""

import struct
from collections.abc import Sequence

from vfs.view.kernel.machine import COMMON, MASK64, Machine, Words, numbered

_CALLS = numbered("""
   0 io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr lgetxattr
  10 fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd lookup_dcookie
  19 eventfd2
  20 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch inotify_rm_watch ioctl
  30 ioprio_set ioprio_get flock mknodat mkdirat unlinkat symlinkat linkat renameat umount2
  40 mount pivot_root nfsservctl statfs fstatfs truncate ftruncate fallocate faccessat chdir
  50 fchdir chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2
  60 quotactl getdents64 lseek read write readv writev pread64 pwrite64 preadv
  70 pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice tee readlinkat newfstatat
  80 fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime timerfd_gettime utimensat acct
  90 capget capset personality exit exit_group waitid set_tid_address unshare futex set_robust_list
 100 get_robust_list nanosleep getitimer setitimer kexec_load init_module delete_module timer_create
 108 timer_gettime timer_getoverrun
 110 timer_settime timer_delete clock_settime clock_gettime clock_getres clock_nanosleep syslog ptrace
 118 sched_setparam sched_setscheduler
 120 sched_getscheduler sched_getparam sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max
 126 sched_get_priority_min sched_rr_get_interval restart_syscall kill
 130 tkill tgkill sigaltstack rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait
 138 rt_sigqueueinfo rt_sigreturn
 140 setpriority getpriority reboot setregid setgid setreuid setuid setresuid getresuid setresgid
 150 getresgid setfsuid setfsgid times setpgid getpgid getsid setsid getgroups setgroups
 160 uname sethostname setdomainname getrlimit setrlimit getrusage umask prctl getcpu gettimeofday
 170 settimeofday adjtimex getpid getppid getuid geteuid getgid getegid gettid sysinfo
 180 mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd
 190 semget semctl semtimedop semop shmget shmctl shmat shmdt socket socketpair
 200 bind listen accept connect getsockname getpeername sendto recvfrom setsockopt getsockopt
 210 shutdown sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl
 220 clone execve mmap fadvise64 swapon swapoff mprotect msync mlock munlock
 230 mlockall munlockall mincore madvise remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages
 239 move_pages
 240 rt_tgsigqueueinfo perf_event_open accept4 recvmmsg
 260 wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime syncfs setns
 269 sendmmsg
 270 process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp
 278 getrandom memfd_create
 280 bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
 290 pkey_free statx io_pgetevents rseq kexec_file_load
""")

# asm-generic/stat.h: dev ino mode nlink uid gid rdev pad size blksize pad blocks, atime mtime ctime as (s, ns), spare
_STAT = struct.Struct("<QQIIIIQ8xqi4xq6q8x")
_SVC_SIZE = 4  # bytes of the instruction `svc #0`
_SECOND = 10**9


class _Arm64(Machine):
    def set_call(self, words: Words, number: int, arguments: Sequence[int]) -> None:
        """At the stop, the instruction pointer is at `svc` already."""
        words[self.number] = number
        for index, value in zip(self.arguments, arguments):
            words[index] = value & MASK64

    def set_result(self, words: Words, value: int) -> None:
        words[self.instruction] += _SVC_SIZE
        words[self.result] = value & MASK64

    def pack_stat(
        self,
        dev: int,
        ino: int,
        mode: int,
        nlink: int,
        uid: int,
        gid: int,
        rdev: int,
        size: int,
        blksize: int,
        blocks: int,
        atime_ns: int,
        mtime_ns: int,
        ctime_ns: int,
    ) -> bytes:
        return _STAT.pack(
            dev,
            ino,
            mode,
            nlink,
            uid,
            gid,
            rdev,
            size,
            blksize,
            blocks,
            atime_ns // _SECOND,
            atime_ns % _SECOND,
            mtime_ns // _SECOND,
            mtime_ns % _SECOND,
            ctime_ns // _SECOND,
            ctime_ns % _SECOND,
        )


# struct user_pt_regs: x0 ... x30 sp pc pstate
ARM64 = _Arm64(
    name="arm64",
    audit_arch=0xC00000B7,
    calls={**_CALLS, **COMMON},
    word_count=34,
    number=8,
    arguments=(0, 1, 2, 3, 4, 5),
    result=0,
    instruction=32,
    stack=31,
    o_largefile=0o400000,
)
