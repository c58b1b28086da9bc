/**
 * ByT5's tokenizer: UTF-8 bytes + 3, closed by 1 (</s>). Behaves as transformers' ByT5Tokenizer with truncation
 * to 768, literal special tokens included.
 *
 * A JavaScript string may hold half of a surrogate pair, which UTF-8 cannot express (the reference raises an error).
 * Each such half becomes U+FFFD here, as TextEncoder does everywhere else.
 */

const PAD = 0;
const EOS = 1;
const UNKNOWN = 2;
const BYTE_OFFSET = 3;
const FIRST_SENTINEL = 259;

/** Longest input in tokens, without the closing one. */
export const MAX_PROMPT_TOKENS = 767;

/**
 * The three named tokens swallow the white space around them (they are declared with lstrip and rstrip), the
 * sentinels <extra_id_0> … <extra_id_124> do not.
 */
const SPECIAL = /\s*<\/s>\s*|\s*<pad>\s*|\s*<unk>\s*|<extra_id_(?:\d|[1-9]\d|1[01]\d|12[0-4])>/gu;

const encoder = new TextEncoder();

export interface Tokenized {
  /** [length], closed by 1. */
  ids: Int32Array;
  /** How many tokens the whole text has, without the closing one; more than MAX_PROMPT_TOKENS means that it was cut. */
  length: number;
}

/** Text → token ids. Never fails; what is over the limit is cut off, in the middle of a character if need be. */
export function tokenize(text: string): Tokenized {
  const ids: number[] = [];
  let from = 0;
  for (const match of text.matchAll(SPECIAL)) {
    pushBytes(ids, text.slice(from, match.index));
    ids.push(specialId(match[0].trim()));
    from = match.index + match[0].length;
  }
  pushBytes(ids, text.slice(from));
  const kept = ids.slice(0, MAX_PROMPT_TOKENS);
  // A text that ends with a literal </s> gets no second one.
  if (kept.at(-1) !== EOS) kept.push(EOS);
  return { ids: Int32Array.from(kept), length: ids.length };
}

function pushBytes(ids: number[], text: string): void {
  for (const byte of encoder.encode(text)) ids.push(byte + BYTE_OFFSET);
}

function specialId(token: string): number {
  if (token === '</s>') return EOS;
  if (token === '<pad>') return PAD;
  if (token === '<unk>') return UNKNOWN;
  return FIRST_SENTINEL + Number(token.slice('<extra_id_'.length, -1));
}
