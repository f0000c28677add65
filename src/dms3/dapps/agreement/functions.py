"""What can be called for agreements."""

import dapp
from dapp import agent, commit, emit, expose, get, getLinks, link, query


@expose()
def introduce(name):
    """List myself, so that others can propose agreements to me."""
    card = commit("card", {"name": name})
    link("people", card["action"], "member")
    return agent.key


@expose()
def people():
    """Who has listed themselves: name and agent, without me."""
    found = {}
    for each in getLinks("people", kind="member"):
        record = get(each["to"])
        if record is not None and each["author"] != agent.key:
            found[each["author"]] = record["entry"]["name"]
    return [{"name": name, "agent": key} for key, name in found.items()]


@expose()
def propose(title, text, partner, hours=24):
    """Ask somebody to sign a text together with me; the session that both see."""
    content = {"title": title, "text": text}
    return dapp.propose("agreement", content, [partner], seconds=hours * 3_600)


@expose()
def waiting():
    """What others asked me to sign, and what I asked others."""
    return [each for each in dapp.sessions() if each["state"] in ("proposed", "locked")]


@expose()
def accept(session):
    """Sign."""
    done = dapp.accept(session)
    emit("changed", session)
    return done


@expose()
def decline(session):
    """Do not sign."""
    done = dapp.decline(session)
    emit("changed", session)
    return done


@expose()
def agreements():
    """What I have signed together with others."""
    found = []
    for each in query(kind="agreement", limit=1_000):
        action = each["action"]
        found.append(each["entry"] | {"agreement": action["entry"], "time": action["time"]})
    return found


@expose()
def verify(agreement):
    """Who has signed an agreement, as the network says, and whether that is everybody."""
    record = get(agreement)
    if record is None:
        return {"known": False, "valid": False, "authors": []}
    return {
        "known": True,
        "valid": record["verdict"]["verdict"] == "valid" and len(record["authors"]) >= 2,
        "authors": record["authors"],
        "title": record["entry"]["title"],
        "text": record["entry"]["text"],
        "holders": record["holders"],
    }


@expose()
def me():
    """My agent, to hand to whoever wants to propose something to me."""
    return agent.key


def countersign(session):
    """The person is asked, always: an agreement is not signed by a program."""
    emit("asked", session["session"])
