"""The built-in embedder: how good, how fast, how large. Real texts: SciFact, from the folder that MYCO_SCIFACT names.

The folder holds corpus.jsonl, queries_test.jsonl and qrels_test.tsv as BEIR has them. MYCO_SCIFACT_DOCS bounds how many
abstracts are looked through (all that answer a question are among them; 0: every one, as published figures are made).
"""

import asyncio
import json
import math
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mycoswarm.core.embed import EmbedRequest
from mycoswarm.engines.minilm import NAME, NEEDS, MiniLM
from tests.bench.figures import Figure, at_most, told

DOCUMENTS = 600
FOLDER = "MYCO_SCIFACT"
SAMPLE = "MYCO_SCIFACT_DOCS"
PUBLISHED = 0.645
"""nDCG@10 of the whole of SciFact for the fp32 network, by the MTEB leaderboard."""


def run() -> list[Figure]:
    folder = os.environ.get(FOLDER, "")
    if not (Path(folder) / "corpus.jsonl").is_file():
        raise SystemExit(f"error: the SciFact data set is not at {folder!r}\nhint: {FOLDER}=FOLDER ./dev bench embed")
    return asyncio.run(_measure(Path(folder), int(os.environ.get(SAMPLE, DOCUMENTS))))


async def _measure(folder: Path, most: int) -> list[Figure]:
    qrels: defaultdict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels_test.tsv").read_text().splitlines():
        question, document, *score = line.split("\t")
        if score and score[-1].strip().isdigit() and int(score[-1]) > 0:
            qrels[question].add(document)
    corpus = {row["_id"]: f"{row['title']} {row['text']}" for row in _rows(folder / "corpus.jsonl")}
    questions = {row["_id"]: row["text"] for row in _rows(folder / "queries_test.jsonl") if str(row["_id"]) in qrels}
    if most:
        wanted = {document for one in qrels.values() for document in one}
        others = [document for document in corpus if document not in wanted]
        random.Random(1).shuffle(others)
        corpus = {name: corpus[name] for name in [*sorted(wanted & corpus.keys()), *others][: max(most, len(wanted))]}
    engine = MiniLM()
    try:
        began = time.monotonic()
        await engine.embed(EmbedRequest(NAME, ("cold",)))
        cold = time.monotonic() - began
        assert engine.child_pid is not None
        child = psutil.Process(engine.child_pid)
        idle = child.memory_info().rss
        cpu, began = sum(child.cpu_times()[:2]), time.monotonic()
        vectors: list[bytes] = []
        tokens = 0
        names = list(corpus)
        for start in range(0, len(names), 64):
            part = names[start : start + 64]
            answer = await engine.embed(EmbedRequest(NAME, tuple(corpus[name] for name in part), truncate=True))
            tokens += answer.tokens
            vectors += answer.vectors
        took, burnt = time.monotonic() - began, sum(child.cpu_times()[:2]) - cpu
        asked = await engine.embed(EmbedRequest(NAME, tuple(questions.values())))
        busy = child.memory_info().rss
    finally:
        await engine.close()
    matrix = _matrix(vectors)
    best = np.argsort(-(_matrix(list(asked.vectors)) @ matrix.T), axis=1)[:, :10]
    scores = [
        _ndcg([names[place] for place in row], qrels[str(name)]) for name, row in zip(questions, best, strict=True)
    ]
    mean = sum(scores) / len(scores)
    how = f"SciFact, {len(vectors)} abstracts, {len(scores)} questions"
    return [
        # Among fewer texts the right one is found more easily: a sample shows a broken embedder, not its rank.
        told("nDCG@10", mean, "", how) if most else Figure("nDCG@10", mean, "", PUBLISHED, mean >= PUBLISHED, how),
        told("tokens a CPU-second", tokens / burnt, "1/s", how),
        told("tokens a second", tokens / took, "1/s", how),
        told("cold start", cold * 1000, "ms", "child started, model loaded, one word embedded"),
        told("child, loaded", idle / 2**20, "MiB", "resident"),
        at_most(
            "child, at work",
            busy / 2**20,
            "MiB",
            NEEDS / 2**20,
            "resident at the end; the target is announced",
        ),
    ]


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _matrix(vectors: list[bytes]) -> Any:
    return np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)


def _ndcg(ranked: list[str], right: set[str]) -> float:
    gain = sum(1 / math.log2(place + 2) for place, name in enumerate(ranked) if name in right)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(len(right), 10)))
