# The run itself, the same for all schedulers. Its exit code goes to a file of its own: `scaling.py collect` reads it.
unset "${!OPENBLAS_@}"
@SETUP@
cd @FOLDER@ || exit 2
mkdir -p @RESULTS@
rm -f @CODE@
export OMP_NUM_THREADS=@THREADS@
@ENVIRONMENT@
@LAUNCH@ \
  @COMMAND@
code=$?
echo "$code" > @CODE@
exit "$code"
