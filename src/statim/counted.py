"""Numbers of things in messages: ``1 document``, ``2,000 documents``."""


def counted(number: int, things: str) -> str:
    """A number and what it counts, in the singular where it is one.

    Args:
        number: How many.
        things: The plural of a regular noun, perhaps with words before it.
    """
    if number == 1:
        things = things[:-3] + "y" if things.endswith("ies") else things.removesuffix("s")
    return f"{number:,} {things}"
