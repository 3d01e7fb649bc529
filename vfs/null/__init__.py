"""null: a character device like /dev/null that tells of each request: a test of devices, and of programs that use them.

Reading gives end of file, writing takes everything. Each open, read, write, ioctl and close is one line on standard error.
"""
