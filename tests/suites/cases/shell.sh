# bash at work: here-documents, process substitution, redirections, jobs, globs, descriptors.
# needs: bash
# seconds: 60

shopt -s extglob # before the line that uses it is read

case_here_documents() { cat <<A; cat <<'B'; cat <<-C; wc -c <<< "$(seq 20000)"
$((1 + 1)) $PWD
A
$HOME
B
	tab
	C
cat <<X > f; cat f; bash <<'Y'
one
X
read a < f; echo "$a $(cat f)"; cat - f <<< in | tac
Y
head -c 200000 /dev/zero | tr '\0' q > big; { cat > c; wc -c c; } <<< "$(cat big)"; while read -r a b; do echo "$b $a"; done <<< $'1 2\n3 4'; }
case_process_substitution() { seq 10 > a; seq 5 15 > b; diff <(sort a) <(sort b) | sort; comm -12 <(sort a) <(sort b); paste <(head -3 a) <(tail -3 b); tee >(wc -l > n1) >(md5sum > n2) < a > /dev/null; sleep 0.3; cat n1 n2; while read x; do s=$((s + x)); done < <(cat a b); echo $s; cat <(cat <(cat <(cat a))) | wc -l; wc -c <(cat b) | sed 's/ .*//'; exec 4< <(echo four); read y <&4; echo $y; mapfile -t m < <(cat a); echo ${#m[@]}; }
case_redirections() { echo 1 > a; echo 2 >> a; cat < a; { echo out; echo err >&2; } > o 2> e; cat e o; { echo both; ls none; } &> b; cat b; ls none 2>&1 | wc -l; exec 5> five; echo x >&5; exec 5>&-; cat five; exec 6<> rw; echo abc >&6; cat rw; exec 6>&-; set -C; echo no > a; echo $?; echo yes >| a; cat a; set +C; exec 7< a; read z <&7; echo $z; exec 8<&7; exec 7<&-; read z <&8; echo "[$z]"; : > empty; wc -c empty; { echo a; echo b; } | while read l; do echo "<$l>"; done > w; cat w; cat < none; echo $?; > x/y; echo $?; exec {fd}> v; echo $((fd >= 10)); echo via >&$fd; exec {fd}>&-; cat v; echo 9 > /dev/stdout; echo 8 | cat /dev/stdin; cat /dev/fd/3 3< a; }
case_append_from_many() { for i in 1 2 3 4 5 6; do (for n in $(seq 200); do echo "line $i $n" >> log; done) & done; wait; wc -l log; sort log | md5sum; grep -vc '^line [1-6] [0-9]*$' log; true; }
case_globs() { mkdir -p d/{x,y,z}/s; touch d/{x,y,z}/{1,2,10}.txt d/.hidden 'd/a b' 'd/[q]'; echo d/*; echo d/*/*.txt; echo d/.*; shopt -s globstar nullglob dotglob extglob; echo d/**; echo d/*.none; echo d/!(x|y); for f in d/*\ *; do echo "<$f>"; done; cd d/x; echo *; echo ../*/1*; echo "$PWD" | sed 's,.*/d,d,'; compgen -f | sort; [[ -e 1.txt && ! -e 3.txt ]] && echo tests; [ 1.txt -ef ../x/1.txt ] && echo same; }
case_directories() { mkdir -p a/b/c 'sp ace'; ln -s a/b l; cd l/c; pwd | sed 's,.*/l,l,'; pwd -P | sed 's,.*/a,a,'; cd ..; pwd | sed 's,.*/,,'; cd - > /dev/null; pushd /tmp > /dev/null; popd > /dev/null; cd ../..; cd 'sp ace' && cd .. && CDPATH=a cd b > /dev/null && ls; cd ../..; (cd a && mkdir gone && cd gone && rmdir ../gone && ls; /bin/pwd; cd . ; echo $?; cd ..; pwd | sed 's,.*/,,'); cd none; echo $?; (cd a/b; mv ../../a ../../z; /bin/pwd | sed 's,.*/z,z,'; ls); ls; }
case_scripts() { printf '#!/bin/bash\necho "$0 $# $*"; echo "$BASH_SOURCE"; exit 3\n' > s; chmod +x s; ./s a 'b c'; echo $?; bash s x; sh ./s y 2>&1 | head -1; . ./s z & wait $!; echo $?; printf 'echo plain $0\n' > p; chmod +x p; ./p; printf '#!/usr/bin/env -S python3 -I\nimport sys; print(sys.argv)\n' > py; chmod +x py; ./py 1; PATH=$PWD:$PATH; s q | head -1 | sed "s,$PWD,,"; printf '#!./s\n' > nested; chmod +x nested; ./nested n 2>&1 | head -1; printf '#!/none\n' > bad; chmod +x bad; ./bad 2>&1 | sed 's/.*: //'; : > noexec; ./noexec 2>&1 | sed 's/.*: //'; echo 'f() { echo sourced $1; }' > lib; source lib; f ok; command -v s | sed "s,$PWD,,"; type -t s; (exec ./s last); echo $?; }
case_jobs_and_traps() { trap 'echo term' TERM; kill -TERM $$; sleep 0.2 & kill $!; wait $! 2>/dev/null; echo $?; (trap 'echo exit > t' EXIT; exit 2); echo $?; cat t; coproc cat; echo hi >&${COPROC[1]}; read r <&${COPROC[0]}; echo $r; eval "exec ${COPROC[1]}>&-"; wait; { sleep 0.1; echo late > late; } & wait; cat late; timeout 0.2 bash -c 'while :; do [ -e x ]; done'; echo $?; for i in $(seq 30); do echo $i > f$i & done; wait; cat f* | sort -n | md5sum; set -o pipefail; false | true; echo $?; yes | head -n 3 | wc -l; echo $?; }
case_fifo() { mkfifo p; cat p > o & echo through > p; wait; cat o; (for i in 1 2 3; do echo $i; done > p) & while read x; do echo "got $x"; done < p; wait; exec 9<> p; echo loop >&9; read y <&9; echo $y; [ -p p ] && echo pipe; timeout 0.3 cat p; echo $?; }
case_sort_and_split() { seq 200000 | shuf --random-source=<(yes) > n; sort -n -S 1M -T . n | md5sum; sort -n -o n n; head -1 n; split -n 7 n part; cat part* | cmp - n; split -l 50000 --filter='gzip > $FILE.gz' n z; zcat z*.gz | cmp - n; csplit -sz n /100000/ ; ls xx*; tail -n 3 n; tac n | head -1; ls | wc -l; join <(seq 5) <(seq 3 9); shuf -n 3 n | wc -l; }
case_time_and_test() { touch a; touch -d '1 hour ago' b; [ a -nt b ] && echo newer; touch -r b c; [ b -nt c ] || echo equal; touch -d @1000000000.5 d; stat -c '%Y %.Y' d; date -r d +%s; mkdir m; touch -d @5 m; : > m/x; [ "$(stat -c %Y m)" -gt 5 ] && echo moved; s=$(stat -c %Z a); sleep 0.02; chmod 600 a; [ "$(stat -c %.Z a)" != "$s" ] && echo changed; touch -a -d @7 a; stat -c %X a; cat a; find . -newermt 2001-09-10 -type f | sort; umask 077; : > u; mkdir v; stat -c %a u v; umask; }
