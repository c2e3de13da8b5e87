"""Sentences of a text file, one a line, as sequences of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfp_vae.data.examples import Examples
from tfp_vae.data.numpy_files import nine_to_one
from tfp_vae.errors import InputError

END = "</s>"  # the last word of each sentence, from which a model learns the lengths
MOST_WORDS = 10_000


def load(path: str) -> Examples:
    """Loads the lines of a file in UTF-8: words in lower case, as blanks divide them.

    The vocabulary is of the most frequent words of the training lines, 10,000 at most: token 0 is
    padding, 1 any other word, and each sentence ends in a token of its own.

    Raises:
      InputError: the file is no text, or has less than two lines.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = np.array([f"{line.strip()} {END}" for line in file if line.strip()])
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise InputError(f"Expected {path} to be a text.", reason) from error
    if len(lines) < 2:
        raise InputError(f"Expected at least two lines in {path}.", len(lines))
    train, test = nine_to_one(len(lines))
    words = keras.layers.TextVectorization(MOST_WORDS, standardize="lower")
    words.adapt(lines[train])
    tokens = np.asarray(words(lines)).astype(np.int32)
    vocabulary = tuple(words.get_vocabulary())
    return Examples(
        path, tokens[train], tokens[test], num_tokens=len(vocabulary), vocabulary=vocabulary
    )


def sentence(tokens: Sequence[int], vocabulary: Sequence[str] = ()) -> str:
    """Returns the words of tokens up to the end or the padding; numbers where no word is known.

    Example:
      >>> sentence([2, 4, 3, 4], ["", "[UNK]", "no", "</s>", "news"]), sentence([2, 7, 0])
      ('no news', '2 7')
    """
    found = []
    for token in tokens:
        word = vocabulary[token] if vocabulary else str(token)
        if not token or word == END:
            break
        found.append(word)
    return " ".join(found)
