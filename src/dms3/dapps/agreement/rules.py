"""The rules of agreements: every node checks them."""

from dapp import makeHash, must_get_valid_record, rule

TITLE_MAX, TEXT_MAX = 120, 20_000


@rule("agreement")
def an_agreement_is_signed_by_both(agreement, action):
    """An agreement has a title and a text, and comes only with the signatures of both."""
    if action["kind"] != "countersign":
        return "one person alone wrote it: an agreement is signed together"
    if not isinstance(agreement, dict) or set(agreement) != {"title", "text"}:
        return "an agreement has a title and a text"
    if not all(isinstance(value, str) for value in agreement.values()):
        return "title and text are text"
    if not 1 <= len(agreement["title"]) <= TITLE_MAX:
        return f"the title has {len(agreement['title'])} characters, not 1 to {TITLE_MAX}"
    if not 1 <= len(agreement["text"]) <= TEXT_MAX:
        return f"the text has {len(agreement['text'])} characters, not 1 to {TEXT_MAX}"
    return True


@rule("card")
def a_card_is_a_name(card):
    """A card has a name of 1 to 60 characters."""
    if not isinstance(card, dict) or set(card) != {"name"} or not isinstance(card["name"], str):
        return "a card has a name"
    return 1 <= len(card["name"]) <= 60 or "the name has 1 to 60 characters"


@rule(link="member")
def people_list_themselves(link):
    """Whoever is listed wrote the card that the list leads to."""
    if link["base"] != makeHash({"anchor": "people"}):
        return "it is linked from somewhere else"
    card = must_get_valid_record(link["to"])["action"]
    if card.get("entry_kind") != "card":
        return "what it leads to is no card"
    return card["author"] == link["author"] or "somebody else wrote the card"
