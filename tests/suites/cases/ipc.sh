# What processes tell each other through names: AF_UNIX sockets, locks, and directories that are closed to some.
# needs: python3 flock
# seconds: 60

case_socket_names() {
  mkdir d; ln -s d l; python3 - <<'P'
import os, socket, stat
here = os.getcwd()
for name in ("relative", "./dot", "d/below", "l/linked", here + "/absolute"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        server, client = socket.socket(socket.AF_UNIX, kind), socket.socket(socket.AF_UNIX, kind)
        server.bind(name)
        if kind == socket.SOCK_STREAM:
            server.listen(); client.connect(name); peer = server.accept()[0]; peer.send(b"hello")
            print(client.recv(9), client.getpeername().replace(here, ""), peer.getsockname().replace(here, ""), repr(client.getsockname()))
        else:
            client.bind(name + "2"); client.sendto(b"datagram", name); text, sender = server.recvfrom(9); print(text, client.getsockname().replace(here, "")); os.unlink(name + "2")
        print(server.getsockname().replace(here, ""), stat.filemode(os.stat(name).st_mode))
        try: socket.socket(socket.AF_UNIX).bind(name)
        except OSError as error: print(error)
        server.close()
        try: socket.socket(socket.AF_UNIX, kind).connect(name)
        except OSError as error: print(error)
        os.unlink(name)
P
}
case_moved_socket() { python3 - <<'P'
import os, socket
server = socket.socket(socket.AF_UNIX); server.bind("first"); server.listen(); os.rename("first", "second"); os.link("second", "third")
for name in ("first", "second", "third"):
    try: socket.socket(socket.AF_UNIX).connect(name); print(name, "reached")
    except OSError as error: print(name, error)
os.unlink("second"); socket.socket(socket.AF_UNIX).connect("third"); print(sorted(os.listdir(".")), server.getsockname())
P
}
case_passed_descriptors() { echo content > f; python3 - <<'P'
import array, os, socket
left, right = socket.socketpair()
for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY):
    fd = os.open("." if flags & os.O_DIRECTORY else "f", flags)
    socket.send_fds(left, [b"x"], [fd]); got = socket.recv_fds(right, 1, 1)[1][0]
    if flags & os.O_DIRECTORY: print(sorted(os.listdir(got)))
    else:
        print(os.read(got, 4), os.read(fd, 100), os.fstat(got).st_size)
        if flags == os.O_RDWR: os.pwrite(got, b"CON", 0); print(open("f").read())
P
cat f; }
case_locks() { python3 - <<'P'
import fcntl, os
def tries(what, *arguments):
    pid = os.fork()
    if not pid:
        f = open("f", "r+")
        try: what(f, *arguments); os._exit(0)
        except OSError as error: os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
open("f", "w").write("x" * 100); f = open("f", "r+")
no = fcntl.LOCK_NB
fcntl.flock(f, fcntl.LOCK_EX); print(tries(fcntl.flock, fcntl.LOCK_SH | no)); fcntl.flock(f, fcntl.LOCK_SH); print(tries(fcntl.flock, fcntl.LOCK_SH | no), tries(fcntl.flock, fcntl.LOCK_EX | no)); fcntl.flock(f, fcntl.LOCK_UN); print(tries(fcntl.flock, fcntl.LOCK_EX | no))
fcntl.lockf(f, fcntl.LOCK_EX, 10, 5); print(tries(fcntl.lockf, fcntl.LOCK_EX | no, 5, 0), tries(fcntl.lockf, fcntl.LOCK_EX | no, 1, 14), tries(fcntl.lockf, fcntl.LOCK_EX | no, 1, 15)); fcntl.lockf(f, fcntl.LOCK_UN); print(tries(fcntl.lockf, fcntl.LOCK_EX | no))
os.rename("f", "g"); fcntl.lockf(f, fcntl.LOCK_EX); open("f", "w"); print(tries(fcntl.lockf, fcntl.LOCK_EX | no)); os.rename("g", "f"); print(tries(fcntl.lockf, fcntl.LOCK_EX | no))
P
flock f sh -c 'flock -n f true; echo $?'; flock -s f flock -sn f echo shared; flock -x d true 2>/dev/null; mkdir d; flock d echo directory; (flock 9; echo descriptor) 9> l; }
case_closed_directory() { mkdir -p x/y; echo z > x/y/z; chmod 0 x/y; find x 2>&1; ls x/y 2>&1; cat x/y/z 2>&1; chmod 100 x/y; cat x/y/z 2>&1; ls x/y 2>&1; echo x/y/*; chmod 700 x/y; cat x/y/z; chmod 0 x/y/z; cat x/y/z 2>&1; echo w 2>&1 > x/y/z; chmod 500 x/y; touch x/y/new 2>&1; rm -f x/y/z 2>&1; chmod 700 x/y; ls x/y; }
case_access() { mkdir a; echo > a/f; chmod 0 a/f; for t in -r -w -x -e; do test $t a/f; echo $?; done; chmod 555 a; test -w a; echo $?; test -x a; echo $?; ln -s none l; python3 -c 'import os; print(os.access("l", 4, follow_symlinks=False), os.access("l", 4))'; chmod 755 a; }
case_made_closed() { python3 - <<'P'
import os
for n in range(300):
    fd = os.open("f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0); os.fchmod(fd, 0o751); os.close(fd)
    if os.stat("f").st_mode != 0o100751: print("lost", oct(os.stat("f").st_mode))
    os.unlink("f")
P
}
