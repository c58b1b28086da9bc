/**
 * What Python's `str.split`, `str.strip` and `\s` take for white space, as the inside of a […]: unlike JavaScript's it has
 * four separators of ASCII and U+0085, and not U+FEFF.
 */
export const PYTHON_WHITE_SPACE =
  '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
