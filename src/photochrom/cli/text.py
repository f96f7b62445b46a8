"""Text for the terminal."""


def printable(message: object) -> str:
    """Return a message with control characters and undecodable bytes escaped."""
    text = str(message)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
