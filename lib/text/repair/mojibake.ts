/**
 * UTF-8 that was read in another encoding ("cafÃ©"), put right: the same text as `ftfy.fix_encoding` of ftfy 6.3 (Robyn
 * Speer, Apache-2.0) gives. Text that shows none of the signs stays as it is.
 */
import { windows1252 } from '../windows-1252.js';
import { codePages } from './code-pages.js';
import { looksMisread } from './signs.js';

/** Repeated, because misreadings pile up. */
export function repairEncoding(text: string): string {
  for (let before = text; ; before = text) {
    text = repairOnce(before);
    if (text === before) return text;
  }
}

function repairOnce(text: string): string {
  if (/^\p{ASCII}*$/u.test(text) || !looksMisread(text)) return text;
  for (const page of codePages()) {
    let bytes = page.encode(text);
    if (bytes === undefined) continue;
    if (!page.keepsSpaces) bytes = restoreSpaces(bytes);
    if (page.windows) bytes = replaceLost(bytes);
    const decoded = decodeUtf8(bytes);
    if (decoded !== undefined) return decoded;
  }
  const partly = repairParts(text);
  return partly === text ? replaceC1Controls(text) : partly;
}

/**
 * A byte A0 that somebody took for a space: put back where it makes a character that is likely. "Ã" alone is the word
 * "à", which keeps a space after it, except before endings of Portuguese words.
 */
function restoreSpaces(bytes: string): string {
  return bytes
    .replace(/\xc3 (?! |quele|quela|quilo|s )/g, '\xc3\xa0 ')
    .replace(SPACE_FOR_A0, (sequence) => sequence.replaceAll(' ', '\xa0'));
}

const oneOf = (...alternatives: string[]) => new RegExp(alternatives.join('|'), 'g');
const rest = '[\\x80-\\xbf]';
// Neither A0 itself nor 85, the ellipsis.
const usual = '[\\x80-\\x84\\x86-\\x9f\\xa1-\\xbf]';

const SPACE_FOR_A0 = oneOf(
  '[\\xc2\\xc3\\xc5\\xce\\xd0\\xd9] ',
  `[\\xe2\\xe3] ${usual}`,
  `[\\xe0-\\xe3]${usual} `,
  `\\xf0 ${rest}${rest}`,
  `\\xf0${rest} ${rest}`,
  `\\xf0${rest}${rest} `,
);

// A byte that was lost is 1A here, or a question mark, at most one in a character.
const lost = '[\\x1a?]';
const restOrLost = '[\\x1a\\x80-\\xbf]';
const any = '[\\x1a?\\x80-\\xbf]';

const LOST = oneOf(
  '[\\xc2-\\xdf]\\x1a',
  '[\\xc2\\xc3]\\?',
  `\\xed[\\xa0-\\xaf]${lost}\\xed[\\xb0-\\xbf]${any}`,
  `\\xed[\\xa0-\\xaf]${any}\\xed[\\xb0-\\xbf]${lost}`,
  `[\\xe0-\\xef]${lost}${restOrLost}`,
  `[\\xe0-\\xef]${restOrLost}${lost}`,
  `[\\xf0-\\xf4]${lost}${restOrLost}${restOrLost}`,
  `[\\xf0-\\xf4]${restOrLost}${lost}${restOrLost}`,
  `[\\xf0-\\xf4]${restOrLost}${restOrLost}${lost}`,
  '\\x1a',
);

/** Characters of which a byte was lost become U+FFFD, so that the others can be read. */
const replaceLost = (bytes: string) => bytes.replace(LOST, '\xef\xbf\xbd');

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** undefined if it is not UTF-8. CESU-8 (surrogates encoded apart) and Java's C0 80 for U+0000 are read as well. */
function decodeUtf8(bytes: string): string | undefined {
  const standard = bytes
    .replaceAll('\xc0\x80', '\0')
    .replace(/\xed([\xa0-\xaf][\x80-\xbf])\xed([\xb0-\xbf][\x80-\xbf])/g, (_, high: string, low: string) => {
      const character = String.fromCharCode(0xd000 | tail(high), 0xd000 | tail(low));
      return Buffer.from(character).toString('latin1');
    });
  try {
    return strict.decode(Buffer.from(standard, 'latin1'));
  } catch {
    return undefined;
  }
}

/** The 12 bits of two continuation bytes. */
const tail = (pair: string) => ((pair.charCodeAt(0) & 0x3f) << 6) | (pair.charCodeAt(1) & 0x3f);

/** A text of which only parts were misread, each perhaps in another way. */
function repairParts(text: string): string {
  sequences ??= misreadSequences();
  return text.replace(sequences, (part) =>
    // Only what is shorter, or this would never end.
    part.length < text.length && looksMisread(part) ? repairEncoding(part) : part,
  );
}
let sequences: RegExp | undefined;

/** What a character's UTF-8 looks like in any of the encodings that resemble Latin-1. */
function misreadSequences(): RegExp {
  // Without the last three, ISO 8859-2, Mac OS Roman and 437, which are laid out in other ways.
  const alike = codePages().slice(0, -3);
  const read = (from: number, to: number) => new Set(alike.flatMap(({ characters }) => characters.slice(from, to + 1)));
  const set = (characters: Iterable<string>) => `[${[...characters].join('')}]`;
  const continuation = read(0x80, 0xbf);
  // Dashes and quotation marks stand for themselves too often to tell that a sequence began earlier.
  const telling = [...continuation].filter((character) => !'–—―‘’‚“”„•…'.includes(character));
  const next = set([...continuation, ' ']);
  const two = set(read(0xc2, 0xdf)) + next;
  const three = `${set(read(0xe0, 0xef))}${next}{2}`;
  const four = `${set([...read(0xf0, 0xf0), ...read(0xf3, 0xf3)])}${next}{3}`;
  return new RegExp(`(?<!${set(telling)})(?:${two}|${three}|${four})+`, 'gu');
}

/** C1 controls, which nobody writes, were bytes of windows-1252. */
export const replaceC1Controls = (text: string): string =>
  text.replace(/[\x80-\x9f]/g, (control) => windows1252(control.charCodeAt(0)));
