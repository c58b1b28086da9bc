/** HTML's character references, resolved as Python's `html.unescape` does (HTML standard, 13.2.5.72, with exceptions). */
import { decodeHTML } from 'entities';
import { windows1252 } from './windows-1252.js';

const REFERENCE = /&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?|[^\t\n\f <&#;]{1,32};?)/g;

/**
 * &eacute; &amp &#233; &#xE9; → the character. Names without a semicolon count where HTML allows it, also at the
 * beginning of a longer word ("&notit" → "¬it"). Numbers of characters that HTML forbids give nothing, unlike in browsers.
 */
export function unescapeHtml(text: string): string {
  return text.replace(REFERENCE, (reference: string, hexadecimal?: string, decimal?: string) => {
    if (hexadecimal !== undefined) return character(Number.parseInt(hexadecimal, 16));
    if (decimal !== undefined) return character(Number.parseInt(decimal, 10));
    return decodeHTML(reference);
  });
}

function character(code: number): string {
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return '\ufffd';
  // The numbers of the C1 controls mean windows-1252.
  if (code >= 0x80 && code <= 0x9f) return windows1252(code);
  return isForbidden(code) ? '' : String.fromCodePoint(code);
}

/** Controls except tab, line feed, form feed and carriage return; noncharacters. */
const isForbidden = (code: number): boolean =>
  (code < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(code)) ||
  code === 0x7f ||
  (code >= 0xfdd0 && code <= 0xfdef) ||
  (code & 0xfffe) === 0xfffe;
