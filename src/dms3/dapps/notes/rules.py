"""The rules of the notes: every node checks them."""

from dapp import makeHash, must_get_valid_record, rule

TITLE_MAX, TEXT_MAX = 120, 20_000
GROUPS = {"anchor": "groups"}


@rule("note")
def a_note_is_a_title_and_a_text(note):
    """A note has a title of one line and a text, and a group."""
    if not isinstance(note, dict) or set(note) != {"group", "title", "text"}:
        return "a note has a group, a title and a text"
    if not all(isinstance(value, str) for value in note.values()):
        return "group, title and text are text"
    if not 1 <= len(note["title"]) <= TITLE_MAX or "\n" in note["title"]:
        return f"the title is one line of 1 to {TITLE_MAX} characters"
    if len(note["text"]) > TEXT_MAX:
        return f"the text has {len(note['text'])} characters, at most {TEXT_MAX}"
    return True


@rule(link="group")
def groups_are_listed_in_one_place(link):
    """A group is linked from the list of groups."""
    return link["base"] == makeHash(GROUPS) or "it is linked from somewhere else"


@rule(link="in_group")
def authors_put_their_notes_into_their_groups(link):
    """Only who wrote a note puts it into a group, and into the group that it names."""
    record = must_get_valid_record(link["to"])
    action, note = record["action"], record["entry"]
    if action.get("entry_kind") != "note":
        return "what it leads to is no note"
    if action["person"] != link["person"]:
        return "somebody else wrote the note"
    group = makeHash({"anchor": f"group {note['group']}"})
    return link["base"] == group or "the note is of another group"
