/** What a model draws, where its folder says so (`domain.json`, docs/model-format.md), and which words are outside of it. */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ioError, PaellaError } from '../errors.js';
import { show } from '../options/show.js';
import type { ModelDomain } from './types.js';

const FILE = 'domain.json';
/** 10,000 words take a third of it. */
const LARGEST = 256 * 2 ** 10;
const MOST_WORDS = 10_000;

// A model may come from anywhere and these are shown on terminals: nothing that moves a cursor or turns text around.
const sentence = z
  .string()
  .normalize('NFC')
  .regex(/^(?=.*\S)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]{1,500}$/u);
const word = z
  .string()
  .normalize('NFC')
  .refine((text) => wordsOf(text)[0] === text);
const schema = z.object({ about: sentence, words: z.array(word).min(1).max(MOST_WORDS), remedy: sentence });

const sentenceInWords = 'a sentence of 1 to 500 characters, none of them control characters';
const fieldsInWords: Record<string, string> = {
  about: sentenceInWords,
  words: `1 to ${MOST_WORDS} words`,
  remedy: sentenceInWords,
};

/**
 * @param model an absolute path or 'random:…'
 * @returns undefined for a model that does not say what it draws
 *
 * Rejects with `ERR_MODEL_FORMAT` if the file is damaged, `ERR_IO` if it cannot be read.
 */
export async function domainOf(model: string): Promise<ModelDomain | undefined> {
  if (model.startsWith('random:')) return undefined;
  const file = path.join(model, FILE);
  const bytes = await contents(file);
  return bytes && checked(file, parsed(file, bytes));
}

/**
 * The words of a prompt that the domain does not have, each once, lower-case, in their order. Letter case and how accents
 * are encoded make no difference; whatever is neither letter nor digit stands between words.
 */
export function unknownWords({ words }: Pick<ModelDomain, 'words'>, prompt: string): string[] {
  const known = new Set(words);
  return [...new Set(wordsOf(prompt))].filter((word) => !known.has(word));
}

/** Marks belong to the letter before them: scripts have letters with marks that no single character stands for. */
function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFC')
      .toLowerCase()
      .match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? []
  );
}

async function contents(file: string): Promise<Buffer | undefined> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw malformed(file, 'a file', 'something else');
    if (found.size > LARGEST) throw malformed(file, `at most ${LARGEST} bytes`, `${found.size}`);
    return await readFile(file);
  } catch (error) {
    if (error instanceof PaellaError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw ioError('read', file, error);
  }
}

function parsed(file: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)); // the decoder takes a BOM away
  } catch (cause) {
    // JSON.parse quotes the file as it is.
    const reason = cause instanceof SyntaxError ? cause.message.replace(/\p{C}/gu, '\ufffd') : 'other bytes';
    throw malformed(file, 'JSON in UTF-8', reason, cause);
  }
}

function checked(file: string, json: unknown): ModelDomain {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [name, index] = result.error.issues[0]?.path ?? [];
  if (name === undefined) throw malformed(file, 'an object with about, words and remedy', show(json));
  const found = (json as Record<PropertyKey, unknown>)[name];
  if (index !== undefined && Array.isArray(found)) {
    const at = `${String(name)}[${String(index)}]: `;
    throw malformed(file, 'a word of lower-case letters and digits', show(found[Number(index)]), undefined, at);
  }
  const shown = Array.isArray(found) ? `a list of ${found.length}` : show(found);
  throw malformed(file, fieldsInWords[String(name)] ?? 'something else', shown, undefined, `${String(name)}: `);
}

function malformed(file: string, expected: string, found: string, cause?: unknown, where = ''): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `${file}: ${where}expected ${expected}, found ${found}`, {
    remedy: 'mend the file, or remove it: a model needs none',
    cause,
  });
}
