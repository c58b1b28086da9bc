/**
 * windows-1252, as the WHATWG encoding standard has it. Own table: the TextDecoder of several releases of Node.js takes
 * this encoding for Latin-1.
 */

/** 80 … 9F; the five bytes without a character stay controls. */
const CHARACTERS = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

/** The character of a byte 00 … FF. */
export const windows1252 = (byte: number): string =>
  (byte >= 0x80 && byte <= 0x9f && CHARACTERS[byte - 0x80]) || String.fromCharCode(byte);
