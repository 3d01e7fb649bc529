"""The Linux binary interface of a partial virtual machine, and nothing above it: no files, no mounts, no paths.

A tree of processes runs under a seccomp filter that sends chosen system calls to a supervisor, which answers them, has
the kernel execute them, or makes the process do something else.  No privilege is needed; Linux 5.19 or newer is.

In the order of reading:

- abi, machine, x86_64, arm64: numbers, tables of all calls, registers, struct stat
- structs: what calls exchange with their callers
- bpf, filter: which calls are trapped
- memory, processes: the other processes
- notify: one trapped call and its answers; trace: holding its thread to make it do more than that
- loop: receive, ask a handler, answer
- interrupted: signals in the middle of it
- start: the processes of a view, which are front, guardian and command (with signals, descriptors, reports, passing)
- lending, refusals: what changes in a container

Known limits.  On arm64, a signal that comes before a trapped call has been received interrupts it where the handler lacks
SA_RESTART (interrupted.py).  A process under strace or gdb can't be held. 32-bit programs get ENOSYS for all calls.
Set-user-ID programs run without the privilege they would gain.
"""
