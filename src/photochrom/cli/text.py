"""What is printed: one line, whatever the names of files are."""


def printable(message: object) -> str:
    """Return a text with its control characters and undecodable bytes written as escapes."""
    text = str(message)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
