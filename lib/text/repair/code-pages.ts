/**
 * The 8-bit encodings that UTF-8 is most often read as by mistake, in the order in which ftfy 6.3 tries them. Bytes are
 * held as strings of U+0000 … U+00FF, so that regular expressions work on them.
 */
import { windows1252 } from '../windows-1252.js';

export interface CodePage {
  /** Text → bytes; undefined if a character is not in it. */
  encode(text: string): string | undefined;
  /** Byte → character. */
  readonly characters: readonly string[];
  /** A Windows code page: U+FFFD stands for a byte that was lost, and becomes 1A. */
  readonly windows: boolean;
  /** In Mac OS Roman, D0 is the dash, and a space after it is just a space. */
  readonly keepsSpaces: boolean;
}

/** The upper half of IBM's code page 437, the only one that TextDecoder does not know. */
const IBM_437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

const latin1 = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));

const windows = (characters: readonly string[]) =>
  page(characters.with(0x1a, '\ufffd'), { windows: true, keepsSpaces: false });
const other = (characters: readonly string[], keepsSpaces = false) => page(characters, { windows: false, keepsSpaces });

/** Built when the first text needs it. */
export function codePages(): readonly CodePage[] {
  pages ??= [
    other(latin1),
    windows(latin1.map((_, byte) => windows1252(byte))),
    ...[1251, 1250, 1253, 1254, 1257].map((number) => windows(decoded(`windows-${number}`))),
    other(decoded('iso-8859-2')),
    other(decoded('macintosh'), true),
    other([...latin1.slice(0, 128), ...IBM_437]),
  ];
  return pages;
}
let pages: readonly CodePage[] | undefined;

/** Bytes without a character stand for the control of the same number. */
function decoded(label: string): string[] {
  const decoder = new TextDecoder(label);
  return latin1.map((control, byte) => {
    const character = decoder.decode(Uint8Array.of(byte));
    return character === '\ufffd' ? control : character;
  });
}

function page(characters: readonly string[], how: Pick<CodePage, 'windows' | 'keepsSpaces'>): CodePage {
  const bytes = new Map(characters.map((character, byte) => [character, String.fromCharCode(byte)]));
  return {
    ...how,
    characters,
    encode(text) {
      let result = '';
      for (const character of text) {
        const byte = bytes.get(character);
        if (byte === undefined) return undefined;
        result += byte;
      }
      return result;
    },
  };
}
