"""Many spoilt inputs of one kind in a watched process, which is begun anew when one ends it."""

import math
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fuzzing.kinds import Kind
from fuzzing.outcomes import FAULTS, Finding, Outcome, Verdict
from fuzzing.worker import memory_megabytes, serve

_PREPARATION_S = 600
_GLANCE_S = 0.05
_PROGRESS_EVERY = 50


class Campaign:
    """One kind, one seed."""

    def __init__(self, kind: Kind, folder: Path, seed: int) -> None:
        self._kind, self._folder, self._seed = kind, folder, seed

    def run(self, numbers: Iterable[int]) -> list[Finding]:
        """One finding per number."""
        findings: list[Finding] = []
        self._begin()
        for number in numbers:
            if not self._process.is_alive():
                self._begin()
            findings.append(self._one(number))
            if len(findings) % _PROGRESS_EVERY == 0:
                _say(f"{self._kind.name}: {len(findings)} inputs, {counts_of(findings)}")
        if self._process.is_alive():
            self._connection.send(None)
            self._process.join()
        return findings

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")  # A fork would share JAX's threads.
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, self._kind, self._folder, self._seed), daemon=True
        )
        self._process.start()
        theirs.close()
        answer = self._receive(_PREPARATION_S, megabytes=math.inf)
        if isinstance(answer, Verdict):
            log = self._folder / f"{self._kind.name}.log"
            raise RuntimeError(f"{self._kind.name}: no valid inputs ({answer.detail}); see {log}")

    def _one(self, number: int) -> Finding:
        self._connection.send(number)
        spoilt = self._receive(_PREPARATION_S, megabytes=math.inf)
        if isinstance(spoilt, Verdict):
            raise RuntimeError(f"{self._kind.name} {number} could not be spoilt: {spoilt.detail}")
        verdict = self._receive(self._kind.seconds, megabytes=self._kind.megabytes)
        return Finding(self._kind.name, number, verdict, spoilt)

    def _receive(self, seconds: float, *, megabytes: float) -> Any:
        """The process's answer, or the verdict on a process that gave none; it is ended then."""
        before = self._memory()
        end = time.monotonic() + seconds
        while not self._connection.poll(_GLANCE_S):
            if time.monotonic() > end:
                return self._end(Outcome.HANG, f"no answer within {seconds:g} s")
            grown = self._memory() - before
            if grown > 2 * megabytes:  # What is less ends by itself, and is judged there.
                return self._end(Outcome.MEMORY, f"stopped at {grown:.0f} MB")
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            return self._end(Outcome.TRACEBACK, f"died with code {self._process.exitcode}")

    def _memory(self) -> float:
        return memory_megabytes("VmRSS", self._process.pid or "self")

    def _end(self, outcome: Outcome, detail: str) -> Verdict:
        self._process.kill()
        self._process.join()
        self._connection.close()
        return Verdict(outcome, detail)


def counts_of(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings of each outcome, all outcomes named."""
    outcomes = [finding.verdict.outcome for finding in findings]
    return {outcome.value: outcomes.count(outcome) for outcome in Outcome}


def print_causes(findings: Sequence[Finding], *, seed: int) -> None:
    """One line per cause: how often, and how to make its first input again."""
    causes: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.verdict.outcome in FAULTS:
            causes[finding.cause].append(finding)
    for (outcome, _), same in sorted(causes.items()):
        first = same[0]
        _say(
            f"{first.kind} {outcome} x{len(same)}: {first.verdict.detail}\n"
            f"    --kind={first.kind} --seed={seed} --only={first.number}  ({first.spoilt})"
        )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
