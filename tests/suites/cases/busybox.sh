# busybox's applets, which call the kernel in other ways than GNU's programs do.
# needs: busybox
# seconds: 60

b() { busybox "$@"; }
tree() { mkdir -p t/a/b/c t/e; seq 1 100 > t/n; seq 1 5000 > t/a/m; echo x > "t/a/with space"; ln -s ../n t/a/l; ln -s none t/d; ln t/n t/e/h; chmod 640 t/a/m; touch -d '2020-01-02 03:04:05' t/n t/a/m t/a/b; }

case_files() { tree; b cp -a t u; b cp -r t v; b diff -r t/a u/a; b find u | b sort; b mv u/a u/z; b ls u u/z; b rm -r v; b mkdir -p w/x/y; b rmdir -p w/x/y; b ln -s t k; b readlink k; b realpath k | sed "s,$PWD,,"; b rm -rf u t k; b ls -A; }
case_attributes() { tree; b stat -c '%n %a %F %h' t/n t/a t/a/l t/d; b stat -c %s t/n t/d; b chmod 600 t/n; b chmod -R a+rX t; b ls -l t | b awk '/^[-l]/ {print $1, $2, $5, $9}'; b touch -d '2021-01-01 00:00:00' t/n; b stat -c %Y t/n; b touch -c none; b truncate -s 5 t/n; b wc -c t/n; b fallocate -l 10000 f; b stat -c %s f; b chown "$(id -u)" t/n; b chgrp "$(id -g)" t/n; b test -L t/d && echo link; b test t/a/b -ot t/n; echo $?; }
case_text() { tree; cd t; b head -n 3 n; b tail -n 2 n; b tail -c 9 a/m; b wc n a/m; b sort -rn n | b head -n 2; b cut -c1-2 n | b uniq | b wc -l; b tr 0-9 a-j < n | b md5sum; b sed -n '5,7p' n; b grep -c 7 n; b awk '{s+=$1} END {print s}' n; b paste n n | b tail -n 1; b fold -w 2 n | b wc -l; b rev n | b tail -n 1; b tac n | b head -n 1; b nl n | b tail -n 1; b cat n a/m | b cksum; b od -c n | b head -n 2; b hexdump -C n | b tail -n 2; b xxd n | b head -n 1; b strings a/m | b wc -l; b expand n | b sum; b split -l 30 n part; ls part*; b comm n n | b wc -l 2>/dev/null; b shuf n | b sort -n | b cmp - n; }
case_in_place() { tree; cd t; b sed -i 's/^7$/seven/' n; grep -n seven n; b sed -i.bak 's/8/eight/' n; ls; b sort -o n n; b head -n 2 n; b unix2dos n; b dos2unix n; b md5sum n; b patch --version >/dev/null 2>&1; cp n o; sed -i 's/seven/SEVEN/' o; b diff n o > p; b patch n < p && b cmp n o; b tee -a n < o > /dev/null; b wc -l n; b dd if=n of=q bs=7 skip=1 seek=2 count=5 conv=notrunc 2>&1 | grep -v copied; b md5sum q; b shred -n 1 -z q; b od q | b head -n 2; }
case_archives() { tree; b tar cf x.tar t; b tar tf x.tar | b sort; mkdir u; b tar xf x.tar -C u; b find u | b sort; cmp t/a/m u/t/a/m; b tar czf x.tgz t; b tar tzf x.tgz | b wc -l; b find t | b cpio -o -H newc 2>/dev/null > x.cpio; b cpio -t < x.cpio 2>/dev/null | b sort; mkdir v; (cd v; b cpio -idm < ../x.cpio 2>&1); b find v | b sort; b gzip -k t/n; b zcat t/n.gz | b cmp - t/n; b bzip2 t/a/m; b bunzip2 t/a/m.bz2; b ar r x.a t/n; b ar t x.a; zip -qr x.zip t 2>/dev/null; mkdir z; b unzip -q x.zip -d z; b find z -type f | b sort; }
case_search() { tree; b find t -type f -size +1k; b find t -name '*a*' -prune -o -print | b sort; b find t -type l -exec b readlink {} \; ; b find t -type f -print0 | b xargs -0 b md5sum | b sort; b find t -newer t/n -type d | b sort; b grep -rl 99 t | b sort; b grep -r --include=n 42 t; b du -a t | b awk '{print $2}' | b sort; b find t -depth -type f -delete; b find t | b sort; b which sh; }
case_shell() { tree; cat > s <<'X'
read a < t/n; echo "$a"; while read l; do [ "$l" = 3 ] && break; done < t/n; echo "$l"
cat <<Y
here $a
Y
for f in t/*; do echo "$f"; done; echo t/a/*; cd t/a; pwd | sed 's,.*/t,t,'; cd ..; cd -P a/b/..; ls
exec 3>o; echo three >&3; exec 3>&-; cat o; (umask 077; : > p); ls -l p | cut -c1-10; set -C; : > p; echo $?
[ -e none ] || echo no; [ -d b ] && [ -r m ] && [ ! -x m ] && echo yes; trap 'echo bye' EXIT; x=$(cat n | wc -l; cat ../n | wc -l); echo $x; wait; sleep 0.1 & wait; exit 4
X
b sh ./s; echo $?; b ash -c 'echo $0; cat < t/n | head -n 1; exec ./none'; echo $?; }
case_execute() { cp "$(command -v busybox)" bb; ./bb echo one; ln -s bb echo; ./echo two; mkdir d; ln bb d/cat; d/cat < /dev/null; PATH=$PWD/d:$PATH; command -v cat | sed "s,$PWD,,"; ./bb sh -c './bb echo three; exec ./echo four'; printf '#!%s/bb sh\necho script $0 $1\n' . > s; chmod +x s; ./s five; ./bb --list | wc -l; ./bb env -i A=1 ./bb env; ./bb nice -n 5 ./bb nice; ./bb timeout 5 ./bb true; echo $?; ./bb setsid ./bb pwd | sed 's,.*/,,'; ./bb time ./bb true 2>&1 | head -c 4; }
case_fifo_and_sockets() { b mkfifo p; (b cat p > o &); echo through > p; sleep 0.3; cat o; b mknod q p; b stat -c %F p q; b mktemp -d | sed 's/.*tmp/tmp/;s/\..*//'; b mktemp XXXXXX | wc -c; }
case_errors() { tree; b cat none; b ls none; b rmdir t; b mkdir t; b rm t; b cp t u; b mv none x; b ln t/n t/n; b cat t; b cat t/d; (cd t/n/x); b touch none/x; b ln -s x t/n; b find none; b sed -i s/x/y/ none; b chmod 600 none; b readlink t/n; b mkdir none/x; b tar xf none; b mv t t/a; b cp t/n t/n; b dd if=none; true; } 2>&1
