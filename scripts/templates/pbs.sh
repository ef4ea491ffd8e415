#!/bin/bash
#PBS -N @NAME@
#PBS -l select=@NODES@:ncpus=@CORES_OF_NODE@:mpiprocs=@RANKS_PER_NODE@:ompthreads=@THREADS@
#PBS -l walltime=@TIME_LIMIT@
#PBS -j oe
#PBS -o @LOG@
@OPTIONS@
@BODY@
