"""Calls with names far from all mounts, made by the processes themselves: without a notification, at nearly native speed.

What is trapped costs some ten microseconds. Most calls with names have nothing to do with any mount; the supervisor finds that
out, and here the processes get to know. When the dynamic loader opens the C library, it is given a copy (`library`) that asks
a page of ours (`page.c`), mapped in every process, before it makes such a call. There a table, written by the supervisor alone
(`table`), names directories that were walked and met no mount (`hostnames`). The page makes the call by the one instruction that
the filter lets pass. Whoever does not take part (static programs, Go, other C libraries, threads that are about to be cancelled)
is trapped as before.

It protects nothing, as little as the filter does: in human mode, where permissions count, nobody is told of the page. It is off
as well while views, identities or roots differ: the table is that of one view. x86_64 only.
"""
