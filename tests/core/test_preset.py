from mycoswarm.core.chat import Sampling, message
from mycoswarm.core.preset import Preset


def test_a_model_made_from_another_keeps_what_it_does_not_change() -> None:
    base = Preset("old", (message("user", "hi"),), Sampling(temperature=0.5, stop=("a",)), 9, {"temperature": 0.5})
    new = Preset("new", sampling=Sampling(temperature=0.0, seed=1), parameters={"temperature": 0, "seed": 1})
    assert new.over(base) == Preset(
        "new", base.messages, Sampling(temperature=0.0, seed=1, stop=("a",)), 9, {"temperature": 0, "seed": 1}
    )
    assert Preset().over(base) == base
    assert new.over(Preset()) == new
