/** The list of merges of CLIP's tokenizer, from either of the files in which it is published. */
import { readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ioError, PaellaError } from '../errors.js';
import { CLIP_VOCABULARY, clipMergeCount } from './clip-tokenizer.js';

/** The published files have 0.5 and 3.2 MB; whatever is much larger is something else. */
const LARGEST = 64 * 2 ** 20;

/**
 * transformers' `merges.txt`, or open_clip's `bpe_simple_vocab_16e6.txt.gz` (also unpacked), which goes on after the
 * merges that are used. The first line names the version, then follows one merge a line, "left right".
 *
 * Throws ERR_MODEL_NOT_FOUND if there is no such file, ERR_IO if it cannot be read, ERR_MODEL_FORMAT if it is damaged, cut
 * or another file. What the merges are made of is looked at by ClipTokenizer.
 */
export async function readClipMerges(file: string, vocabularySize = CLIP_VOCABULARY): Promise<string[]> {
  const bytes = await unpacked(file, await contents(file));
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw damaged(file, 'text in UTF-8', 'other bytes', cause);
  }
  const wanted = clipMergeCount(vocabularySize);
  const [version = '', ...merges] = text.split('\n', wanted + 1).map((line) => line.replace(/\r$/, ''));
  if (!version.includes('#version:')) {
    throw damaged(file, '"#version: …" in the first line', JSON.stringify(version.slice(0, 80)));
  }
  const blank = merges.indexOf('');
  const count = blank < 0 ? merges.length : blank;
  if (count < wanted) throw damaged(file, `${wanted} merges for a vocabulary of ${vocabularySize}`, `${count}`);
  return merges;
}

async function contents(file: string): Promise<Buffer> {
  try {
    const { size } = await stat(file);
    if (size > LARGEST) throw damaged(file, `at most ${LARGEST} bytes`, `${size}`);
    return await readFile(file);
  } catch (error) {
    if (error instanceof PaellaError) throw error;
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError('read', file, error);
    throw new PaellaError('ERR_MODEL_NOT_FOUND', `${file}: expected the merges of CLIP's tokenizer, got no such file`, {
      remedy: "convert the model again with the encoder's merges.txt beside its weights",
      cause: error,
    });
  }
}

async function unpacked(file: string, bytes: Buffer): Promise<Buffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: LARGEST });
  } catch (cause) {
    throw damaged(file, 'a whole gzip file', (cause as Error).message, cause);
  }
}

function damaged(file: string, expected: string, got: string, cause?: unknown): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `${file}: expected ${expected}, got ${got}`, {
    remedy: 'copy the file again, from the folder of the CLIP model that the weights are of',
    cause,
  });
}
