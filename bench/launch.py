"""Runs one program and writes what it took: wall seconds, processor seconds, peak MB, exit code.

    python launch.py DESCRIPTOR PROGRAM [ARGUMENT...]

A process of its own, and a small one: Linux counts the memory of whoever starts a program to that
program's peak.
"""

import os
import sys
import time


def main() -> None:
    descriptor, words = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(descriptor, False)
    began = time.perf_counter()
    pid = os.posix_spawnp(words[0], words, os.environ)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    os.write(descriptor, f"{wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024} {code}".encode())


if __name__ == "__main__":
    main()
