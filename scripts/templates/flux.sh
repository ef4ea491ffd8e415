#!/bin/bash
# flux: --job-name=@NAME@
# flux: --nodes=@NODES@
# flux: --nslots=@RANKS@
# flux: --cores-per-slot=@THREADS@
# flux: --time-limit=@TIME_LIMIT_S@s
# flux: --output=@LOG@
@OPTIONS@
@BODY@
