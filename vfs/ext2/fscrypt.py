"""fscrypt"""


def shown_target(content: bytes, ino: int) -> bytes:
    return content
