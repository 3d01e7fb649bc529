"""The system calls that a view answers, by subject.

Each file has an `install(table, view)` that enters its calls: a name, a handler, and what of it the filter traps. A handler
gets a `Call` and returns the result (0 or more), a negative errno, `CONTINUE` (the kernel does the call itself) or `DONE`
(answered already); it may raise `OSError`. A handler may run twice for one call of the program (a signal restarts it), so none
may have a first half that a repetition would trip over.
"""
