#!/bin/sh
# Runs a program that ends with whoever started it, however they end: tied.sh PROGRAM ARGUMENT...
# File descriptor 3 is a pipe whose other end they alone hold. A line on it says that the program has ended; that it is
# closed without one, that it is to end. The program leads a process group, and all of the group is ended.
(
  {
    read -r _ <&3 && exit
    kill -INT -$$
    tenths=0
    while kill -0 $$ && [ "$tenths" -lt 200 ]; do
      sleep 0.1
      tenths=$((tenths + 1))
    done
    kill -KILL -$$
  } 2>/dev/null &
)
exec "$@" 3<&-
