"""What can be called in the guestbook."""

from dapp import bundleClose, bundleStart, commit, emit, expose, get, getLinks, link, makeHash

BOOK = "guestbook"


@expose()
def sign(text, name=""):
    """Write a line; its hash."""
    line = {"name": name, "text": text}
    bundleStart()
    commit("entry", line)
    link(BOOK, makeHash(line), "signed")
    bundleClose()
    emit("signed", line)
    return makeHash(line)


@expose()
def entries():
    """All lines, earliest first."""
    found = []
    for signed in getLinks(BOOK, kind="signed"):
        record = get(signed["to"])
        if record is not None and record["live"]:
            found.append(record["entry"] | {"author": signed["author"], "time": signed["time"]})
    return found
