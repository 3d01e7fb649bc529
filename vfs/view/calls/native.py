"""Calls that run natively, with the reason why nothing needs to be done about each.

Together with the call table this says something of every number: docs/system-calls.md is made from both (`page`), and a test
fails when a call is in neither.
"""

from __future__ import annotations

_REASONS = {
    "memory of the process: names no file": """
        brk mprotect munmap mremap madvise mincore mlock mlock2 mlockall munlock munlockall msync mseal pkey_alloc pkey_free
        pkey_mprotect map_shadow_stack remap_file_pages membarrier mbind set_mempolicy get_mempolicy set_mempolicy_home_node
        migrate_pages move_pages process_madvise process_mrelease memfd_create memfd_secret modify_ldt""",
    "time": """
        adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime getitimer gettimeofday nanosleep
        setitimer settimeofday time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
        timerfd_gettime timerfd_settime times""",
    "signals": """
        kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigsuspend rt_sigtimedwait
        rt_tgsigqueueinfo sigaltstack signalfd signalfd4 tgkill tkill pidfd_send_signal restart_syscall""",
    "processes: a view is inherited by itself": """
        arch_prctl clone clone3 exit exit_group fork vfork wait4 waitid getpid getppid gettid getpgid getpgrp getsid setpgid
        setsid set_tid_address set_robust_list get_robust_list set_thread_area get_thread_area pidfd_open getrusage
        getcpu rseq uprobe uretprobe kcmp""",
    "scheduling and limits": """
        getpriority setpriority getrlimit setrlimit prlimit64 ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min
        sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
        sched_setparam sched_setscheduler sched_yield""",
    "futexes, System V and POSIX IPC: names that are no paths": """
        futex futex_requeue futex_wait futex_waitv futex_wake semctl semget semop semtimedop msgctl msgget msgrcv msgsnd shmat
        shmctl shmdt shmget mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink""",
    "a virtual descriptor is a real one: closing, locks and waiting are the kernel's": """
        close close_range flock epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait poll ppoll select
        pselect6""",
    "advice: without effect on a virtual file": "readahead fadvise64 cachestat",
    "makes descriptors of the host's": """
        eventfd eventfd2 pipe pipe2 socket socketpair accept accept4 inotify_init inotify_init1 fanotify_init perf_event_open
        landlock_create_ruleset""",
    "pipes only": "tee vmsplice",
    "sockets: no name of a file is given": """
        listen shutdown getsockopt setsockopt recvfrom""",
    "descriptors arrive at low numbers; their content was put there when they were sent": "recvmsg recvmmsg",
    "a watch that the kernel made": "inotify_rm_watch",
    "the system as a whole": """
        getrandom sysinfo syslog uname sethostname setdomainname reboot vhangup iopl ioperm kexec_load init_module
        delete_module""",
    "keys: names that are no paths": "add_key keyctl request_key",
    "security modules and filters: they add to the view's": """
        landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr""",
    "another process's memory; the kernel asks who may": "process_vm_readv process_vm_writev",
    "namespaces: the view shows in all that keep the host's root": "unshare listns",
    "no AIO context can be made": "io_cancel io_destroy io_getevents io_pgetevents",
    "this kernel has it no more: ENOSYS": """
        _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg lookup_dcookie nfsservctl putpmsg
        query_module security tuxcall vserver""",
}

_SINGLE = {
    "sync_file_range": "no promise; of a virtual file a memfd answers",
    "umask": "the kernel's; /proc tells it",
    "sysfs": "file system types by number: the host's",
    "ustat": "by device number: a virtual one is EINVAL",
    "ptrace": "held for the moment of a change of directory or an exec that is served; see docs/limits.md",
    "userfaultfd": "memory; a fault of ours there waits for its handler",
}

REASONS = {name: reason for reason, names in _REASONS.items() for name in names.split()} | _SINGLE
"""Why a call needs nothing: by its name, for every call without a rule."""
