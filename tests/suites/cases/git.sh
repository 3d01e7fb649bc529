# git at work: a repository of 5,000 files, and what git does with the file system in particular.
# needs: git
# seconds: 150

export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_CONFIG_COUNT=3
export GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=main GIT_CONFIG_KEY_1=advice.detachedHead GIT_CONFIG_VALUE_1=false
export GIT_CONFIG_KEY_2=gc.auto GIT_CONFIG_VALUE_2=0

# A repository "r" with $1 files in directories of 100 and one commit.
make_repository() {
  git init -q r && cd r || return
  python3 -c '
import os, sys
for number in range(int(sys.argv[1])):
    os.makedirs(f"d{number // 100}", exist_ok=True)
    with open(f"d{number // 100}/f{number}", "w") as file:
        file.write(f"file {number}\n" * (number % 50 + 1))' "$1"
  git add -A && git commit -q -m first
}

case_large() {
  make_repository 5000 && git rev-parse HEAD && git status --short | wc -l
  for i in 7 77 777; do echo more >> d$((i / 100))/f$i; done
  git status --short && git commit -qam second && git rev-parse HEAD && git diff --stat HEAD~ && git gc -q && git count-objects -v | grep -v size
  git fsck --full --strict && git clone -q . ../c && git -C ../c rev-parse HEAD && git -C ../c status --short && git -C ../c ls-files | wc -l
}
case_clone_kinds() {
  make_repository 200; cd ..
  git clone -q r local && git clone -q --no-hardlinks r copied && git clone -q --shared r shared && git clone -q "file://$PWD/r" wire && git clone -q --bare r bare.git
  git clone -q --depth=1 "file://$PWD/r" shallow && git clone -q --mirror r mirror.git
  for c in local copied shared wire bare.git shallow mirror.git; do git -C $c fsck 2>&1; git -C $c rev-parse HEAD; done
  stat -c %h local/.git/objects/*/* | sort | uniq -c
}
case_branches() {
  make_repository 100
  git checkout -q -b side && git mv d0/f1 d0/moved && git rm -q d0/f2 && git commit -qm side && git checkout -q main && echo x >> d0/f3 && git commit -qam main
  git merge -q -m merged side && git log --format=%s --graph && git rebase -q HEAD~1 2>&1; git cherry-pick --abort 2>/dev/null; git status --short
  git worktree add -q ../tree side && git -C ../tree status --short && git worktree list | wc -l && git worktree remove ../tree; git branch -a; ls ..
}
case_conflict() {
  make_repository 10
  git checkout -q -b side && echo side > d0/f0 && git commit -qam side && git checkout -q main && echo main > d0/f0 && git commit -qam main
  git merge side; cat d0/f0; git status --short; git checkout --theirs d0/f0 && git add d0/f0 && git commit -qm both && git log --format=%s
}
case_stash_clean_reset() {
  make_repository 50
  echo y >> d0/f5 && touch new && git stash push -q -u && git status --short && git stash pop -q && git status --short
  git clean -fdq && git reset -q --hard && git status --short; git stash list
}
case_modes_and_links() {
  make_repository 5
  ln -s d0/f1 link && chmod +x d0/f2 && git add -A && git commit -qm modes && git ls-files -s && git show --stat --summary --format=%s
  rm link && git checkout link && readlink link && chmod -x d0/f2 && git diff --summary; git config core.filemode; git config core.symlinks || echo default
}
case_hooks() {
  make_repository 5
  printf '#!/bin/sh\necho "hook $0 $#"; exit ${FAIL:-0}\n' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit
  echo z >> d0/f1; FAIL=1 git commit -qam refused; git log --format=%s; git commit -qam allowed 2>&1; git log --format=%s
}
case_push_fetch() {
  make_repository 60; cd ..
  git clone -q --bare r hub.git && git clone -q hub.git one && git clone -q hub.git two
  (cd one && echo 1 > d0/f1 && git commit -qam one && git push -q origin main); (cd two && git pull -q --ff-only && cat d0/f1 && git tag v1 && git push -q --tags)
  git -C hub.git log --format=%s; git -C hub.git tag; git -C hub.git repack -adq && git -C hub.git fsck && git -C hub.git prune-packed
}
case_locks() {
  make_repository 5
  touch .git/index.lock; echo z >> d0/f1; git add d0/f1; echo $?; rm .git/index.lock; git add d0/f1; echo $?
  chmod 444 .git/objects/*/* && git gc -q && find .git/objects -type f | sed 's/-.*\././' | sort | sed 's/.*\.//' ; git fsck
}
case_archive_bundle_apply() {
  make_repository 120
  git archive --format=tar HEAD | tar t | wc -l && git archive --format=tar HEAD | sha256sum && git bundle create -q ../b main && git clone -q -b main ../b ../from && git -C ../from log --format=%s
  echo q >> d1/f110 && git diff > ../p && git checkout -q . && git apply ../p && git diff --stat && git format-patch -q -1 --root && ls *.patch
}
case_submodule() {
  make_repository 10; cd ..; git init -q super && cd super
  git -c protocol.file.allow=always submodule --quiet add ../r sub && git commit -qm sub && git submodule status | cut -c1-41 && cat .gitmodules && git -C sub rev-parse --show-toplevel | sed 's/.*super/super/'
}
case_parallel() {
  make_repository 400
  for i in 1 2 3 4; do git clone -q . ../p$i & done; wait; for i in 1 2 3 4; do git -C ../p$i status --short; git -C ../p$i fsck; done
  git -c pack.threads=4 repack -adfq --depth=20 && git -c index.threads=4 -c core.preloadIndex=true status --short; git grep -c "file 39" | tail -3
}
