from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.routing.queue import AGEING, Queue


def test_slots_admit_at_once_then_tickets_wait_in_order() -> None:
    queue = Queue(slots=2)
    first, now = queue.arrive("interactive", 0.0)
    assert now
    assert queue.arrive("interactive", 0.0)[1]
    third, admitted = queue.arrive("interactive", 0.0)
    fourth, _ = queue.arrive("interactive", 0.0)
    assert not admitted
    assert (queue.position(third, 0.0), queue.position(fourth, 0.0)) == (0, 1)
    assert queue.leave(first, 1.0) == [third]
    assert queue.position(fourth, 1.0) == 0


def test_interactive_goes_before_batch_until_batch_has_aged() -> None:
    queue = Queue(slots=1)
    running, _ = queue.arrive("interactive", 0.0)
    batch, _ = queue.arrive("batch", 0.0)
    person, _ = queue.arrive("interactive", 1.0)
    assert queue.position(batch, 1.0) == 1
    assert queue.leave(running, 2.0) == [person]
    late, _ = queue.arrive("interactive", AGEING)
    assert queue.leave(person, AGEING) == [batch]
    assert queue.position(late, AGEING) == 0


def test_giving_up_while_waiting_frees_nothing_but_the_place_in_line() -> None:
    queue = Queue(slots=1)
    running, _ = queue.arrive("interactive", 0.0)
    waiting, _ = queue.arrive("interactive", 0.0)
    assert queue.leave(waiting, 0.5) == []
    assert queue.waiting == 0
    assert queue.leave(running, 1.0) == []
    assert queue.running == 0


def test_the_wait_follows_measured_service_times() -> None:
    queue = Queue(slots=1)
    assert queue.wait() == 0.0
    ticket, _ = queue.arrive("interactive", 0.0)
    queue.leave(ticket, 4.0)
    assert queue.service == 4.0
    queue.arrive("interactive", 4.0)
    assert queue.wait() == 4.0
    queue.arrive("interactive", 4.0)
    assert queue.wait() == 8.0


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.sampled_from(["interactive", "batch"])), max_size=60))
def test_never_more_than_slots_run_and_every_ticket_is_admitted_once(slots: int, steps: list[tuple[bool, str]]) -> None:
    queue = Queue(slots=slots)
    running: list[int] = []
    seen: list[int] = []
    for now, (comes, priority) in enumerate(steps):
        if comes or not running:
            ticket, admitted = queue.arrive(priority, now)  # pyright: ignore[reportArgumentType]
            started = [ticket] if admitted else []
        else:
            started = queue.leave(running.pop(0), now)
        running += started
        seen += started
        assert queue.running == len(running) <= slots
        assert queue.waiting == 0 or len(running) == slots
    assert len(seen) == len(set(seen))
