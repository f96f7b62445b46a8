"""The codes with which participants withdraw: 40 random bits in Crockford's base 32."""

import secrets

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 8
_MISTAKES = str.maketrans("OIL", "011")


def draw_code() -> str:
    """Return a random code, as it is stored."""
    return "".join(secrets.choice(_DIGITS) for _ in range(_LENGTH))


def format_code(code: str) -> str:
    """Return a code as it is shown, with a hyphen."""
    return f"{code[:4]}-{code[4:]}"


def normalize_code(text: str) -> str:
    """Return the code that a participant typed, as it is stored.

    Letter case, spaces, hyphens, and mistaking O for 0, or I and L for 1, do not matter.
    """
    return "".join(filter(str.isalnum, text.upper())).translate(_MISTAKES)
