"""x86_64: the kernel's arch/x86/entry/syscalls/syscall_64.tbl, asm/ptrace.h, asm/stat.h."""

import struct
from collections.abc import Sequence

from vfs.view.kernel.machine import COMMON, MASK64, Machine, Words, numbered

_CALLS = numbered("""
   0 read write open close stat fstat lstat poll lseek mmap
  10 mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv
  20 writev access pipe select sched_yield mremap msync mincore madvise shmget
  30 shmat shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid
  40 sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind
  50 listen getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve
  60 exit wait4 kill uname semget semop semctl shmdt msgget msgsnd
  70 msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd
  80 chdir fchdir rename mkdir rmdir creat link unlink symlink readlink
  90 chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo
 100 times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid
 110 getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid
 120 getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo
 130 rt_sigsuspend sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs
 140 getpriority setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler
 146 sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock
 150 munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex
 160 setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff reboot
 170 sethostname setdomainname iopl ioperm create_module init_module delete_module get_kernel_syms query_module
 179 quotactl
 180 nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr lsetxattr
 190 fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
 199 fremovexattr
 200 tkill time futex sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents
 209 io_submit
 210 io_cancel get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages
 217 getdents64 set_tid_address restart_syscall
 220 semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime
 228 clock_gettime clock_getres
 230 clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind set_mempolicy get_mempolicy
 240 mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid add_key
 249 request_key
 250 keyctl ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat
 259 mknodat
 260 fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat
 270 pselect6 ppoll unshare set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages
 280 utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4
 289 signalfd4
 290 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg
 300 fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg
 308 setns getcpu
 310 process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp
 318 getrandom memfd_create
 320 kexec_file_load bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect
 330 pkey_alloc pkey_free statx io_pgetevents rseq uretprobe uprobe
""")

# asm/stat.h: dev ino nlink mode uid gid pad rdev size blksize blocks, atime mtime ctime as (s, ns), three spare words
_STAT = struct.Struct("<QQQIIIIQqqq6q24x")
_SYSCALL_SIZE = 2  # bytes of the instruction `syscall`
_SECOND = 10**9


class _X86_64(Machine):
    def set_call(self, words: Words, number: int, arguments: Sequence[int]) -> None:
        """At the stop, the instruction pointer is behind `syscall`."""
        words[self.instruction] -= _SYSCALL_SIZE
        words[self.result] = number
        words[self.number] = MASK64  # -1, no call is under way: no restart logic on the way out
        for index, value in zip(self.arguments, arguments):
            words[index] = value & MASK64

    def set_result(self, words: Words, value: int) -> None:
        words[self.result] = value & MASK64
        words[self.number] = MASK64

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
            nlink,
            mode,
            uid,
            gid,
            0,
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


# struct user_regs_struct: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss
# fs_base gs_base ds es fs gs
X86_64 = _X86_64(
    name="x86_64",
    audit_arch=0xC000003E,
    calls={**_CALLS, **COMMON},
    word_count=27,
    number=15,
    arguments=(14, 13, 12, 7, 9, 8),
    result=10,
    instruction=16,
    stack=19,
    o_largefile=0o100000,
)
