"""What can be called in the notes."""

from dapp import (
    Failure,
    commit,
    emit,
    expose,
    get,
    getLinks,
    link,
    makeHash,
    query,
    remove,
    unlink,
    update,
)


def place_of(group):
    """Where the notes of a group are linked from."""
    return f"group {group}"


@expose()
def groups():
    """The names of all groups."""
    found = [each["to"] for each in getLinks("groups", kind="group")]
    entries = [get(to) for to in found]
    names = {entry["entry"]["title"] for entry in entries if entry is not None}
    return sorted(names)


@expose()
def write(group, title, text=""):
    """Write a note into a group; the action that names it from now on."""
    if group not in groups():
        head = commit("note", {"group": "groups", "title": group, "text": ""})
        link("groups", head["action"], "group")
    note = commit("note", {"group": group, "title": title, "text": text})
    link(place_of(group), note["action"], "in_group")
    emit("changed", group)
    return note["action"]


@expose()
def notes(group):
    """The notes of a group as they are now, earliest first."""
    found = []
    for each in getLinks(place_of(group), kind="in_group"):
        record = get(each["to"], latest=True)
        if record is not None and record["live"]:
            note = record["entry"]
            found.append(
                {
                    "note": each["to"],
                    "title": note["title"],
                    "text": note["text"],
                    "author": each["author"],
                    "time": record["action"]["time"],
                    "changed": record["action"]["kind"] == "update",
                }
            )
    return found


@expose()
def edit(note, title, text):
    """Give a note of mine another title and text."""
    record = get(note, latest=True)
    if record is None:
        raise Failure("not_found", "nobody has this note")
    group = record["entry"]["group"]
    done = update(record["action"]["hash"], {"group": group, "title": title, "text": text})
    emit("changed", group)
    return done["action"]


@expose()
def delete(note):
    """Take a note of mine out of its group and delete it."""
    record = get(note, latest=True)
    if record is None:
        raise Failure("not_found", "nobody has this note")
    group = record["entry"]["group"]
    for each in getLinks(place_of(group), kind="in_group"):
        if each["to"] == note:
            unlink(each["action"])
    remove(record["action"]["hash"])
    emit("changed", group)
    return True


@expose()
def save_draft(title, text=""):
    """Keep something for myself; its content never leaves my devices."""
    return commit("draft", {"title": title, "text": text})["action"]


@expose()
def drafts():
    """What I have kept for myself and not deleted."""
    gone = {each["action"]["target"] for each in query(of="delete", limit=1_000)}
    found = []
    for each in query(kind="draft", limit=1_000):
        action = each["action"]
        if action["kind"] == "create" and action["hash"] not in gone and each["entry"]:
            found.append(each["entry"] | {"draft": action["hash"], "time": action["time"]})
    return found


@expose()
def drop_draft(draft):
    """Delete a draft."""
    remove(draft)
    return True


@expose()
def group_hash(group):
    """Where the notes of a group are linked from."""
    return makeHash({"anchor": place_of(group)})
