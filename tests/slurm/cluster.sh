#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: as root, without systemd, cgroups or an accounting database.
#   cluster.sh up BASE     start it; its files lie in BASE, a fresh absolute folder. Two GPUs are pretended.
#   cluster.sh down BASE   cancel its jobs and end what `up` started
# Exit status 3 of `up`: this machine cannot have one, the reason is on the standard error.
set -euo pipefail
action=$1 base=$2

cannot() {
  echo "$*" >&2
  exit 3
}

up() {
  [ "$(id -u)" -eq 0 ] || cannot "needs root"
  [ -e /etc/slurm/slurm.conf ] || [ -L /etc/slurm/slurm.conf ] && cannot "this machine has a SLURM already (/etc/slurm/slurm.conf)"
  local missing=()
  for program in munged slurmctld slurmd sbatch; do
    command -v $program >/dev/null || missing+=($program)
  done
  if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || cannot "no ${missing[*]} and no apt-get to install them"
    { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } >"$base/apt.log" 2>&1 ||
      cannot "apt-get could not install slurm-wlm and munge: $(tail -n 1 "$base/apt.log")"
  fi
  mkdir -p "$base"/{munge,state,spool,log} /etc/slurm
  chmod 755 "$base" "$base/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$base/munge/key")
  # A GPU must be a character device; these two are /dev/null by another name.
  local gres=""
  if mknod "$base/gpu0" c 1 3 2>/dev/null && mknod "$base/gpu1" c 1 3; then
    gres="Gres=gpu:2"
    echo "Name=gpu File=$base/gpu[0-1]" >"$base/gres.conf"
  fi
  local host ports memory
  host=$(hostname -s)
  ports=($(free_ports))
  memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
  cat >"$base/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$base/munge/socket
StateSaveLocation=$base/state
SlurmdSpoolDir=$base/spool
SlurmctldPidFile=$base/slurmctld.pid
SlurmdPidFile=$base/slurmd.pid
SlurmctldLogFile=$base/log/slurmctld.log
SlurmdLogFile=$base/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
KillWait=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=$(nproc) RealMemory=$memory $gres State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  # Not SLURM_CONF: Snakemake's plugin takes SLURM_* out of the environment of a job.
  ln -s "$base/slurm.conf" /etc/slurm/slurm.conf
  [ -z "$gres" ] || ln -s "$base/gres.conf" /etc/slurm/gres.conf
  munged --key-file="$base/munge/key" --socket="$base/munge/socket" --pid-file="$base/munge/pid" \
    --log-file="$base/munge/log" --seed-file="$base/munge/seed" || cannot "munged did not start"
  slurmctld -c || cannot "slurmctld did not start"
  slurmd -c || cannot "slurmd did not start"
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null)" = 1 ] && return
    sleep 0.5
  done
  cannot "its node did not come up: $(tail -n 1 "$base/log/slurmd.log")"
}

free_ports() {
  python3 - <<'PY'
import socket

held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))
PY
}

down() {
  if [ "$(readlink /etc/slurm/slurm.conf)" = "$base/slurm.conf" ]; then
    timeout 10 scancel --user=root 2>/dev/null || true
    for _ in $(seq 40); do
      [ -z "$(timeout 5 squeue --noheader 2>/dev/null)" ] && break
      sleep 0.5
    done
    rm -f /etc/slurm/slurm.conf
    [ "$(readlink /etc/slurm/gres.conf)" != "$base/gres.conf" ] || rm -f /etc/slurm/gres.conf
  fi
  for file in "$base/slurmd.pid" "$base/slurmctld.pid" "$base/munge/pid"; do
    [ -s "$file" ] && end "$(cat "$file")"
  done
  return 0
}

end() {
  kill "$1" 2>/dev/null || return 0
  for _ in $(seq 20); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.5
  done
  kill -9 "$1" 2>/dev/null || true
}

"$action"
