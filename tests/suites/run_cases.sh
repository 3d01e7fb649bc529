# bash run_cases.sh FILE RESULTS SECONDS [CASE…]: runs the functions case_… of FILE, each in a directory and a shell of its own.
# RESULTS gets NAME.out (both streams) and NAME.status.
file=$1 results=$2 seconds=$3
shift 3
[ $# -gt 0 ] || set -- $(sed -n 's/^case_\([a-z0-9_]*\)().*/\1/p' "$file")
work=$PWD
for case; do
  mkdir "$work/$case" && cd "$work/$case" || exit 1
  export TMPDIR="$work/$case" HOME="$work/$case"
  timeout --kill-after=5 "$seconds" bash -c 'umask 022; . "$0"; "case_$1"' "$file" "$case" >"$results/$case.out" 2>&1 </dev/null
  echo $? >"$results/$case.status"
  cd "$work"
done
