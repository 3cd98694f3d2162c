import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import PROTOCOL, NodeRecord
from mycoswarm.fabric import membership as m
from mycoswarm.fabric.wire import Addresses, Ask, Beat, Hello, Message, Record, Twin
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
    for _ in range(50):
        now += 0.1
        machine.handle(m.Tick(), now)
        machine.wakeup()
    assert machine.nodes(now)[1].state == "down"


class Pair:
    """Node a, and what comes to it of member b, whose streams the test writes."""

    def __init__(self) -> None:
        self.machine = m.Membership(record("a"), "run-a", 1, random.Random(0), anywhere)
        self.now = 0.0
        self.said: dict[m.LinkId, list[Message]] = {}
        self.closed: set[m.LinkId] = set()
        self.feed(m.MembersChanged((m.Member(NodeId("b"), "boa"), m.Member(NodeId("c"), "naru")), frozenset(), ""))

    def feed(self, event: m.Event) -> None:
        for command in self.machine.handle(event, self.now):
            match command:
                case m.Send(link, message):
                    self.said.setdefault(link, []).append(message)
                case m.Close(link):
                    self.closed.add(link)
                case _:
                    pass
        self.machine.wakeup()

    def accept(self, run: str, host: str, node: str = "b", known: tuple[int, int] | None = None) -> m.LinkId:
        link = self.machine.new_link()
        self.feed(m.Accepted(link, NodeId(node), host))
        self.hear(link, Hello(NodeId(node), run, 1, known=known))
        return link

    def hear(self, link: m.LinkId, message: Message) -> None:
        self.feed(m.Received(link, message))

    def beat(self, *links: m.LinkId, seconds: int = 1) -> None:
        for number in range(seconds):
            self.now += 1.0
            self.feed(m.Tick())
            for link in links:
                self.hear(link, Beat(number + 2, 1, 0.0, "", self.machine.digest))

    def state(self, node: str = "b") -> str:
        return next(view.state for view in self.machine.nodes(self.now) if view.id == node)

    def held(self, node: str = "b") -> NodeRecord | None:
        return next(view.record for view in self.machine.nodes(self.now) if view.id == node)

    def problems(self) -> list[tuple[str, str]]:
        return [(problem.id, problem.message) for problem in self.machine.problems()]

    def past(self, node: str = "b") -> list[tuple[str, str]]:
        return [(change.state, change.why) for change in self.machine.history(NodeId(node), self.now)]


def of_run(run: str, incarnation: int = 1, seq: int = 0) -> Record:
    return Record(msgspec.structs.replace(record("b", incarnation), run=run, seq=seq))


def test_of_two_machines_with_one_key_the_first_stays_and_both_are_told() -> None:
    pair = Pair()
    first = pair.accept("one", "10.0.0.1")
    pair.hear(first, of_run("one"))
    pair.beat(first)
    second = pair.accept("two", "10.0.0.2")
    pair.hear(second, of_run("two", incarnation=9))
    assert pair.problems() == []
    # The first goes on talking: it was no restart.
    pair.beat(first)
    assert pair.said[second][-1] == Twin("10.0.0.1", refused=True)
    assert pair.said[first][-1] == Twin("10.0.0.2", refused=False)
    assert pair.closed == {second}
    assert pair.problems() == [("cloned-disk", "two machines (10.0.0.1 and 10.0.0.2) use the key of boa")]
    held = pair.held()
    assert held is not None
    assert held.run == "one"
    assert [state for state, _ in pair.past()] == ["up"]


def test_a_refused_twin_is_turned_away_at_once_and_its_records_by_others_are_not_taken() -> None:
    pair = Pair()
    first = pair.accept("one", "10.0.0.1")
    pair.hear(first, of_run("one"))
    pair.accept("two", "10.0.0.2")
    pair.beat(first)
    again = pair.accept("two", "10.0.0.2")
    assert again in pair.closed
    naru = pair.accept("n", "10.0.0.3", node="c")
    pair.hear(naru, of_run("two", incarnation=9))
    held = pair.held()
    assert held is not None
    assert held.run == "one"
    # Those who hold different records of it do not pull them from each other for ever.
    other = Pair()
    assert Pair().machine.digest == other.machine.digest


def test_a_twin_takes_over_when_the_first_is_gone_and_is_forgotten_when_it_was_mended() -> None:
    pair = Pair()
    first = pair.accept("one", "10.0.0.1")
    pair.accept("two", "10.0.0.2")
    pair.beat(first)
    pair.feed(m.LinkLost(first))
    second = pair.accept("two", "10.0.0.2")
    pair.hear(second, of_run("two", incarnation=9))
    held = pair.held()
    assert held is not None
    assert held.run == "two"
    assert pair.state() == "up"
    pair.beat(second, seconds=int(m.TWIN_FRESH) - 5)
    assert pair.problems() != []
    pair.beat(second, seconds=10)
    assert pair.problems() == []


def test_a_restart_whose_old_stream_seems_alive_is_no_twin() -> None:
    pair = Pair()
    pair.accept("one", "10.0.0.1")
    pair.now += 0.4
    second = pair.accept("two", "10.0.0.1")
    pair.hear(second, of_run("two", incarnation=2))
    assert pair.held() is None
    for _ in range(20):
        pair.now += 0.1
        pair.feed(m.Tick())
    held = pair.held()
    assert held is not None
    assert held.run == "two"
    assert pair.problems() == []
    assert second not in pair.closed


def test_a_node_that_is_told_of_its_twin_reports_it_and_does_not_storm() -> None:
    pair = Pair()
    pair.feed(m.AddressHint(NodeId("b"), "10.0.0.2:1"))
    link = pair.accept("one", "10.0.0.2")
    pair.hear(link, Twin("10.0.0.9", refused=True))
    assert link in pair.closed
    assert pair.state() == "down"
    assert pair.past()[0][1] == "it keeps another machine at 10.0.0.9 that has this node's key"
    (problem,) = pair.problems()
    assert problem[0] == "cloned-disk"
    assert problem[1].startswith("another machine at 10.0.0.9 uses this node's key; boa is connected to it")
    dials = 0
    for tenth in range(600):
        pair.now += 0.1
        if tenth % 50 == 0:
            pair.feed(m.AddressHint(NodeId("b"), "10.0.0.2:1", fresh=True))
        for command in pair.machine.handle(m.Tick(), pair.now):
            if isinstance(command, m.Dial):
                dials += 1
                pair.hear(command.link, Hello(NodeId("b"), "one", 1))
                assert pair.state() == "down"
                pair.hear(command.link, Twin("10.0.0.9", refused=True))
    assert 1 <= dials <= 3
    # A record of the twin does not start a race of incarnations.
    before = pair.machine.record.incarnation
    naru = pair.accept("n", "", node="c")
    pair.hear(naru, Record(msgspec.structs.replace(record("a", 50), run="twin")))
    assert pair.machine.record.incarnation == before


def test_who_calls_with_this_nodes_own_key_is_told_its_run_and_no_more() -> None:
    pair = Pair()
    link = pair.machine.new_link()
    pair.feed(m.Accepted(link, NodeId("a"), "10.0.0.9"))
    assert pair.said[link] == [Hello(NodeId("a"), "run-a", 1)]
    assert link in pair.closed
    assert pair.problems() == []
    pair.feed(m.TwinSeen("10.0.0.9"))
    assert [problem[0] for problem in pair.problems()] == ["cloned-disk"]


def test_reasons_are_kept_newest_first_and_say_what_happened(swarm: Swarm) -> None:
    def past() -> list[tuple[str, str]]:
        changes = swarm.machines["a"].history(NodeId("d"), swarm.now)
        return [(change.state, change.why) for change in changes]

    assert past() == [("up", "met: this node called it")]
    swarm.pull("d")
    swarm.run(2.5)
    swarm.plug("d")
    swarm.run(0.1)
    assert past()[:2] == [("up", "heard again after 2.5 s of silence"), ("suspect", "silent for 2 s")]
    swarm.pull("d")
    swarm.run(12)
    swarm.plug("d")
    swarm.until(swarm.all_up, 3)
    assert past()[0][1].startswith("back after 1")
    assert past()[0][1].endswith(" s: connected again")
    assert past()[1] == ("down", "silent for 3 s, and no other member hears it")
    swarm.kill("d")
    swarm.run(2)
    swarm.start("d")
    swarm.until(swarm.all_up, 3)
    assert past()[0][1].endswith(": it was started again")
    swarm.stop("d")
    assert past()[0] == ("left", "it said goodbye")
    ages = [change.ago for change in swarm.machines["a"].history(NodeId("d"), swarm.now)]
    assert ages == sorted(ages)


def test_the_history_is_bounded() -> None:
    pair = Pair()
    for _ in range(100):
        link = pair.accept("one", "")
        pair.feed(m.LinkLost(link))
    assert len(pair.past()) == 32
    assert pair.machine.history(NodeId("nobody"), 0.0) == ()


def test_a_node_whose_ticks_come_late_lengthens_its_patience() -> None:
    pair = Pair()
    pair.accept("one", "")
    due = pair.machine.wakeup()
    assert due is not None
    pair.now = due + 0.4
    pair.feed(m.Tick())
    silent_since = 0.0
    while pair.state() == "up":
        due = pair.machine.wakeup()
        assert due is not None
        pair.now = max(due, pair.now)
        pair.feed(m.Tick())
    assert pair.now - silent_since == pytest.approx(m.SUSPECT_AFTER + 1.2)


def test_a_laptop_that_slept_for_an_hour_calls_everybody_and_accuses_nobody(swarm: Swarm) -> None:
    asleep = swarm.machines.pop("a")
    swarm.pull("a")
    swarm.run(5)
    # The others have given it up meanwhile: what they sent waits in no queue.
    assert [swarm.state(one, "a") for one in "bcd"] == ["down"] * 3
    swarm.forget("a")
    swarm.run(3600)
    swarm.machines["a"] = asleep
    swarm.plug("a")
    swarm.feed("a", m.Tick())
    assert {view.state for view in asleep.nodes(swarm.now)} == {"self", "up"}
    assert swarm.until(swarm.all_up, 3) <= 2.0
    accused = [change.state for one in "bcd" for change in asleep.history(NodeId(one), swarm.now)]
    assert set(accused) == {"up"}
    assert len(swarm.streams()) == 6


def test_a_changed_address_is_followed_within_two_seconds_of_hearing_it() -> None:
    pair = Pair()
    pair.feed(m.AddressHint(NodeId("b"), "old:1"))
    pair.beat(pair.accept("one", ""))
    heard = pair.now
    pair.feed(m.AddressHint(NodeId("b"), "new:1", fresh=True))
    while not (dials := [c for c in pair.machine.handle(m.Tick(), pair.now) if isinstance(c, m.Dial)]):
        due = pair.machine.wakeup()
        assert due is not None
        pair.now = due
    assert dials[0].address == "new:1"
    assert pair.now <= heard + 2.0
    assert pair.state() in ("up", "suspect")


def test_a_member_that_talks_nonsense_is_left_alone_for_a_while() -> None:
    pair = Pair()
    link = pair.accept("one", "")
    for _ in range(101):
        pair.feed(m.Garbled(link))
    assert link in pair.closed
    assert pair.state() == "down"
    assert "lines that this node does not understand" in pair.past()[0][1]
    assert pair.accept("one", "") in pair.closed
    pair.now += m.SHUNNED
    assert pair.accept("one", "") not in pair.closed
    assert pair.state() == "up"


def test_a_newer_member_may_say_something_unknown_with_each_beat() -> None:
    pair = Pair()
    link = pair.accept("one", "")
    for _ in range(300):
        pair.beat(link)
        pair.feed(m.Garbled(link))
    assert pair.state() == "up"


def test_an_address_with_a_zone_stays_on_its_machine() -> None:
    pair = Pair()
    pair.feed(m.AddressHint(NodeId("b"), "[fe80::1%eth0]:1"))
    pair.feed(m.AddressHint(NodeId("b"), "[fd00::1]:1"))
    link = pair.accept("one", "", node="c")
    told = [message.nodes for message in pair.said[link] if isinstance(message, Addresses)]
    assert told == [{"b": ("[fd00::1]:1",)}]
    pair.hear(link, Addresses({NodeId("b"): ("[fe80::2%eth0]:1",)}))
    assert "[fe80::2%eth0]:1" not in pair.machine.addresses_of(NodeId("b"))


def test_another_protocol_is_said_and_not_guessed_at() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("b"), "b"),), frozenset(), ""), 0.0)
    link = machine.new_link()
    machine.handle(m.Accepted(link, NodeId("b"), ""), 0.0)
    commands = machine.handle(m.Received(link, Hello(NodeId("b"), "r", 1, protocol=PROTOCOL + 1)), 0.0)
    assert m.Close(link) in commands
    why = machine.nodes(0.0)[1].why
    assert why == f"it speaks protocol {PROTOCOL + 1} and this node {PROTOCOL}: update mycoswarm on this machine"
    (problem,) = machine.problems()
    assert (problem.id, problem.action) == ("protocol", "update mycoswarm on this machine")


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


def met(machine: m.Membership, *names: str) -> dict[str, m.LinkId]:
    """Streams that these have opened to `machine`, which has heard who they are."""
    members = tuple(m.Member(NodeId(name), name) for name in names)
    machine.handle(m.MembersChanged(members, frozenset(), "mine"), 0.0)
    links = {name: machine.new_link() for name in names}
    for name, link in links.items():
        machine.handle(m.Accepted(link, NodeId(name), ""), 0.0)
        machine.handle(m.Received(link, Hello(NodeId(name), f"r-{name}", 1)), 0.0)
    return links


def pulls(commands: list[m.Command]) -> list[str]:
    return [command.node for command in commands if isinstance(command, m.PullRoster)]


def test_a_roster_that_everybody_shows_is_pulled_from_one() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    links = met(machine, "b", "c", "d")
    beat = Beat(1, 1, 0.0, "news", machine.digest)
    asked = [pulls(machine.handle(m.Received(links[name], beat), 0.1)) for name in "bcd"]
    assert asked == [["b"], [], []]
    # The one that was asked may have gone: the next is asked soon.
    assert pulls(machine.handle(m.Received(links["c"], beat), 0.1 + m.PULL_ELSEWHERE)) == ["c"]
    # Other news are another matter.
    assert pulls(machine.handle(m.Received(links["d"], Beat(2, 1, 0.0, "more", machine.digest)), 0.7)) == ["d"]


def test_a_roster_that_was_this_nodes_own_is_not_pulled() -> None:
    machine = m.Membership(record("a"), "run", 1, random.Random(0), anywhere)
    links = met(machine, "b")
    members = (m.Member(NodeId("b"), "b"),)
    machine.handle(m.MembersChanged(members, frozenset(), "grown"), 1.0)
    assert pulls(machine.handle(m.Received(links["b"], Beat(1, 1, 0.0, "mine", machine.digest)), 1.1)) == []
    # In another swarm's life all is new.
    machine.handle(m.MembersChanged((), frozenset(), ""), 2.0)
    links = met(machine, "b")
    machine.handle(m.MembersChanged(members, frozenset(), "third"), 2.0)
    assert pulls(machine.handle(m.Received(links["b"], Beat(1, 1, 0.0, "grown", machine.digest)), 2.1)) == ["b"]


def test_the_second_of_two_streams_ends_the_first_only_when_both_sides_count_on_it() -> None:
    machine = m.Membership(record("b"), "run", 1, random.Random(0), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("a"), "a"),), frozenset(), ""), 0.0)
    machine.handle(m.AddressHint(NodeId("a"), "a:1", fresh=True), 0.0)
    now = machine.wakeup()
    assert now is not None
    (dial,) = (command for command in machine.handle(m.Tick(), now) if isinstance(command, m.Dial))
    hello = Hello(NodeId("a"), "r", 1)
    machine.handle(m.Received(dial.link, hello), now)
    second = machine.new_link()
    machine.handle(m.Accepted(second, NodeId("a"), "a"), now)
    # Its end could overtake our Hello on the second stream, and the other side would think that we broke down.
    assert m.Close(dial.link) not in machine.handle(m.Received(second, hello), now)
    assert m.Close(dial.link) not in machine.handle(m.Received(second, Beat(1, 0, 0.0, "", "")), now)
    assert m.Close(dial.link) in machine.handle(m.Received(second, Beat(2, 1, 0.0, "", "")), now)


def test_whoever_has_heard_a_suspect_is_asked_again_and_nobody_else(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm.pull("a", "d")
    swarm.run(6)
    asked: list[NodeId] = []
    execute = swarm._execute  # pyright: ignore[reportPrivateUsage]

    def counted(name: str, commands: list[m.Command]) -> None:
        sent = [one.message for one in commands if isinstance(one, m.Send)]
        asked.extend(one.node for one in sent if name == "a" and isinstance(one, Ask))
        execute(name, commands)

    monkeypatch.setattr(swarm, "_execute", counted)
    swarm.run(10)
    # Both b and c hear it; each second one of them is asked.
    assert set(asked) == {"d"}
    assert 8 <= len(asked) <= 13
    assert swarm.state("a", "d") == "suspect"


def test_somebody_is_asked_where_a_member_is_that_was_never_heard_of() -> None:
    swarm = Swarm(("a", "b", "c"), know=False)
    swarm.start_all()
    swarm.feed("a", m.AddressHint(NodeId("b"), "b"))
    swarm.run(1)
    swarm.machines["b"].handle(m.AddressHint(NodeId("c"), "c"), swarm.now)
    swarm.feed("b", m.Tick())
    assert swarm.until(swarm.all_up, 30) <= 3 * m.WHERE_EVERY * m.BEAT


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


def test_a_stream_whose_far_end_vanished_is_closed_while_its_peer_speaks_on_another() -> None:
    machine = m.Membership(record("b"), "b-run", 1, random.Random(1), anywhere)
    machine.handle(m.MembersChanged((m.Member(NodeId("a"), "a"),), frozenset(), ""), 0.0)
    first, second = machine.new_link(), machine.new_link()
    for link in (first, second):
        machine.handle(m.Accepted(link, NodeId("a"), "10.0.0.1"), 0.0)
        machine.handle(m.Received(link, Hello(NodeId("a"), "a-run", 1)), 0.0)
    closed: list[float] = []
    for tick in range(1, 60):
        now = tick / 10
        commands = machine.handle(m.Received(second, Beat(tick, 1, 0.0, "", "")), now) + machine.handle(m.Tick(), now)
        closed += [now for command in commands if command == m.Close(first)]
        assert m.Close(second) not in commands
    assert len(closed) == 1
    assert closed[0] <= m.DOWN_AFTER + m.BEAT
