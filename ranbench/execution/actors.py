"""Calls on a Ray cluster: each place is an actor with the resources of its call, wherever Ray finds room for it."""

from __future__ import annotations

import pickle
import re
import time
from collections import deque
from collections.abc import Hashable
from typing import Any

from ranbench.errors import EnvironmentProblem, one_line
from ranbench.execution.actor import Whereabouts, Worker, packed
from ranbench.execution.calls import Executor, Handle, Lost, Raised, Resources, Returned, Task
from ranbench.execution.cluster import Cluster

NEWS_SECONDS = 10.0  # that a question for news waits for an answer, before it is asked anew
LOOK_SECONDS = 2.0  # between two looks at the nodes of a cluster
IDLE_SECONDS = 30.0  # after which a place without a call gives its resources back to others on the cluster
SILENT_SECONDS = 60.0  # in which Ray finds out what has become of an actor that does not answer
HOMELESS_SECONDS = 120.0  # without any node that could take a call, after which none is waited for
TALK = "talk"
LOW_MEMORY = re.compile(r"low on memory|memory (usage )?threshold", re.IGNORECASE)
NO_NODE = re.compile(r"node (has )?(died|failed|is dead|was (terminated|drained|preempted))", re.IGNORECASE)


class _Place:
    """An actor, and the task that it works on."""

    def __init__(self, actor: Any, need: Resources):
        self.actor, self.need = actor, need
        self.where: Whereabouts | None = None
        self.task: Task | None = None
        self.killed = False
        self.idle_since = time.monotonic()
        self.silent_since: float | None = None
        self.asked = self._talk("whereabouts")

    def _talk(self, method: str, *arguments: object) -> Any:
        return getattr(self.actor, method).options(concurrency_group=TALK).remote(*arguments)

    @property
    def words(self) -> str:
        """Where it lives, for a sentence."""
        return "" if self.where is None else f" ({self.where})"

    def ask_for_news(self) -> None:
        """Ask what its call tells; the answer comes when there is some."""
        self.asked = self._talk("news", NEWS_SECONDS)

    def ask_for_life(self) -> None:
        """Ask one that did not answer for any sign of life."""
        self.silent_since = self.silent_since or time.monotonic()
        self.asked = self._talk("whereabouts")

    def stop(self, signal: int | None) -> None:
        """Ask its calls to stop."""
        self._talk("stop", signal)

    def call(self, task: Task) -> None:
        """Begin a call."""
        self.task = task
        self.actor.call.remote(task.key, *packed(task.call, task.args))


class RayExecutor(Executor):
    """Actors of a cluster, which are made when they are needed first, and stay from call to call.

    A call is never repeated by Ray. When this process dies, Ray ends its actors.

    Args:
        cluster: is closed with it.
        need: resources of the calls, by which ``room`` is reckoned.
        jobs: how many calls there are at once, at most, which may wait for a cluster that grows; None: as many as the
            nodes have room for.

    Raises:
        EnvironmentProblem: no node can take such a call.
    """

    def __init__(self, cluster: Cluster, need: Resources, jobs: int | None = None):
        self.cluster, self.need, self.jobs = cluster, need, jobs
        self._ray = cluster.ray
        self._actor = self._ray.remote(concurrency_groups={TALK: 2})(Worker)
        self._places: list[_Place] = []
        self._waiting: deque[Task] = deque()
        self._stopped: tuple[int | None] | None = None
        self._looked = self._homely = time.monotonic()
        self._capacity = 0
        self._look()
        if not self._capacity:
            raise EnvironmentProblem(self._homeless())

    @property
    def capacity(self) -> int:
        """How many calls there can be at once."""
        return self._capacity if self.jobs is None else self.jobs

    @property
    def room(self) -> int:
        """Calls that the nodes can take besides those that there are; others may use the cluster, too."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        return max(0, self.capacity - sum(place.task is not None for place in self._places) - len(self._waiting))

    def submit(self, task: Task) -> None:
        """Give it to an idle actor of its resources, else to a new one."""
        self._waiting.append(task)
        self._begin()

    def poll(self, handle: Handle, seconds: float) -> None:
        """Hand out what the actors answered, and the ends of those that are gone."""
        asked = {place.asked: place for place in self._places}
        if not asked:
            time.sleep(seconds)
        elif self._ray.wait(list(asked), num_returns=1, timeout=seconds, fetch_local=False)[0]:
            there, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0, fetch_local=False)
            for place in [asked[each] for each in there]:
                self._receive(place, handle)
        self._begin()
        self._give_back()
        self._look_for_home()

    def stop(self, signal: int | None) -> None:
        """Tell every actor."""
        self._stopped = (signal,)
        for place in self._places:
            place.stop(signal)

    def kill(self, key: Hashable) -> None:
        """Kill the actor of a call."""
        for place in self._places:
            if place.task is not None and place.task.key == key:
                place.killed = True
                self._ray.kill(place.actor)

    def close(self) -> None:
        """Kill all actors, and leave the cluster."""
        self._waiting.clear()
        while self._places:
            self._ray.kill(self._places.pop().actor)
        self.cluster.close()

    def _begin(self) -> None:
        while self._waiting and (place := self._place(self._waiting[0].resources)) is not None:
            place.call(self._waiting.popleft())

    def _place(self, need: Resources) -> _Place | None:
        """An idle place with these resources, or a new one; None where there are as many calls as there can be."""
        idle = [place for place in self._places if place.task is None]
        for place in idle:
            if place.need == need and not place.killed:
                return place
        if len(self._places) - len(idle) >= max(1, self.capacity):
            return None
        for place in idle:  # it may stand where this one has to
            self._end(place)
        options: dict[str, Any] = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_restarts": 0}
        if need.memory_bytes:
            options["memory"] = need.memory_bytes
        place = _Place(self._actor.options(**options).remote(), need)
        if self._stopped is not None:
            place.stop(*self._stopped)
        self._places.append(place)
        return place

    def _receive(self, place: _Place, handle: Handle) -> None:
        """Hand out an answer; an actor that cannot answer is gone."""
        from ray.exceptions import ActorUnavailableError, RayError

        try:
            answer = self._ray.get(place.asked)
        except ActorUnavailableError as error:  # Ray does not know yet what has become of it
            if place.silent_since is None or time.monotonic() - place.silent_since < SILENT_SECONDS:
                time.sleep(0.1)
                place.ask_for_life()
                return
            self._lost(place, error, handle)
            return
        except RayError as error:
            self._lost(place, error, handle)
            return
        if place.silent_since is not None:  # it lives; what it told meanwhile may be lost, its end too
            self._lost(place, None, handle)
            return
        place.ask_for_news()
        if isinstance(answer, Whereabouts):
            place.where = answer
            return
        for event in map(pickle.loads, answer):
            if place.task is not None and isinstance(event, Raised | Returned):
                place.task, place.idle_since = None, time.monotonic()
            handle(event)

    def _lost(self, place: _Place, error: Exception | None, handle: Handle) -> None:
        """Tell that an actor is gone, for which Ray has ``error``, or that it was out of reach for a moment."""
        task, text = place.task, "" if error is None else one_line(error)
        of_node = not place.killed and NO_NODE.search(text) is not None
        why = f"the node of its Ray worker{place.words} is gone" if of_node else self._why(place, text)
        self._end(place)  # it may be there still, out of reach
        if error is not None and place.where is None and not place.killed and _never_began(error):
            raise EnvironmentProblem(f"no worker can be started on the Ray cluster: {_last_line(error)}") from error
        if task is not None:
            handle(Lost(task.key, why, place.killed, blameless=of_node))

    @staticmethod
    def _why(place: _Place, text: str) -> str:
        worker = f"its Ray worker{place.words}"
        if place.killed:
            return f"{worker} was killed"
        if LOW_MEMORY.search(text):
            return f"{worker} was ended by Ray, since its node ran low on memory,"
        if place.silent_since is not None and "died" not in text:
            return f"{worker} could not be reached"
        return f"{worker} is gone (killed, by someone or for lack of memory, or crashed in native code)"

    def _end(self, place: _Place) -> None:
        self._places.remove(place)
        self._ray.kill(place.actor)

    def _give_back(self) -> None:
        """End places that have been idle for a while."""
        before = time.monotonic() - IDLE_SECONDS
        for place in [each for each in self._places if each.task is None and each.idle_since < before]:
            self._end(place)

    def _look(self) -> None:
        self._capacity = sum(node.places(self.need) for node in self.cluster.nodes())
        self._looked = time.monotonic()
        if self._capacity:
            self._homely = self._looked

    def _look_for_home(self) -> None:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        if self._looked - self._homely > HOMELESS_SECONDS:
            raise EnvironmentProblem(f"{self._homeless()}, for {HOMELESS_SECONDS:.0f} s")

    def _homeless(self) -> str:
        nodes, need = self.cluster.nodes(), self.need
        cpus, gpus = (max((getattr(each, what) for each in nodes), default=0) for what in ("cpus", "gpus"))
        most = f"{cpus:g} cores and {gpus:g} GPUs"
        return f"no node of the Ray cluster has the {need.cpus:g} cores and {need.gpus:g} GPUs of a run: at most {most}"


def _never_began(error: Exception) -> bool:
    """Tell whether a worker fails by itself before it is there, as where its imports fail."""
    return type(error).__name__ == "RuntimeEnvSetupError" or "creation task" in str(error)


def _last_line(error: Exception) -> str:
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()
