# find, grep, xargs, du, ls and their kin on a tree of some thousand entries.
# needs: find grep xargs
# seconds: 60

tree() { python3 - <<'P'
import os
for i in range(30):
    os.makedirs(f"t/d{i % 7}/e{i}", exist_ok=True)
    for k in range(40):
        with open(f"t/d{i % 7}/e{i}/f{k}.{'txt' if k % 3 else 'log'}", "w") as f: f.write(f"row {k} needle{i}\n" * (k + 1))
    os.symlink(f"../d{(i + 1) % 7}", f"t/d{i % 7}/s{i}"); os.link(f"t/d{i % 7}/e{i}/f1.txt", f"t/d{i % 7}/h{i}")
    os.chmod(f"t/d{i % 7}/e{i}/f2.txt", 0o600); os.utime(f"t/d{i % 7}/e{i}/f3.log", (1e9, 1e9))
P
}
case_find() { tree; find t | wc -l; find t -type l | sort | md5sum; find t -name '*.log' -size +1k | sort | md5sum; find t -links 2 -type f | wc -l; find t -perm 600 | wc -l; find t ! -newermt 2002-01-01 | wc -l; find t -maxdepth 2 -mindepth 2 -type d | sort; find -L t -maxdepth 3 | wc -l; find t -samefile t/d0/h0 | sort; find t -empty; find t -type f -printf '%f %s\n' | sort | md5sum; find t -lname '*d3' | sort; find t -inum "$(stat -c %i t/d1/h1)" | sort; find t -path '*e2*' -prune -o -type f -print | wc -l; find t -depth -name 'f?.log' -delete; find t -name '*.log' | wc -l; find t -execdir pwd \; -quit | sed 's,.*/,,'; find t -type f -exec sh -c 'echo $#' x {} + ; find t -name e3 -exec rm -r {} + ; find t -name e3; find none; echo $?; }
case_find_while_changing() { tree; find t -type f -name '*.txt' -exec mv {} {}.done \; ; find t -name '*.done' | wc -l; find t -name '*.txt' | wc -l; find t -type f -print0 | xargs -0 -P4 -n50 rm; find t -type f | wc -l; find t -depth -type d -empty -delete; find t | wc -l; }
case_grep() { tree; grep -rc needle7 t | grep -v ':0' | sort | md5sum; grep -rl 'row 39' t | wc -l; grep -rn --include='*.log' 'row 3 needle12' t | sort | head -3; grep -RIl needle3 t/d0/e0 t/d0/e7 t/d0/h0 2>/dev/null | wc -l; grep -r -L needle t | wc -l; grep -rho 'needle[0-9]*' t | sort | uniq -c | md5sum; grep -q x t; echo $?; grep needle t/d0; grep -z -c row t/d0/h0; cd t/d0; grep -r needle0 . | wc -l; grep -r nothing; echo $?; printf 'needle1\nneedle2\n' > pats; grep -rwFf pats --exclude=pats . | wc -l; }
case_ls_du() { tree; ls -R t | md5sum; ls -l t/d1 | grep -v ^total | awk '{print $1, $2, $9}'; ls -lS t/d0/e0 | awk '{print $5, $9}' | head -4; ls -laL t/d2 | wc -l; ls -U t/d3 | sort | md5sum; ls -1v t/d0/e0 | head -3; du -s --apparent-size --inodes t | cut -f1; du -b t/d0/e0/f3.log | cut -f1; stat -f -c %l t; df --output=target . > /dev/null; tree t 2>/dev/null | tail -1; ls t/d0/e0 | wc -l; ls -d t/*/; ls -p t/d0 | head -3; ls -F t/d0 | head -9 | tail -2; ls none t/d6/none; dir t; vdir t | wc -l; }
case_xargs() { tree; find t -type f -print0 | sort -z | xargs -0 -n100 -P4 cat | wc -c; find t -name '*.log' | sort | xargs md5sum | md5sum; find t -name 'f1.txt' | xargs -I{} cp {} {}.copy; find t -name '*.copy' | xargs stat -c %s | sort -n | uniq -c; find t -name '*.copy' -print0 | xargs -0 rename 's/copy/c/' 2>/dev/null; find t -name '*.log' -print0 | xargs -0 -r sed -i s/row/ROW/; grep -rlc ROW t | wc -l; find t -name '*.log' | cpio -o --quiet 2>/dev/null | cpio -t --quiet | wc -l; find t -type d -print0 | xargs -0 -n1 sh -c 'cd "$0" && ls | wc -l' | sort -n | uniq -c; }
case_checksums() { tree; find t -type f | sort | xargs sha1sum > sums; sha1sum -c --quiet sums; echo $?; echo x >> t/d0/h0; sha1sum -c --quiet sums 2>&1; find t -type f | sort | xargs cksum | md5sum; b2sum t/d1/h1; cat t/*/*/*.txt | sha256sum; cmp t/d0/h0 t/d0/e0/f1.txt; comm -3 <(ls t/d0/e0) <(ls t/d1/e1); diff -rq t/d0/e0 t/d1/e1 | wc -l; }
case_large_directory() { mkdir d; (cd d; seq 3000 | xargs touch); ls d | wc -l; ls -f d | sort | uniq -d; find d -name '*7' | wc -l; (cd d; rm $(seq 1 2 3000)); ls d | wc -l; python3 -c '
import os
seen = 0
for entry in os.scandir("d"):
    os.unlink(entry.path); seen += 1
print(seen, os.listdir("d"))'; rmdir d; ls; }
