#!/usr/bin/env bash
# `make table2` of the quick profile as SLURM jobs, with one job and one Snakemake killed midway, gives the table of a local run.
# The local run is the one in this checkout, which is done already after `make quick`. Skipped, with the reason, where SLURM cannot be installed. Leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD
python=$repository/.venv/bin/python
work=$(mktemp -d)
base=$work/cluster
mkdir "$base"
chmod 711 "$work" # munged insists on it

clean() {
  local status=$?
  [ -z "${master:-}" ] || kill -9 "$master" 2>/dev/null || true
  bash "$repository/tests/slurm/cluster.sh" down "$base"
  if [ $status -ne 0 ]; then
    tail -n 40 "$work"/*.log "$base"/log/*.log 2>/dev/null || true
  fi
  rm -rf "$work"
  exit $status
}
trap clean EXIT

bash tests/slurm/cluster.sh up "$base" || {
  status=$?
  [ $status -eq 3 ] || exit $status
  echo "SKIPPED: no SLURM here, see the line above"
  exit 0
}

say() { echo "[$(date +%T)] $*"; }

fail() {
  say "FAILED: $*"
  exit 1
}

# A copy of the tree for the other way to run. Time stamps are kept: Snakemake goes by them.
copy() {
  mkdir "$work/$1"
  (cd "$repository" && git ls-files --cached --others --exclude-standard -z | xargs -0 cp -a --parents -t "$work/$1")
}

dearlib=("$python" -m dearlib.commands)
reproduce() { "${dearlib[@]}" reproduce --profile quick --only table2 "$@"; }

jobs_running() { squeue --noheader --states=PENDING,CONFIGURING,RUNNING,COMPLETING --format='%i %k'; }

# Waits until the runs on the data set have written their first checkpoint, so that the kill comes in its midst. However slow the machine: it ends with the run.
wait_for_checkpoint() {
  until compgen -G "runs/quick/base_to_novel-$1/checkpoint-*" >/dev/null; do
    kill -0 "$master" 2>/dev/null || fail "the run ended before its runs on $1 were seen"
    sleep 0.1
  done
}

job_of() { jobs_running | awk -v word="$1" '$2 ~ word {print $1}'; }

say "local run"
reproduce >"$work/local.log" 2>&1 || fail "the local run"

copy slurm
cp -a data "$work/slurm/" # rendered the same way by either
cd "$work/slurm"

say "SLURM run; the job that trains on numbers_night is cancelled midway"
reproduce --executor slurm >"$work/first.log" 2>&1 &
master=$!
wait_for_checkpoint numbers_night
scancel "$(job_of base_to_novel.*numbers_night)"
if wait "$master"; then fail "a run whose job was cancelled must say so by its exit status"; fi
[ -e runs/quick/base_to_novel-digits/record.json ] || fail "the other data set's job was not kept going"
[ ! -e figures/quick/table2.csv ] || fail "a table from half the records"

say "rerun; its Snakemake is killed while the job runs on"
setsid "${dearlib[@]}" reproduce --profile quick --only table2 --executor slurm >"$work/second.log" 2>&1 &
master=$!
until [ -n "$(job_of base_to_novel.*numbers_night)" ]; do
  kill -0 "$master" 2>/dev/null || fail "the rerun ended without a job for numbers_night"
  sleep 0.2
done
kill -9 -- "-$master"
wait "$master" || true
[ -n "$(jobs_running)" ] || fail "the job did not outlive Snakemake, so the next step would show nothing"
status=0
reproduce --executor slurm >"$work/third.log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q "expected no jobs of an earlier run, got SLURM jobs" "$work/third.log" || fail "a rerun beside left jobs was not refused"
scancel --name="$(squeue --noheader --format=%j | head -n 1)"
while [ -n "$(jobs_running)" ]; do sleep 0.2; done

say "last rerun"
reproduce --executor slurm >"$work/fourth.log" 2>&1 || fail "the last rerun"
master=
cmp "$repository/figures/quick/table2.csv" figures/quick/table2.csv || fail "the tables differ"
cat figures/quick/table2.md
say "the same table, byte for byte, from SLURM jobs and from a local run"
