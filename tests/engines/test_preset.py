from mycoswarm.core.chat import ChatRequest, Sampling, message
from mycoswarm.core.preset import Preset
from mycoswarm.engines.preset import apply

ASKED = ChatRequest("m", (message("user", "hi"),))
PIRATE = Preset("You are a pirate.", (message("user", "a"), message("assistant", "b")), Sampling(temperature=0.5), 9)


def said(request: ChatRequest) -> list[tuple[str, str]]:
    return [(one.role, one.text) for one in request.messages]


def test_a_model_without_one_gets_the_request_as_it_is() -> None:
    assert apply(None, ASKED) is ASKED


def test_what_the_request_does_not_say() -> None:
    made = apply(PIRATE, ASKED)
    assert said(made) == [("system", "You are a pirate."), ("user", "a"), ("assistant", "b"), ("user", "hi")]
    assert (made.sampling.temperature, made.max_tokens) == (0.5, 9)


def test_the_request_s_own_words_go_first() -> None:
    own = ChatRequest(
        "m",
        (message("system", "Be a cook."), message("user", "hi")),
        sampling=Sampling(temperature=0.0, stop=("x",)),
        max_tokens=3,
    )
    made = apply(PIRATE, own)
    assert said(made) == [("system", "Be a cook."), ("user", "a"), ("assistant", "b"), ("user", "hi")]
    assert (made.sampling, made.max_tokens) == (own.sampling, 3), "a temperature of 0 is something that was said"


def test_a_raw_prompt_gets_no_words() -> None:
    made = apply(PIRATE, ChatRequest("m", (), prompt="<s>"))
    assert (made.messages, made.prompt, made.sampling.temperature) == ((), "<s>", 0.5)
