import textwrap

import pytest

MANIFEST = """
name = "talk"
title = "Talk"
description = "Agents ask each other."
version = "1"
rules = "rules.py"
functions = "functions.py"
[entries.word]
[links.said]
"""

RULES = """
from dapp import rule

@rule("word")
def a_word_has_no_spaces(word):
    return " " not in word["word"]
"""

FUNCTIONS = """
from dapp import Failure, agent, commit, debug, emit, expose, getLinks, link, send

@expose()
def me():
    return agent.key

@expose()
def ask(other, word, rest=()):
    return send(other, {"word": word, "rest": list(rest)}, seconds=20)

@expose()
def said():
    return len(getLinks("all", kind="said"))

@expose()
def write(word):
    link("all", commit("word", {"word": word})["action"], "said")

def receive(sender, body):
    if body["word"] == "fail":
        raise Failure("forbidden", "not that word")
    write(body["word"])
    emit("asked", body["word"])
    if not body["rest"]:
        return [body["word"] + " heard"]
    further = send(body["rest"][0], {"word": body["word"], "rest": body["rest"][1:]}, seconds=20)
    return [body["word"] + " passed on", *further]

def post_commit(records):
    debug("committed", len(records))
"""


@pytest.fixture(scope="session")
def talk(tmp_path_factory):
    """The folder of an app whose agents ask each other."""
    folder = tmp_path_factory.mktemp("talk")
    (folder / "dapp.toml").write_text(MANIFEST)
    (folder / "rules.py").write_text(textwrap.dedent(RULES))
    (folder / "functions.py").write_text(textwrap.dedent(FUNCTIONS))
    return folder
