#!/bin/bash
#SBATCH --job-name=@NAME@
#SBATCH --nodes=@NODES@
#SBATCH --ntasks=@RANKS@
#SBATCH --cpus-per-task=@THREADS@
#SBATCH --time=@TIME_LIMIT@
#SBATCH --output=@LOG@
@OPTIONS@
# The program stops in good order before that; older versions of Slurm (22.05) do not tell.
export SLURM_JOB_END_TIME=${SLURM_JOB_END_TIME:-$(date +%s -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" 2> /dev/null)}
@BODY@
