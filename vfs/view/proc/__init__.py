"""What /proc says in a view. One subject a file; `files` opens what is written here, `links` says what magic links say.

The supervisor looks at the host's /proc and writes a text of its own, made at the open, where the view differs. All else, and
everything of processes outside the view, is the kernel's.
"""
