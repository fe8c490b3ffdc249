"""`python -m slmlab.endtoend`: see slmlab/endtoend/__init__.py."""

import argparse
import json
import shutil
import sys

import slmlab.endtoend
from slmlab import bench
from slmlab.endtoend import contenders, greedy, llama_cpp
from slmlab.endtoend.report import report


def main(argv: list[str] | None = None) -> int:
    sys.stdout.reconfigure(errors="replace")  # a Windows pipe cannot spell every sign of the tables
    parser = argparse.ArgumentParser(
        prog="python -m slmlab.endtoend", description=slmlab.endtoend.__doc__.splitlines()[0]
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--resident", metavar="FORMAT", help="base3 or 2bit")
    args = parser.parse_args(argv)
    if args.resident:
        print(json.dumps(contenders.resident(args.resident)))
        return 0
    print(bench.machine())
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        import torch

        print("no C++ compiler: transformers' BitNet layers run without torch.compile")
        torch.compiler.set_stance("force_eager")
    limits = [bench.read_limit()]
    in_torch = list(contenders.in_torch())
    with llama_cpp.llama_cpp() as peers:
        turns = race([*in_torch, *peers], args.repetitions, limits)
        memory = {peer.name: peer.memory() for peer in peers}
        shares = [peer.idle_share() for peer in peers]
        peer = None
        if peers:
            peer = {"version": peers[0].version, "features": peers[0].features, "idle_shares": shares}
    ours = next(contender.model for contender in in_torch if contenders.is_ours(contender.name))
    in_torch.clear()  # the models: what follows needs their memory
    ids = greedy.greedy(ours)
    del ours
    memory |= {name: contenders.resident_alone(name) for name in turns if contenders.is_ours(name)}
    report(turns, limits, ids, memory, peer)
    return 0


def race(entered: list, repetitions: int, limits: list[bench.ReadLimit]) -> dict[str, list[contenders.Turn]]:
    """Turns by contender, one a repetition, each of which begins with the next one; the read limit after each."""
    turns = {contender.name: [] for contender in entered}
    for repetition in range(repetitions):
        first = repetition % len(entered)
        for contender in entered[first:] + entered[:first]:
            if repetition == 0 or not contender.slow:
                turns[contender.name].append(contender.turn())
        limits.append(bench.read_limit())
    return turns


if __name__ == "__main__":
    sys.exit(main())
