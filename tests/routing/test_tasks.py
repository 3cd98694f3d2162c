from mycoswarm.core.ids import NodeId, RequestId
from mycoswarm.core.task import Task
from mycoswarm.routing.tasks import KEPT, LIFETIME, TaskBook


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1e9 + self.now


def test_a_task_tells_its_life_and_then_expires() -> None:
    clock = Hand()
    book = TaskBook(clock)
    name = RequestId("req-1")
    assert book.get(name).state == "unknown"
    book.open(Task(name, "chat", "queued", "m"))
    assert book.get(name).state == "queued"
    assert [task.id for task in book.open_ones()] == [name]
    clock.now = 1.0
    book.running(name, NodeId("miu"), "m")
    book.delivered(name, 3)
    clock.now = 2.0
    book.end(name, "done")
    task = book.get(name)
    assert (task.state, task.delivered, task.node) == ("done", 3, "miu")
    assert (task.created, task.started, task.ended) == (1e9, 1e9 + 1, 1e9 + 2)
    assert book.open_ones() == ()
    clock.now = 2.0 + LIFETIME
    assert book.get(name).state == "unknown"


def test_memory_is_bounded_but_running_tasks_are_never_forgotten() -> None:
    book = TaskBook(Hand())
    book.open(Task(RequestId("running"), "chat", "queued"))
    for number in range(KEPT + 50):
        name = RequestId(f"req-{number}")
        book.open(Task(name, "chat", "queued"))
        book.end(name, "done")
    assert book.get(RequestId("running")).state == "queued"
    assert len(book.all()) <= KEPT + 2
    assert book.get(RequestId("req-0")).state == "unknown"
    assert book.get(RequestId(f"req-{KEPT + 49}")).state == "done"
