"""The rules of the guestbook: every node checks them, whoever wrote and whatever wrote it."""

from dapp import makeHash, property, rule

FIELDS = {"name", "text"}


@rule("entry")
def an_entry_is_short_text(entry):
    """An entry has a text of 1 to 600 characters, and a name that may be empty."""
    if not isinstance(entry, dict) or set(entry) != FIELDS:
        return "an entry has a name and a text"
    text, name = entry["text"], entry["name"]
    if not isinstance(text, str) or not isinstance(name, str):
        return "name and text are text"
    most = property("chars_max", 600)
    if not text.strip() or len(text) > most:
        return f"the text has {len(text)} characters, not 1 to {most}"
    if len(name) > 60:
        return f"the name has {len(name)} characters, at most 60"
    return True


@rule(link="signed")
def entries_are_signed_into_the_book(link):
    """An entry is linked from the book itself, without a tag."""
    if link["base"] != makeHash({"anchor": "guestbook"}):
        return "it is linked from somewhere else"
    return link["tag"] == "" or "it has a tag"
