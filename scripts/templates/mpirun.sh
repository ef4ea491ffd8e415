#!/bin/bash
# Runs at once, on this machine or on the hosts that mpirun is told of (job.launcher, a host file in job.setup).
@OPTIONS@
exec > @LOG@ 2>&1
@BODY@
