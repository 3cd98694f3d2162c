import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PROTOCOL
from mycoswarm.fabric import membership as m
from mycoswarm.fabric.wire import Addresses, Beat, Hello
from tests.fabric.simulation import LATENCY, Swarm, anywhere, published, record

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def swarm() -> Swarm:
    made = Swarm(NAMES)
    made.start_all()
    made.until(made.all_up, 1)
    made.run(3)
    return made


def test_one_stream_for_each_pair(swarm: Swarm) -> None:
    assert len(swarm.streams()) == 6
    assert len({frozenset(pair) for pair in swarm.streams()}) == 6


def test_a_killed_process_is_down_at_once_with_its_reason(swarm: Swarm) -> None:
    swarm.kill("d")
    assert swarm.until(lambda: all(swarm.state(one, "d") == "down" for one in "abc"), 1) <= 0.2
    assert swarm.why("a", "d") == "its connection broke, and refused"


def test_a_goodbye_is_believed_at_once(swarm: Swarm) -> None:
    swarm.stop("d")
    assert [swarm.state(one, "d") for one in "abc"] == ["left"] * 3


def test_a_pulled_cable_is_suspect_after_two_seconds_and_down_after_three(swarm: Swarm) -> None:
    swarm.pull("d")
    assert swarm.until(lambda: all(swarm.state(one, "d") == "suspect" for one in "abc"), 3) <= 2.1
    assert swarm.until(lambda: all(swarm.state(one, "d") == "down" for one in "abc"), 3) <= 1.1
    assert all(swarm.state("d", one) == "down" for one in "abc")
    assert swarm.why("a", "d") == "silent for 3 s, and no other member hears it"


def test_a_healed_cable_is_noticed_within_two_seconds(swarm: Swarm) -> None:
    for away in (5.0, 30.0, 100.0):
        swarm.pull("d")
        swarm.run(away)
        swarm.plug("d")
        assert swarm.until(swarm.all_up, 3) <= 2.0


def test_a_short_interruption_costs_nothing_but_suspicion(swarm: Swarm) -> None:
    before = swarm.streams()
    swarm.pull("d")
    swarm.run(2.5)
    swarm.plug("d")
    swarm.run(4 * LATENCY)
    assert swarm.all_up()
    assert swarm.streams() == before


def test_a_node_that_another_member_hears_stays_suspect(swarm: Swarm) -> None:
    swarm.pull("a", "d")
    swarm.run(20)
    assert swarm.state("a", "d") == "suspect"
    assert swarm.why("a", "d").endswith(" hears it")
    assert swarm.state("b", "d") == "up"
    swarm.kill("d")
    assert swarm.until(lambda: swarm.state("a", "d") == "down", 6) <= 4.5


def test_a_restart_is_up_again_and_its_new_record_wins(swarm: Swarm) -> None:
    swarm.kill("d")
    swarm.run(1)
    swarm.start("d")
    assert swarm.until(swarm.all_up, 2) <= 1.0
    views = {view.id: view for view in swarm.machines["a"].nodes(swarm.now)}
    held = views[NodeId("d")].record
    assert held is not None
    assert held.incarnation == 2


def test_a_node_restored_from_a_backup_outranks_its_own_past(swarm: Swarm) -> None:
    published(swarm, "d", ("old",))
    swarm.run(1)
    swarm.kill("d")
    swarm.run(1)
    swarm.start("d", incarnation=1)
    swarm.until(swarm.all_up, 2)
    swarm.run(1)
    assert swarm.machines["d"].record.incarnation == 2
    views = {view.id: view for view in swarm.machines["a"].nodes(swarm.now)}
    held = views[NodeId("d")].record
    assert held is not None
    assert held.warnings == ()


def test_a_record_reaches_everybody_at_once(swarm: Swarm) -> None:
    published(swarm, "b", ("hot",))
    swarm.run(2 * LATENCY)
    for one in "acd":
        views = {view.id: view for view in swarm.machines[one].nodes(swarm.now)}
        held = views[NodeId("b")].record
        assert held is not None
        assert held.warnings == ("hot",)


def test_records_cross_a_broken_pair_by_the_others(swarm: Swarm) -> None:
    swarm.pull("a", "d")
    swarm.run(5)
    published(swarm, "d", ("from afar",))
    swarm.run(6)
    views = {view.id: view for view in swarm.machines["a"].nodes(swarm.now)}
    held = views[NodeId("d")].record
    assert held is not None
    assert held.warnings == ("from afar",)
    assert len({machine.digest for machine in swarm.machines.values()}) == 1


def test_the_round_trip_is_measured(swarm: Swarm) -> None:
    rtts = [view.rtt for view in swarm.machines["a"].nodes(swarm.now)[1:]]
    assert rtts == [pytest.approx(2 * LATENCY, rel=0.1)] * 3


def test_a_removed_member_is_cut_and_never_dialled_again(swarm: Swarm) -> None:
    for one in "abc":
        swarm.feed(one, swarm.roster(one, frozenset("d")))
    swarm.run(10)
    assert [swarm.state(one, "d") for one in "abc"] == ["removed"] * 3
    assert not any("d" in pair for pair in swarm.streams())


def test_a_node_that_slept_accuses_nobody() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), ""), 0.0)
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), ""), 0.0)
    machine.handle(m.Received(link, Hello(NodeId("b"), "run-b", 1)), 0.0)
    wakeup = machine.wakeup()
    assert wakeup is not None
    machine.handle(m.Tick(), wakeup + 60.0)
    assert machine.nodes(wakeup + 60.0)[1].state == "up"
    # Now it is awake, and silence counts.
    now = wakeup + 60.0
    for _ in range(40):
        now += 0.1
        machine.handle(m.Tick(), now)
        machine.wakeup()
    assert machine.nodes(now)[1].state == "down"


def test_two_machines_with_one_key_are_reported() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "boa"),), frozenset(), ""), 0.0)
    for moment, run in enumerate(("one", "two", "three")):
        link = machine.new_link()
        machine.handle(m.Accepted(link, NodeId("b"), ""), float(moment))
        machine.handle(m.Received(link, Hello(NodeId("b"), run, 1)), float(moment))
        assert machine.warnings() == ()
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), ""), 4.0)
    machine.handle(m.Received(link, Hello(NodeId("b"), "two", 1)), 4.0)
    assert "two machines use the identity of boa" in machine.warnings()[0]


def test_another_protocol_is_said_and_not_guessed_at() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), ""), 0.0)
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), ""), 0.0)
    commands = machine.handle(m.Received(link, Hello(NodeId("b"), "r", 1, protocol=PROTOCOL + 1)), 0.0)
    assert m.Close(link) in commands
    assert machine.nodes(0.0)[1].why.startswith(f"it speaks protocol {PROTOCOL + 1}")


def test_an_address_that_may_not_be_dialled_is_not_kept_whoever_names_it() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), lambda address: address.startswith("near"))
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), ""), 0.0)
    machine.handle(m.AddressHint(NodeId("b"), "far:1", fresh=True), 0.0)
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), "far"), 0.0)
    machine.handle(m.Received(link, Hello(NodeId("b"), "r", 2)), 0.0)
    machine.handle(m.Received(link, Addresses({NodeId("b"): ("far:3", "near:3")})), 0.0)
    assert machine.addresses() == {"b": ("near:3",)}


def test_a_stranger_is_not_answered() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    link = machine.new_link()
    assert machine.handle(m.Accepted(link, NodeId("x"), ""), 0.0) == [m.Close(link)]


def test_another_roster_is_pulled_once() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), "mine"), 0.0)
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), ""), 0.0)
    machine.handle(m.Received(link, Hello(NodeId("b"), "r", 1)), 0.0)
    beat = Beat(1, 1, 0.0, "other", machine.digest)
    assert m.PullRoster(NodeId("b")) in machine.handle(m.Received(link, beat), 0.1)
    assert m.PullRoster(NodeId("b")) not in machine.handle(m.Received(link, beat), 1.1)
    assert m.PullRoster(NodeId("b")) in machine.handle(m.Received(link, beat), 2.2)


def test_where_the_lower_cannot_dial_the_higher_does() -> None:
    swarm = Swarm(("a", "b"), know=False)
    swarm.start_all()
    swarm.feed("b", m.AddressHint(NodeId("a"), "a"))
    swarm.until(swarm.all_up, 1)
    assert swarm.streams() == [("b", "a")]


def test_several_addresses_are_tried_in_turn_and_the_good_one_is_kept() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), ""), 0.0)
    for address in ("one", "two", "three"):
        machine.handle(m.AddressHint(NodeId("b"), address), 0.0)
    dialled: list[str] = []
    now = 0.0
    while len(dialled) < 3:
        now = machine.wakeup() or now
        for command in machine.handle(m.Tick(), now):
            if isinstance(command, m.Dial):
                dialled.append(command.address)
                if len(dialled) < 3:
                    machine.handle(m.DialFailed(command.link, "refused"), now)
                else:
                    machine.handle(m.Received(command.link, Hello(NodeId("b"), "r", 1)), now)
    assert sorted(dialled) == ["one", "three", "two"]
    assert machine.addresses_of(NodeId("b"))[0] == dialled[-1]


def test_no_pair_is_stuck_after_two_hundred_flaps() -> None:
    swarm = Swarm(NAMES, seed=1)
    swarm.start_all()
    for _ in range(200):
        one = swarm.chance.choice(NAMES)
        swarm.pull(one)
        swarm.run(swarm.chance.uniform(0.0, 8.0))
        swarm.plug(one)
        swarm.run(swarm.chance.uniform(0.0, 4.0))
    assert swarm.until(swarm.all_up, 10) <= 6.0
    swarm.run(5)
    assert len(swarm.streams()) == 6


_steps = st.lists(
    st.tuples(
        st.sampled_from(("pull", "plug", "kill", "start", "stop", "part")),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.floats(0.0, 6.0),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_steps, st.integers(0, 1000))
def test_whatever_happens_the_swarm_comes_together_again(steps: list[tuple[str, str, str, float]], seed: int) -> None:
    swarm = Swarm(NAMES, seed)
    swarm.start_all()
    for step, one, other, pause in steps:
        match step:
            case "pull":
                swarm.pull(one)
            case "plug":
                swarm.plug(one)
            case "part" if one != other:
                swarm.pull(one, other)
            case "kill" if one in swarm.machines:
                swarm.kill(one)
            case "stop" if one in swarm.machines:
                swarm.stop(one)
            case "start" if one not in swarm.machines:
                swarm.start(one)
            case _:
                pass
        swarm.run(pause)
    for name in NAMES:
        swarm.plug(name)
        if name not in swarm.machines:
            swarm.start(name)
    swarm.until(swarm.all_up, 15)
    swarm.run(10)
    assert swarm.all_up()
    assert len(swarm.streams()) == 6
    assert len({machine.digest for machine in swarm.machines.values()}) == 1
