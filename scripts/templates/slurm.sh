#!/bin/bash
#SBATCH --job-name=@NAME@
#SBATCH --nodes=@NODES@
#SBATCH --ntasks=@RANKS@
#SBATCH --cpus-per-task=@THREADS@
#SBATCH --time=@TIME_LIMIT@
#SBATCH --output=@LOG@
@OPTIONS@
@BODY@
