/**
 * Does a text look as if it had been decoded with the wrong encoding? The same answer as `ftfy.badness.is_bad` of ftfy
 * 6.3 (Robyn Speer, Apache-2.0), whose choice of characters and neighbours this is. Ordinary text has none of these
 * neighbours.
 */
import { PYTHON_WHITE_SPACE } from '../python-white-space.js';

// Kinds of characters that UTF-8 turns into when it is read in another encoding, as the inside of a […].
const joints = '\\xa0\\xad·´–—―…’';
const c1 = '\\x80-\\x9f';
const marks = '¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\\ufffdªº';
const law = '¶§';
const currency = '¢£¥₧€';
const openers = '¡«¿©΄΅‘‚“„•‹\\uf8ff';
const closers = '®»˝”›™';
const numeric = '²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№';
const faces = 'Ò-ÖÙ-Üò-öø-üŐŌŪŲ°';
const upper = 'À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ';
const lower = 'ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґ\\ufb01\\ufb02';
const upperPlain = 'Þ\\u0391-\\u03a9ΆΈΉΊΌΎΏΪΫ\\u0401-\\u042f';
const lowerPlain = '\\u03b1-\\u03c9άέήίΰ\\u0430-\\u045f';
const boxes = '│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓';

const accented = lower + upper;
const quotes = openers + closers;
const symbols = boxes + quotes + currency + numeric + law;

/** Python's letters of words. */
const word = '\\p{L}\\p{N}_';

/** Neighbours, one kind each. */
const neighbours: string[][] = [
  [c1],
  [marks + accented + symbols, marks],
  ['a-zA-Z', lowerPlain + upperPlain, marks],
  [marks, accented + symbols],
  [lower + lowerPlain + boxes + closers + currency + numeric, upper],
  [boxes + closers + currency + numeric, lower],
  [lower + boxes + closers, currency],
  [PYTHON_WHITE_SPACE, upper, currency],
  [upper + boxes, numeric + law],
  [accented + boxes + currency + closers, openers, numeric],
  [accented + currency + numeric + boxes + law, closers, openers],
  [currency + numeric + boxes, openers],
  ['a-z', upper, openers + currency],
  [boxes, faces],
  [accented + currency + numeric + quotes + law, boxes],
  [boxes, closers],
  [accented, quotes, word],
  ['Œœ', '^A-Za-z'],
  [upper, '°'],
  // windows-1252
  ['ÂÃÎÐ', `€œŠš¢£Ÿž\\xa0\\xad®©°·»${quotes}–—´`],
  ['×', '²³'],
  ['à', '²µ¹¼½¾'],
  ['a-z', 'ÃÂ', ' '],
  ['a-z', PYTHON_WHITE_SPACE, 'ÃÂ', ' '],
  [`a-z.,?!${closers}`, 'Â', ` ${quotes}`],
  // Arabic in windows-1252: two characters of it, as one alone is too common.
  [...arabic(), ...arabic()],
  // Mac OS Roman
  ['√', '±∂†≠®™´≤≥¥µø'],
  ['≈', '°¢'],
  ['‚', 'Ä', 'ìîïòôúùû†°¢π'],
  ['‚', 'âó', 'àä°ê'],
  // windows-1251; the last is Cyrillic over windows-1252 over Latin-1
  ['в', 'Ђ'],
  ['ВГРС', `${c1}${marks}${quotes}${currency}°µ`, 'ВГРС'],
  ['Г', 'ў', 'В', 'Ђ', 'В', '^\\n', 'A-Za-z '],
  // windows-1253
  ['β', '€', '™\\xa0Ά\\xad®°'],
  ['ΒΓΞΟ', `${c1}${marks}${quotes}${currency}°`, 'ΒΓΞΟ'],
];

function arabic(): string[] {
  return ['ØÙ', `${joints}${currency}${marks}${numeric}${openers}ŸŠ®°µ»`];
}

const SIGN = new RegExp(
  ['^[ÃÂ] ', ...neighbours.map((kinds) => kinds.map((kind) => `[${kind}]`).join(''))].join('|'),
  'u',
);

export const looksMisread = (text: string): boolean => SIGN.test(text);
