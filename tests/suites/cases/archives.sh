# Round trips of archives and copies: tar, cpio, zip, rsync -aHAX, with links, holes, attributes, access lists and odd names.
# needs: tar cpio zip unzip rsync setfattr setfacl getfattr getfacl
# seconds: 90

tree() {
  mkdir -p t/a/b t/empty; seq 1 3000 > t/a/n; head -c 300000 /dev/zero | tr '\0' z > t/z; ln t/z t/a/hard; ln -s ../z t/a/soft; ln -s nowhere t/dangling; : > t/nothing
  printf odd > "t/a/ space 'quote\"
newline"; printf latin > $'t/a/\xe9'; mkfifo t/fifo; truncate -s 3M t/holes; printf tail >> t/holes; dd if=/dev/zero of=t/holes bs=1 count=3 seek=1000000 conv=notrunc status=none
  chmod 600 t/a/n; chmod 1777 t/empty; chmod 751 t/a; setfattr -n user.colour -v blue t/a/n; setfattr -n user.d -v 0x0001ff t/a; setfacl -m u:1:r,g:2:rw t/z; setfacl -d -m u:3:rwx t/a/b
  find t -exec touch -h -d '2020-02-03 04:05:06.123456789' {} +
}
# All that a copy should keep, one line an entry.
show() {
  (cd "$1" && find . -type d -printf '%P d %m %T@\n' -o -printf '%P %y %m %n %s %T@ %l\n' | sort; find . -type f | sort | xargs -d '\n' -r cksum 2>/dev/null
  find . -print0 | sort -z | xargs -0 getfattr -hd -m '^user' 2>/dev/null; find . ! -type l -print0 | sort -z | xargs -0 getfacl -p 2>/dev/null | grep -v '^# owner\|^# group')
}

case_tar() { tree; tar -C t -cf x.tar . && tar tf x.tar | sort && mkdir u && tar -C u -xf x.tar && show u; }
case_tar_everything() { tree; tar --xattrs --acls -S -C t -cf x.tar . && mkdir u && tar --xattrs --acls -pS -C u -xf x.tar && show u && show t > 1 && show u > 2 && cmp 1 2 && tar -C t --compare -f x.tar; }
case_tar_compressed() { tree; for k in z j J; do tar -C t -c${k}f x.$k . && mkdir u$k && tar -C u$k -xf x.$k && diff -r --no-dereference -x fifo t u$k && echo same; done; }
case_tar_update() { tree; tar cf x.tar t/z; echo 1 >> t/nothing; tar rf x.tar t/nothing; tar uf x.tar t/a/n t/nothing; tar tf x.tar; tar --delete -f x.tar t/z; tar tf x.tar; tar -C t --remove-files -cf y.tar a/n; ls t/a | wc -l; tar cf i1 -g snap t > /dev/null 2>&1; touch t/later; tar cf i2 -g snap t; tar tf i2 | grep later; tar xf i1 -g /dev/null -C "$PWD" && ls t | sort; }
case_tar_over() { tree; tar cf x.tar t; tar xf x.tar && tar xf x.tar --keep-old-files 2>&1 | wc -l; tar xf x.tar --overwrite; tar xf x.tar --unlink-first --recursive-unlink; show t; tar cO t/z 2>/dev/null | wc -c | tr -d 0-9; cat x.tar | tar xf - t/a/n -O | cksum; }
case_cpio() { tree; for f in newc odc crc ustar; do (cd t && find . -depth -print0 | cpio -0 -o -H $f --quiet) > x.$f; mkdir u$f; (cd u$f && cpio -idm --quiet < ../x.$f); show u$f | grep -av colour | sed -E '/ (d|l) /s/ [0-9]+\.[0-9]+//'; done; }
case_cpio_pass() { tree; mkdir u; (cd t && find . -depth -print0 | cpio -0 -pdml --quiet ../u); (cd u && find . -printf '%P %y %m %n %s\n' | sed '/ d /d' | sort); }
case_zip() { tree; rm t/fifo; (cd t && zip -qry ../x.zip . && zip -T ../x.zip | sed 's/.*zip/zip/'); unzip -Z1 x.zip | sort | head -50; mkdir u; unzip -q x.zip -d u; diff -r --no-dereference t u && echo same; echo new > t/nothing; (cd t && zip -qu ../x.zip nothing && zip -qd ../x.zip z && unzip -l ../x.zip | tail -1 | awk '{print $2}'); unzip -p x.zip nothing; }
case_rsync() { tree; rsync -aHAX t/ u && show u && show t > 1 && show u > 2 && cmp 1 2; echo more >> t/z; rm t/nothing; touch -d 2021-01-01 t/a/n; rsync -aHAXi --delete t/ u; rsync -aHAXni --delete t/ u; }
case_rsync_sparse_inplace() { tree; rsync -aS t/ u; cmp t/holes u/holes; echo x | dd of=t/holes bs=1 seek=500000 conv=notrunc status=none; rsync -a --inplace --no-whole-file --block-size=4096 t/ u; cmp t/holes u/holes; rsync -a --append t/z u/z; rsync -a --backup --suffix=~ --checksum --no-times t/ u; rsync -a --link-dest="$PWD/u" t/ v; stat -c %h v/z v/a/n; rsync -a --remove-source-files t/a/ w; find w | sort; find t/a | sort; }
case_rsync_filter() { tree; rsync -a --exclude='*hard' --include='*/' --include='n' --exclude='*' t/ u; find u | sort; rsync -a --files-from=<(printf 'z\na/n\n') t/ v; find v | sort; rsync -a --partial-dir=.part --delay-updates t/ x; find x | wc -l; rsync -aR t/a/n y; find y; rsync --list-only -r t/a/b | awk '{print $1, $3, $4, $5}'; rsync -rlptD --fake-super t/ z; diff -r --no-dereference -x fifo t z | sort; }
case_cp() { tree; cp -a t u && show t > 1 && show u > 2 && cmp 1 2; cp -al t v; stat -c %h v/z; cp -as "$PWD/t" w; find w -type l | wc -l; cp -u t/z u/z; cp --reflink=auto --sparse=always t/holes h; cmp h t/holes; du -k h | awk '{print ($1 < 100)}'; cp --parents t/a/n k 2>&1; mkdir k; cp --parents t/a/n k; find k; cp -b t/z u/z; ls u; cp --remove-destination t/a/n u/z; cp -T t/empty e; cp --no-clobber t/z u/z; cksum u/z; install -D -m 711 t/z i/j/k; stat -c %a i/j/k; mv u moved; mv -n t/z moved; mv -T moved/a moved2; ls moved2 | wc -l; }
case_pax_names() { mkdir t; n=$(printf 'n%.0s' $(seq 200)); mkdir -p t/$n/$n/$n; echo deep > t/$n/$n/$n/f; tar cf x t; mkdir u; tar xf x -C u; cat u/t/$n/$n/$n/f; for i in $(seq 300); do : > t/f$i; done; tar cf y t; rm -r t; tar xf y; ls t | wc -l; : > "$n$n" ; mkdir -p $(printf 'd/%.0s' $(seq 300)); find d | wc -l; rm -r d; ls | sort; }
