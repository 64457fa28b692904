"""
The simulator's tokenizer and the words that it says.

A token is at most five ASCII characters with the space before them, or one other character. Its
id holds its bytes, so detokenizing needs no table. Splitting an answer gives back exactly the
pieces it was made of: usage counted from the text and usage counted from the stream agree.
"""

import re

from .dice import Walk

_PIECE = re.compile(r" ?[!-~]{1,5}|[\s\S]")

# Every entry stays one token whatever stands beside it; some need JSON escapes or several bytes.
_WORDS = (
    "a able about above acid acre add admit after again age agree ahead aim air alert alike "
    "alive all allow alone along also alter amber among and angle ant any apart apple April "
    "apron arch area arm army ask atom aunt away axis axle back badge bake ball band bank base "
    "basil basin bath beach bean bear beat begin bell below bench best birch bird black blend "
    "block bloom blue board boat bold bolt bone book boot both bowl box brain brave bread brick "
    "brief bring broad brook broom brown brush build bulb bus but by cabin cable cake call calm "
    "camel camp canal cape card care cargo carry cart case catch cause cave cedar chain chair "
    "chalk charm chase check chess chief child choir city civil claim clay clean clear clerk "
    "cliff climb clock cloth cloud clue coach coal coast coat code coin cold color come cook "
    "cool copy coral cord core corn cost could count court cover craft crane cream creek crew "
    "crisp crop cross crowd crown curve cycle daily dance data dawn day deal dear deep deer "
    "delta depth desk dew dial diary dish dive do dock door dot dove draft dream dress drift "
    "drink drive drop drum dry duck dune dusk dust each eager eagle early earth ease east easy "
    "echo edge eight elbow elm empty end. enjoy enter equal even exact extra "
    "fable face fact fair faith fall fame far farm fast fern few field fig fire "
    '"so" "yes" it\\ up, on, no. now!'
)
_OTHERS = ("\n", "é", "ß", "漢", "✓", "…", "😀")
_VOCABULARY = tuple(f" {word}" for word in _WORDS.split()) + _OTHERS  # one for each byte


def split(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text."""
    return _PIECE.findall(text)


def token_id(piece: str) -> int:
    """The number of one token; below 2**53, so that every JSON reader keeps it."""
    return int.from_bytes(b"\x01" + piece.encode())


def detokenize(ids: list[int]) -> str:
    """
    The text of token ids.

    Raises:
        ValueError: an id is not one that `token_id` gives.
    """
    return "".join(map(_piece, ids))


def _piece(number: int) -> str:
    if not 0 < number < 1 << 53:
        raise ValueError(f"{number} is not a token id")
    raw = number.to_bytes(8).lstrip(b"\x00")
    if raw[0] != 1:
        raise ValueError(f"{number} is not a token id")
    return raw[1:].decode()


def say(seed: int, prompt: str, *, index: int = 0, tokens: int, goes_on: bool = False) -> list[str]:
    """
    The first `tokens` tokens of what follows a prompt. A longer answer only goes on, and so does
    one to a prompt with the beginning of the answer at its end; `goes_on` says that it has one.
    """
    walk = Walk(seed, prompt, index=index)
    pieces = []
    for number in range(tokens):
        piece = _VOCABULARY[walk.step()]
        if not number and not goes_on:
            piece = piece.lstrip(" ")
        walk.hear(piece)
        pieces.append(piece)
    return pieces
