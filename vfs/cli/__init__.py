"""The command line `vfs`: looks into images, takes files out of them, mounts them.

`main` knows the commands' names and nothing else; a command's file is imported when it runs, since start-up is most of what
`vfs ls` costs in a script. A file holds one group of commands: a function named as the command takes a parser, describes the
arguments and returns what runs.

    opening     the arguments that every inspecting command has; the report of what failed
    printing    names, times and records as people and programs see them
    transfer    the bytes of a handle to a descriptor, past Python where the extents allow it
    hosttree    nodes become files of the host;  tarstream  nodes become a tar archive
"""
