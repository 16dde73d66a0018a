"""A world of hosts, processes and servers in one thread: its time is simulated, and its faults come from a seed.

Each thread of a process is a greenlet that runs until it asks a server, waits or sleeps; whose turn it is then, and
what goes wrong, the seed decides. The same seed is the same story.
"""

from __future__ import annotations

import random
import time as real_time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, ClassVar, Final, NoReturn, TypeVar

from greenlet import greenlet

Result = TypeVar("Result")

EPOCH: Final = 1_600_000_000.0  # the world's true time begins here
LIMIT_S, LIMIT_EVENTS = 100_000.0, 20_000  # a story that lasts longer does not end


class Killed(BaseException):
    """What a killed process executes instead of anything else."""


class NoAnswerError(OSError):
    """The server did not answer: the request may have taken effect, may do so later, or never."""


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


@dataclass
class Host:
    """A machine and its clocks."""

    name: str
    wall: float = 0.0  # seconds that its wall clock is ahead
    boot_lag: float = 0.0  # seconds that its clocks did not count
    mono_lag: float = 0.0


@dataclass
class Process:
    """A process, whose threads stop and die together."""

    name: str
    host: Host
    pid: int
    dead: bool = False
    wakes: float = 0.0  # when a stopped one goes on
    tasks: list[Task] = field(default_factory=list)
    error: BaseException | None = None
    leases: list[Any] = field(default_factory=list)
    began: float = 0.0  # its last piece of work


class Task:
    """What is a thread in a real process: it runs until it waits."""

    __slots__ = ("_function", "greenlet", "process", "ticket")

    def __init__(self, process: Process, function: Callable[[], object], hub: greenlet) -> None:
        self.process, self._function, self.ticket = process, function, 0
        self.greenlet = greenlet(self._run, hub)

    def _run(self) -> None:
        try:
            self._function()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001  (the scenario judges it)
            self.process.error = error


Waiting = list[tuple[Task, int]]


@dataclass
class Faults:
    """How often what goes wrong, of 1; each story has some of them."""

    crash: float = 0.0
    pause: float = 0.0
    slow: float = 0.0
    lost: float = 0.0

    @classmethod
    def of(cls, chance: random.Random, times: float = 1.0) -> Faults:
        """Some kinds, more or less often."""
        kinds = {"crash": 0.02, "pause": 0.05, "slow": 0.1, "lost": 0.1}
        return cls(**{name: most * times * chance.random() for name, most in kinds.items() if chance.random() < 0.6})


class World:
    """The clock, the queue of what happens next, and the one thread of it that runs."""

    now_running: ClassVar[World]  # the real code has no way to hand it on

    def __init__(self, seed: int, places: Sequence[str] = (), *, tells: bool = False) -> None:
        """`places` are parts of the names of effects at which it is worth while that something goes wrong."""
        self.chance = random.Random(seed)  # noqa: S311
        self.random = self.chance.random
        # Many go wrong at one place, and few at others, or some anywhere.
        self.place = self.chance.choice(("", *places))
        self.faults = Faults.of(self.chance, 0.2 if self.place else 1.0)
        self.there = Faults.of(self.chance, 8.0)
        self.now = 0.0
        self.story: list[str] | None = [] if tells else None
        self._queue: list[tuple[float, int, Callable[..., object], Any]] = []
        self._count = 0
        self._broken: BrokenPromiseError | None = None
        self._hub = greenlet.getcurrent()
        self.current: Task | None = None
        self.hosts = [Host("a"), Host("b", wall=self.chance.choice((0.0, 0.0, -120.0, 120.0, -4000.0, 4000.0)))]
        self.processes: list[Process] = []
        self.kafka: Any = None  # of a story that has one
        self.postgres: Any = None
        World.now_running = self

    # What happens

    def tell(self, what: str) -> None:
        """A line of the story."""
        if self.story is not None:
            who = self.current.process.name if self.current else "-"
            self.story.append(f"{self.now:9.2f} {who:>12}  {what}")

    def after(self, seconds: float, function: Callable[..., object], argument: Any = None) -> None:
        """Call a function in so many seconds."""
        self._count += 1
        heappush(self._queue, (self.now + seconds, self._count, function, argument))

    def start(self, name: str, host: Host, main: Callable[[], object]) -> Process:
        """A new process, which is gone with all of its threads when `main` has ended."""
        process = Process(name, host, 1000 + len(self.processes))

        def whole() -> None:
            try:
                main()
            except Exception as error:
                self.tell(f"ends: {error}")
                raise
            finally:
                if not process.dead:
                    self.kill(process, "is gone")

        self.processes.append(process)
        self.thread(process, whole)
        return process

    def finish(self, process: Process) -> None:
        """Run until nothing is left to happen; raises what has ended this process."""
        self.run()
        if process.error:
            raise process.error

    def thread(self, process: Process, function: Callable[[], object], delay: float = 0.0) -> None:
        """A new thread of a process."""
        task = Task(process, function, self._hub)
        process.tasks.append(task)
        self.after(delay, self._resume, (task, 0))

    def run(self) -> None:
        """Until nothing is left to happen."""
        queue = self._queue
        while queue:
            self.now, _, function, argument = heappop(queue)
            if self.now > LIMIT_S or self._count > LIMIT_EVENTS:
                raise BrokenPromiseError("it does not come to an end")
            function(argument)
            if self._broken:
                raise self._broken

    def _resume(self, what: tuple[Task, int]) -> None:
        task, ticket = what
        process = task.process
        if task.greenlet.dead or ticket != task.ticket:
            return
        if process.dead:
            if task.greenlet:  # it has begun
                task.greenlet.throw(Killed)
        elif process.wakes > self.now:
            self.after(process.wakes - self.now, self._resume, what)
        else:
            self.current = task
            task.greenlet.switch()
            self.current = None

    def _yield(self) -> None:
        self._hub.switch()
        if self.task.process.dead:
            raise Killed

    @property
    def task(self) -> Task:
        """The thread that runs."""
        assert self.current
        return self.current

    def sleep(self, seconds: float) -> None:
        """Of the running thread."""
        task = self.current
        assert task
        process = task.process
        if process.dead:
            raise Killed
        task.ticket += 1
        wakes = self.now + seconds if seconds > 0 else self.now
        comes_next = self._queue[0][0] if self._queue else LIMIT_S
        if process.wakes <= wakes < comes_next and self._count < LIMIT_EVENTS:
            self._count += 1
            self.now = wakes  # nothing happens meanwhile: no other thread need run
            return
        self.after(max(seconds, 0.0), self._resume, (task, task.ticket))
        self._yield()

    def wake(self, waiting: Waiting) -> None:
        """Let the threads go on that are parked there."""
        for parked in waiting:
            self.after(0.0, self._resume, parked)
        waiting.clear()

    def park(self, waiting: Waiting, timeout: float | None = None) -> None:
        """The running thread waits until it is woken, or so long."""
        task = self.task
        if task.process.dead:
            raise Killed
        task.ticket += 1
        waiting.append((task, task.ticket))
        if timeout is not None:
            self.after(max(timeout, 0.0), self._resume, (task, task.ticket))
        self._yield()

    def kill(self, process: Process, how: str = "IS KILLED") -> None:
        """Signal 9, or the end of its main thread: none of its threads does anything any more."""
        process.dead = True
        self.tell(how)
        for task in process.tasks:
            if task is not self.current:
                task.ticket += 1
                self.after(0.0, self._resume, (task, task.ticket))

    # What a server does

    def effect(self, what: str, act: Callable[[], Result], *, once: bool = False) -> Result:
        """A request to a server, which takes effect at one moment, unless it is lost; NoAnswerError when its answer is.

        `once`: it is one of a connection, which is lost with it.
        """
        faults = self.there if self.place and self.place in what else self.faults
        self._step(faults)
        fate = self.random()
        if fate >= faults.lost:
            result = act()
            if self.story is not None:
                self.tell(what)
            return result
        return self._odd(what, act, fate / faults.lost * (0.4 if once else 1.0))

    def _odd(self, what: str, act: Callable[[], Result], fate: float) -> Result:
        if fate < 0.2:
            self.tell(f"{what}: THE REQUEST IS LOST")
            raise NoAnswerError(what)
        if fate < 0.4:
            act()
            self.tell(f"{what}: done, THE ANSWER IS LOST")
            raise NoAnswerError(what)
        if fate < 0.6:
            late = self.chance.choice((0.5, 5.0, 40.0, 100.0))
            self.tell(f"{what}: NO ANSWER, ARRIVES {late:g} s LATE")
            self.after(late, self._arrive, (what, act))
            raise NoAnswerError(what)
        if fate < 0.8:
            act()
            self.tell(f"{what}: done, SENT AGAIN BY THE CLIENT")
            return act()
        result = act()
        self.tell(f"{what}: done, THE ANSWER IS LATE")
        self.sleep(self.chance.choice((0.1, 1.0, 10.0, 70.0)))
        return result

    def _arrive(self, late: tuple[str, Callable[[], object]]) -> None:
        what, act = late
        try:
            act()
            self.tell(f"{what}: ARRIVES NOW")
        except OSError as error:
            self.tell(f"{what}: ARRIVES NOW, refused ({error})")

    def step(self, seconds: float = 0.05) -> None:
        """Something of the running process happens up to so much later, if nothing comes between."""
        self._step(self.faults, seconds)

    def _step(self, faults: Faults, seconds: float = 0.05) -> None:
        assert self.current
        process, fate = self.current.process, self.random()
        if process.dead:
            raise Killed
        if fate < faults.crash:
            self.kill(process)
            raise Killed
        fate = 1 - fate
        if fate < faults.pause:
            self._pause(process)
        self.sleep(self.random() * (5.0 if fate < faults.slow else seconds))

    def _pause(self, process: Process) -> None:
        """A stopped process, a host that sleeps, or one whose clocks do not even know it; or a clock that steps."""
        kind, seconds = self.chance.choice((0, 0, 0, 1, 2, 3)), self.chance.choice((5.0, 65.0, 130.0, 250.0))
        host = process.host
        if kind == 0:
            self.tell(f"STOPPED for {seconds:g} s")
            process.wakes = self.now + seconds
        elif kind == 3:
            self.tell(f"THE WALL CLOCK OF HOST {host.name} STEPS")
            host.wall += self.chance.choice((-3600.0, -61.0, 61.0, 3600.0))
        else:
            self.tell(f"HOST {host.name} {'SLEEPS' if kind == 1 else 'IS SUSPENDED'} for {seconds:g} s")
            host.mono_lag += seconds
            host.boot_lag += seconds if kind == 2 else 0.0
            for other in self.processes:
                if other.host is host:
                    other.wakes = max(other.wakes, self.now + seconds)

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.faults = self.there = Faults()

    def broken(self, promise: str) -> NoReturn:
        """A promise is broken: the story ends here."""
        self.tell(f"BROKEN: {promise}")
        self._broken = BrokenPromiseError(promise)  # the code under test may catch what is raised
        raise self._broken


class SimulatedTime:
    """Stands for the module `time` in the code under test."""

    CLOCK_BOOTTIME = CLOCK_MONOTONIC = 0
    gmtime = staticmethod(real_time.gmtime)
    strftime = staticmethod(lambda *_: "then")

    @staticmethod
    def time() -> float:
        """The wall clock of the running process's host."""
        world = World.now_running
        return EPOCH + world.now + (world.current.process.host.wall if world.current else 0.0)

    @staticmethod
    def monotonic() -> float:
        """Without the time in which the host slept."""
        world = World.now_running
        return world.now - world.task.process.host.mono_lag

    @staticmethod
    def clock_gettime(_: int) -> float:
        """With it."""
        world = World.now_running
        return world.now - world.task.process.host.boot_lag

    @staticmethod
    def sleep(seconds: float) -> None:
        """The running thread waits."""
        World.now_running.sleep(seconds)


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: Waiting = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        World.now_running.wake(self._waiting)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            World.now_running.park(self._waiting, timeout)
        return self._set


class RLock:
    """threading.RLock."""

    def __init__(self) -> None:
        self._owner: Task | None = None
        self._depth = 0
        self._waiting: Waiting = []

    def __enter__(self) -> bool:
        world = World.now_running
        me = world.task
        while self._owner not in (None, me):
            world.park(self._waiting)
        self._owner = me
        self._depth += 1
        return True

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            World.now_running.wake(self._waiting)


class Thread:
    """threading.Thread, of the running process."""

    def __init__(self, target: Callable[[], object], name: str = "", *, daemon: bool = False) -> None:
        del name, daemon
        self._target = target

    def start(self) -> None:
        world = World.now_running
        world.thread(world.task.process, self._target)


class SimulatedThreading:
    """Stands for the module `threading`."""

    Event, RLock, Thread = Event, RLock, Thread
