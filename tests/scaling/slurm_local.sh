#!/usr/bin/env bash
# Runs a scaling study through a real Slurm on this machine: installs Debian's packages where they are missing, starts
# munged, slurmctld and slurmd with a configuration of their own, submits what `scaling.py generate` wrote, waits,
# collects, and stops everything it started.
#
#   tests/scaling/slurm_local.sh [FOLDER]      FOLDER (default: a temporary one) keeps results, logs and configuration
#
# As root on Debian; ends with 77 (skipped) elsewhere. Nothing in /etc is changed, and a Slurm that runs already is left
# alone: keys, sockets, state and ports are this script's own. Environment: ELKHORN (the program), ELKHORN_PYTHON.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
python=${ELKHORN_PYTHON:-python3}
export ELKHORN=${ELKHORN:-$root/build/elkhorn}

skip() {
  echo "skipped: $*"
  exit 77
}
[[ $(id -u) == 0 ]] || skip "installing and starting Slurm takes root"
[[ -x $ELKHORN ]] || { echo "error: no program at $ELKHORN" >&2 && exit 1; }
if ! command -v slurmctld slurmd sbatch munged > /dev/null; then
  command -v apt-get > /dev/null || skip "Slurm is missing, and there is no apt-get"
  # Debian would start the daemons with no configuration, and complain.
  policy=/usr/sbin/policy-rc.d
  made_policy=
  [[ -e $policy ]] || { printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy && made_policy=yes; }
  export DEBIAN_FRONTEND=noninteractive
  installed=yes
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge; } \
    > /dev/null 2>&1 || installed=
  [[ -z $made_policy ]] || rm -f $policy
  [[ $installed ]] || skip "apt-get could not install Slurm"
fi
slurmctld -V

work=${1:-$(mktemp -d /tmp/elkhorn-slurm-XXXXXX)}
mkdir -p "$work/state" "$work/spool" "$work/munge"
work=$(cd "$work" && pwd)
chmod 755 "$work" # munged looks at the rights of the folders of its key and socket
chmod 700 "$work/munge"
pids=()
stop() {
  local pid
  [[ -z ${job:-} ]] || scancel --full --signal=KILL "$job" 2> /dev/null || true
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
  [[ -n ${kept:-} ]] || { echo "--- logs in $work" >&2 && tail -n 5 "$work"/*.log >&2; }
}
trap stop EXIT

# until_true SECONDS WHAT COMMAND…
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    ((SECONDS < end)) || { echo "error: waited in vain for $what" >&2 && exit 1; }
    sleep 0.5
  done
}

dd if=/dev/urandom of="$work/munge/key" bs=1 count=1024 status=none
chmod 400 "$work/munge/key"
socket=$work/munge/socket
munged --foreground --force --key-file="$work/munge/key" --socket="$socket" --pid-file="$work/munge/pid" \
  --log-file="$work/munge.log" --seed-file="$work/munge/seed" > "$work/munged.out" 2>&1 &
pids+=($!)
until_true 20 munged test -S "$socket"

# Four processors are promised whatever there are, so that four ranks run; the study marks them oversubscribed.
read -r controller_port node_port < <("$python" -c '
import socket
pair = [socket.socket() for _ in range(2)]
for s in pair: s.bind(("", 0))
print(*(s.getsockname()[1] for s in pair))')
host=$(hostname -s)
cat > "$work/slurm.conf" << END
ClusterName=elkhorn
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
SlurmctldPort=$controller_port
SlurmdPort=$node_port
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=pmix
ReturnToService=2
SchedulerParameters=sched_min_interval=100000
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=local Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
export SLURM_CONF=$work/slurm.conf
slurmctld -D > "$work/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D -N "$host" > "$work/slurmd.log" 2>&1 &
pids+=($!)
idle() { [[ $(sinfo --noheader --format=%t) == idle ]]; }
until_true 60 "the node" idle
sinfo

# What mpirun of Open MPI needs as root; with srun it only quietens the transport that containers forbid.
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive
scaling=("$python" -B "$root/scripts/scaling.py")
study=$root/tests/scaling/slurm.toml
results=$work/results
"${scaling[@]}" generate "$study" --scheduler slurm --out "$results"
before=$("${scaling[@]}" collect "$study" --out "$results" || true)
grep -q '3 missing' <<< "$before"
"$results/submit.sh"
nobody_left() { [[ -z $(squeue --noheader) ]]; }
until_true 300 "the jobs" nobody_left
"${scaling[@]}" report "$study" --out "$results"
# Finished points are not submitted again.
"${scaling[@]}" generate "$study" --scheduler slurm --out "$results" | grep '^0 of 3 points'
# The ranks were started by srun, as one job of that many ranks, not as that many jobs of one.
"$python" -B - "$root/scripts" "$results" << 'END'
import glob
import sys

sys.path.insert(0, sys.argv[1])
import elkhorn_results as er

found = sorted(int(er.Results(path).meta["ranks"]) for path in glob.glob(sys.argv[2] + "/*/*.h5"))
assert found == [1, 2, 4], found
END
# A signal that srun passes on stops a run in good order, and the end of the job is known.
cat > "$work/long.toml" << 'END'
[system]
kind = "gru"
state_dim = 4
[problem]
length = 2000
batch = 2
seed = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
[[solver]]
kind = ["sequential", "deer"]
[measure]
repetitions = { min = 5, max = 1000000 }
ci_width = 1e-9
time_limit_s = 3
END
cat > "$work/long.sh" << END
#!/bin/bash
#SBATCH --ntasks=2 --time=5 --output=$work/long.log
cd "$work" && export OMP_NUM_THREADS=1
date +%s -d "\$(squeue -h -j \$SLURM_JOB_ID -o %e)" > end
date +%s > begin
srun --ntasks=2 "$ELKHORN" run long.toml --roofs off
echo \$? > code
END
job=$(sbatch --parsable "$work/long.sh")
two_cases() { [[ $(wc -l < "$work/long.h5.journal.jsonl") -ge 3 ]]; }
until_true 120 "two cases" two_cases
scancel --signal=USR1 "$job"
until_true 60 "the end of the run that was stopped" test -s "$work/code"
[[ $(< "$work/code") == 75 ]] || { echo "error: exit code $(< "$work/code"), expected 75" >&2 && exit 1; }
grep 'elkhorn: stopped by SIGUSR1: . of 20 cases are finished' "$work/long.log"
(("$(< "$work/end")" - "$(< "$work/begin")" > 240)) || { echo "error: squeue does not tell the end of a job" >&2 && exit 1; }
kept=yes
echo "A local Slurm ran the study: $results"
[[ $# -gt 0 ]] || { stop && trap - EXIT && rm -rf "$work"; }
