# sqlite with its write-ahead log (a shared mapping, byte-range locks) and rollback journals, used by several processes.
# needs: sqlite3
# seconds: 90

q() { sqlite3 -batch -cmd '.timeout 30000' "$@"; }

case_wal() {
  q db 'pragma journal_mode=wal; create table t(w int, n int);'
  for w in 1 2 3 4; do (for n in $(seq 25); do q db "insert into t values($w, $n);"; done) & done; wait
  q db 'select w, count(*), sum(n) from t group by w; pragma integrity_check; pragma wal_checkpoint(truncate);'; ls; q db 'select count(*) from t'
}
case_wal_readers() {
  q db 'pragma journal_mode=wal; create table t(n int); insert into t values(0);'
  python3 - <<'P'
import os, sqlite3, sys
def connect(): return sqlite3.connect("db", timeout=30, isolation_level=None)
readers = []
for _ in range(3):
    if not (pid := os.fork()):
        mine, seen = connect(), -1
        while seen < 200:
            now, total = mine.execute("select max(n), count(*) from t").fetchone()
            if now < seen or total != now + 1: os._exit(1)
            seen = now
        os._exit(0)
    readers.append(pid)
mine = connect()
for n in range(1, 201): mine.execute("insert into t values(?)", [n])
print([os.waitpid(pid, 0)[1] for pid in readers])
P
  ls; q db 'pragma integrity_check'
}
case_wal_mmap() { q db 'pragma journal_mode=wal; pragma mmap_size=100000000; create table t(a, b); insert into t select value, randomblob(500) from generate_series(1, 3000);' 2>&1; q db 'pragma mmap_size=100000000; select count(*), sum(length(b)) from t; update t set b = zeroblob(600) where a % 3 = 0; select sum(length(b)) from t; pragma wal_checkpoint;'; q db 'vacuum; pragma integrity_check; select sum(length(b)) from t'; stat -c %s db; }
case_journals() { for mode in delete truncate persist memory; do q $mode.db "pragma journal_mode=$mode; create table t(n); begin; insert into t values(1); commit; begin; insert into t values(2); rollback; select * from t;"; for i in 1 2 3; do (for n in $(seq 10); do q $mode.db "begin immediate; insert into t values($i * 100 + $n); commit;"; done) & done; wait; q $mode.db 'select count(*), sum(n) from t; pragma integrity_check'; done; ls; }
case_locks() { q db 'create table t(n)'; q db <<'S' &
begin exclusive;
insert into t values(1);
.shell sleep 1
commit;
S
sleep 0.4; sqlite3 db '.timeout 1' 'select count(*) from t'; echo $?; q db 'select count(*) from t'; wait; }
case_killed_writer() { q db 'pragma journal_mode=wal; create table t(n);'; python3 - <<'P'
import os, sqlite3, signal
for mode in ("wal", "delete"):
    if not (pid := os.fork()):
        c = sqlite3.connect("db", isolation_level=None); c.execute(f"pragma journal_mode={mode}"); c.execute("insert into t values(1)"); c.execute("begin"); c.executemany("insert into t values(?)", [(n,) for n in range(20000)])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    c = sqlite3.connect("db"); print(mode, c.execute("select count(*) from t").fetchall(), c.execute("pragma integrity_check").fetchall()); c.close()
P
ls; }
case_dump_and_attach() { q a 'create table t(n, s); insert into t values(1, "x"), (2, "y");' ; q a .dump | q b; q b 'attach "a" as o; insert into o.t select n + 10, s from t; select * from o.t; pragma o.integrity_check'; q a '.backup c'; q c 'select count(*) from t'; q a 'vacuum into "d"'; cmp c d > /dev/null; q d 'select sum(n) from t'; q 'file:a?mode=ro' 'insert into t values(3, 3)'; sqlite3 -readonly a 'delete from t'; q a '.output o' 'select * from t;'; cat o; printf '5,five\n6,six\n' > i; q a '.mode csv' '.import i t' 'select count(*) from t'; }
case_dbm_and_shelve() { python3 - <<'P'
import dbm.dumb, shelve, sqlite3, mmap, os
with dbm.dumb.open("d", "c") as d:
    for n in range(100): d[str(n)] = str(n * n)
with dbm.dumb.open("d") as d: print(len(d), d["9"])
with shelve.open("s") as s: s["k"] = {"a": [1, 2]}
with shelve.open("s") as s: print(s["k"])
f = os.open("m", os.O_RDWR | os.O_CREAT); os.ftruncate(f, 8192); m = mmap.mmap(f, 8192)
if not os.fork(): m[0:5] = b"child"; os._exit(0)
os.wait(); print(m[0:5], os.pread(f, 5, 0)); os.pwrite(f, b"PARENT", 4096); print(m[4096:4102]); m[8000:8004] = b"last"; m.flush(); print(open("m", "rb").read()[8000:8004])
P
}
