# Editors: batch editing with vim in ex mode, ed, sed -i, an editor's atomic save, backups and swap files.
# needs: vim sed python3 nano
# seconds: 60

v() { vim -Nu NONE -i NONE -es "$@" < /dev/null; }

case_vim() { seq 20 > f; v f -c '%s/^1/one/' -c 'g/7/d' -c wq; cat f; v f -c 'normal ggdG' -c 'put =range(1,5)' -c '1d' -c 'w g' -c q!; cat g; ls -A; }
case_vim_saves() { for copy in yes no auto; do seq 5 > f; chmod 640 f; ln -f f h; ln -sf f l; v l -c "set backup backupcopy=$copy backupext=.$copy" -c '$d' -c wq; cat f | wc -l; stat -c '%a %h' f; cat h | wc -l; readlink l; done; ls -A; }
case_vim_swap_and_undo() { seq 5 > f; v f -c 'set swapfile directory=. undofile undodir=.' -c '2d' -c w -c 'let g:s = swapname("%")' -c "call writefile([fnamemodify(g:s, ':t')], 'name')" -c q; cat name; ls -A; v f -c 'set undofile undodir=.' -c 'rundo .%home%f' -c undo -c wq; cat f | wc -l; echo other > .f.swp; v f -c 'set noswapfile' -c '$d' -c wq; cat f | wc -l; chmod 444 f; v f -c '$d' -c 'w!' -c q!; cat f | wc -l; }
case_vim_many() { for i in $(seq 30); do echo "word $i" > f$i; done; v f* -c 'argdo %s/word/WORD/ | update' -c qa; cat f* | sort -k2n | md5sum; v -c 'vimgrep /WORD/j f*' -c 'redir > n' -c 'silent echo len(getqflist())' -c 'redir END' -c q; cat n; v -c 'r !cat f1 f2' -c 'w out' -c q!; cat out; v -d f1 f2 -c 'diffget 2' -c 'wqa'; cat f1; }
case_ex_heredoc() { seq 9 > f; vim -Nu NONE -i NONE -es f <<'X'
2,3m$
1i
first
.
%j
w
q
X
cat f; command -v ed > /dev/null && printf '1p\nw g\nq\n' | ed -s f; ls; }
case_nano() { echo text > f; cat > drive.py <<'P'
import os, pty, select, sys, termios
# Presses keys when the screen shows what they answer.
pid, master = pty.fork()
if not pid:
    os.environ["TERM"] = "xterm"
    os.execvp("nano", ["nano", "-I", *sys.argv[1:]])
termios.tcsetwinsize(master, (24, 80))
for wanted, keys in ((b"^X", b"added "), (b"added", b"\x18"), (b"Save modified", b"y"), (b"Write", b"\r"), (None, b"")):
    screen = b""
    while wanted is None or wanted not in screen:
        if not select.select([master], [], [], 15)[0]: sys.exit(f"no {wanted}: {screen!r}")
        try: got = os.read(master, 4096)
        except OSError: got = b""
        if not got: break
        screen += got
    if keys: os.write(master, keys)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
P
python3 drive.py f; cat f; python3 drive.py -B f; cat f f~; chmod 600 f; python3 drive.py -B f; stat -c %a f f~; ls -A; }
case_atomic_save() { python3 - <<'P'
import os, tempfile
open("doc", "w").write("version 0\n")
for version in range(1, 50):
    fd, name = tempfile.mkstemp(dir=".", prefix=".doc")
    os.write(fd, b"version %d\n" % version); os.fsync(fd); os.fchmod(fd, 0o644); os.close(fd); os.rename(name, "doc")
    d = os.open(".", os.O_RDONLY | os.O_DIRECTORY); os.fsync(d); os.close(d)
    assert open("doc").read() == f"version {version}\n"
print(open("doc").read(), os.listdir("."), oct(os.stat("doc").st_mode))
old = open("doc"); os.replace("doc", "kept"); open("doc", "w").write("new"); print(old.read(), open("doc").read(), open("kept").read())
os.link("doc", "doc~"); os.unlink("doc"); os.rename("doc~", "doc"); print(sorted(os.listdir(".")), os.stat("doc").st_nlink)
P
}
case_atomic_readers() { python3 - <<'P'
import os
text = lambda n: f"{n}\n" * 5000
open("doc", "w").write(text(0)); readers = []
for _ in range(3):
    if not (pid := os.fork()):
        last = 0
        while last < 150:
            got = open("doc").read(); last = int(got.split("\n", 1)[0])
            if got != text(last): os._exit(1)
        os._exit(0)
    readers.append(pid)
for n in range(1, 151):
    with open("doc.new", "w") as f: f.write(text(n)); f.flush(); os.fsync(f.fileno())
    os.rename("doc.new", "doc")
print([os.waitpid(p, 0)[1] for p in readers], os.listdir("."))
P
}
case_unnamed_save() { python3 - <<'P'
import os
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(fd, b"unnamed"); print(os.fstat(fd).st_nlink); os.link(f"/proc/self/fd/{fd}", "named", dst_dir_fd=os.open(".", os.O_RDONLY), follow_symlinks=True); print(open("named").read(), os.stat("named").st_nlink, oct(os.stat("named").st_mode)); os.close(fd); print(os.listdir("."))
P
}
case_sed() { mkdir d; for i in 1 2 3; do seq 50 > d/f$i; done; ln -s f1 d/l; sed -i 's/^4/four/' d/f*; cat d/f* | md5sum; sed -i.bak -e 1d -e '$a end' d/f1; ls d; sed -i --follow-symlinks 2d d/l; readlink d/l; sed -i 3d d/l; ls -l d/l | cut -c1; chmod 604 d/f2; sed -i s/2/two/ d/f2; stat -c %a d/f2; sed -i s/x/y/ none; sed -n '/10/w out' d/f3; cat out; sed -s -n '$=' d/f*; perl -pi -e 's/two/2/' d/f2; perl -i.orig -ne 'print if /5/' d/f3; md5sum < d/f2; cat d/f3; ls d; sort -u -o d/f3 d/f3 d/f1; wc -l d/f3; }
case_patch() { seq 30 > a; sed 's/15/fifteen/;3d' a > b; diff -u a b > p; command -v patch > /dev/null && { patch -s a < p && cmp a b; patch -Rs a < p; wc -l a; patch -bs a < p; ls; }; diff3 a b a | head -3; cmp a b; }
