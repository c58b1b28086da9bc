/**
 * What CLIP's tokenizer does to a text first: the same as `ftfy.fix_text` of ftfy 6.3 (Robyn Speer, Apache-2.0) with its
 * defaults.
 */

import { decodeHTMLStrict } from 'entities';
import { unescapeHtml } from '../html-entities.js';
import { repairEncoding, replaceC1Controls } from './mojibake.js';

/**
 * Line by line: HTML's entities, wrong encodings, ligatures, widths, quotation marks, line breaks, surrogates, terminal
 * escapes, controls, NFC; again until nothing changes.
 *
 * Two known differences: characters that are newer than either side's Unicode, Node.js's here and Python's there, have
 * no kind, capital or composition on that side; and what is nested deeper than MOST_ROUNDS stays as it is then.
 */
export function fixText(text: string): string {
  // From the first line with a < on, the text counts as HTML source, and entities mean themselves.
  let entities = true;
  let fixed = '';
  for (const line of lines(text)) {
    entities &&= !line.includes('<');
    fixed += fixLine(line, entities);
  }
  return fixed;
}

/** In characters; ftfy cuts what is longer. */
const LONGEST_LINE = 1_000_000;

function* lines(text: string): Generator<string> {
  for (const line of text.split(/(?<=\n)/)) {
    if (line.length <= LONGEST_LINE) {
      yield line;
      continue;
    }
    const characters = Array.from(line);
    for (let at = 0; at < characters.length; at += LONGEST_LINE) {
      yield characters.slice(at, at + LONGEST_LINE).join('');
    }
  }
}

/**
 * A round takes off one level of what is nested (&amp;amp;amp;…). Without a limit, which ftfy has not, a text of a megabyte
 * could ask for hundreds of thousands of rounds over itself.
 */
const MOST_ROUNDS = 64;

function fixLine(line: string, entities: boolean): string {
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const before = line;
    line = fixOnce(before, entities);
    if (line === before) break;
  }
  return line;
}

function fixOnce(text: string, entities: boolean): string {
  const unescaped = entities ? unescapeNamedEntities(text) : text;
  return replaceC1Controls(repairEncoding(unescaped))
    .replace(LIGATURE, (ligature) => (ligature === 'ﬅ' ? 'ſt' : ligature.normalize('NFKC')))
    .replace(OTHER_WIDTH, (character) => character.normalize('NFKC'))
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/\r\n|[\r\u2028\u2029\u0085]/g, '\n')
    .toWellFormed()
    .replace(TERMINAL_ESCAPE, '')
    .replace(CONTROL, '')
    .normalize('NFC');
}

/** Latin letters in one character, for the sake of old encodings or of print. */
const LIGATURE = /[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06]/g;
/** Fullwidth and halfwidth forms; U+3000 is the fullwidth space. */
const OTHER_WIDTH = /[\u3000\uff01-\uffef]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
const TERMINAL_ESCAPE = /\x1b\[[\p{Nd};]*[a-zA-Z]/gu;
/** Without effect on what is seen: ASCII's but for white space, deprecated Arabic shaping, annotations, byte order mark. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
const CONTROL = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

/** Only with semicolon; also names in capitals for the capital letter, which HTML does not know (&EACUTE; → É). */
function unescapeNamedEntities(text: string): string {
  return text.replace(/&(#?)([0-9A-Za-z]{1,24});/g, (reference: string, number: string, name: string) => {
    if (number) {
      // Read only in part, or a semicolon itself: not an entity.
      const character = unescapeHtml(reference);
      return character.includes(';') ? reference : character;
    }
    const character = decodeHTMLStrict(reference);
    if (character !== reference || name !== name.toUpperCase()) return character;
    const small = reference.toLowerCase();
    const letter = decodeHTMLStrict(small);
    return letter === small || unescapeHtml(reference) !== reference ? reference : letter.toUpperCase();
  });
}
