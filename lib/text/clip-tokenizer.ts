/**
 * CLIP's tokenizer as open_clip has it for ViT-H-14 (specification 5.2): the text put right as ftfy does, entities
 * unescaped twice, white space collapsed, lower case, split into words, byte-pair encoding.
 */
import { PaellaError } from '../errors.js';
import { BYTE_IDS, BytePairs } from './byte-pairs.js';
import { unescapeHtml } from './html-entities.js';
import { PYTHON_WHITE_SPACE } from './python-white-space.js';
import { fixText } from './repair/fix-text.js';

/** Fills the rest of a fixed number of ids; nothing that comes after the last token reaches the encoder's output. */
export const CLIP_PAD = 0;

export const CLIP_VOCABULARY = 49_408;
export const CLIP_CONTEXT_LENGTH = 77;

/** Start and end of text, the two last ids. */
const SPECIAL_IDS = 2;

/** How many merges a vocabulary of that size has. */
export const clipMergeCount = (vocabularySize: number): number => vocabularySize - BYTE_IDS - SPECIAL_IDS;

const WHITE_SPACE = new RegExp(`[${PYTHON_WHITE_SPACE}]+`);

/**
 * The reference ignores case here. Text is lower case already, which leaves two traces: the long s equals s, and U+0345,
 * whose capital is a letter although it is none itself, is neither letter nor anything else and drops out.
 */
const WORD =
  /<[sſ]tart_of_text>|<end_of_text>|'(?:[sſ]|t|re|ve|m|ll|d)|\p{L}+|\p{N}|(?:(?!\u0345)[^\p{White_Space}\p{L}\p{N}])+/gu;

export interface ClipTokenizerOptions {
  /** `vocab_size` of the encoder, 49408 if not given. */
  vocabularySize?: number | undefined;
  /** `context_length` of the encoder, 77 if not given: most ids that encode() gives. */
  contextLength?: number | undefined;
}

export class ClipTokenizer {
  readonly #bytePairs: BytePairs;
  readonly #start: number;
  readonly #end: number;
  readonly #contextLength: number;

  /**
   * `merges` as readClipMerges gives them, one for every id that is neither a byte nor special. An empty list is allowed,
   * for models with random weights, which have no merges: then every byte of UTF-8 is a token of its own, as byte-pair
   * encoding without merges gives, and the special ids stay the last two.
   *
   * Throws ERR_MODEL_FORMAT when list and vocabulary do not fit together, or a merge is not one.
   */
  constructor(merges: readonly string[], options: ClipTokenizerOptions = {}) {
    const { vocabularySize = CLIP_VOCABULARY, contextLength = CLIP_CONTEXT_LENGTH } = options;
    const wanted = clipMergeCount(vocabularySize);
    if (!(wanted >= 0)) throw expected('vocab_size', `at least ${BYTE_IDS + SPECIAL_IDS}`, vocabularySize);
    if (!(contextLength >= SPECIAL_IDS)) throw expected('context_length', `at least ${SPECIAL_IDS}`, contextLength);
    if (merges.length !== 0 && merges.length !== wanted) {
      throw expected('merges', `${wanted} for a vocabulary of ${vocabularySize}`, merges.length);
    }
    this.#bytePairs = new BytePairs(merges);
    this.#start = vocabularySize - 2;
    this.#end = vocabularySize - 1;
    this.#contextLength = contextLength;
  }

  /**
   * Text → ids [length], 2 … context length: start, words, end, without padding. What is over is cut off; the last id is
   * the end all the same. Never fails. Half of a surrogate pair becomes U+FFFD.
   */
  encode(text: string): Int32Array {
    const ids = [this.#start];
    for (const [word] of clean(text).matchAll(WORD)) {
      if (ids.length >= this.#contextLength) break;
      for (const id of this.#encodeWord(word)) ids.push(id);
    }
    ids.length = Math.min(ids.length, this.#contextLength - 1);
    ids.push(this.#end);
    return Int32Array.from(ids);
  }

  #encodeWord(word: string): number[] {
    if (word === '<start_of_text>') return [this.#start];
    if (word === '<end_of_text>') return [this.#end];
    return this.#bytePairs.encode(word);
  }
}

function clean(text: string): string {
  const unescaped = unescapeHtml(unescapeHtml(fixText(text)));
  return unescaped.split(WHITE_SPACE).filter(Boolean).join(' ').toLowerCase();
}

function expected(name: string, wanted: string, got: number): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `clip_text: ${name}: expected ${wanted}, got ${got}`);
}
