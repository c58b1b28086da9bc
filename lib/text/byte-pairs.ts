/**
 * Byte-level byte-pair encoding in GPT-2's alphabet, with `</w>` at the end of a word (Sennrich et al. 2016; Radford et
 * al. 2019 for the bytes).
 *
 * Ids: 0 … 255 the bytes, in the order of the alphabet; 256 … 511 the same with `</w>`; 512 + r the result of merge r.
 */
import { PaellaError } from '../errors.js';

/** Ids that are there without any merge. */
export const BYTE_IDS = 512;

const WORD_END = '</w>';
const WORD_END_OFFSET = 256;

/**
 * The alphabet: bytes that are visible in Latin-1 stand for themselves and come first; the others follow as U+0100 …,
 * so that no symbol is white space.
 */
const alphabet: { byte: number; symbol: string }[] = [];
const isVisible = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
for (let byte = 0; byte < 256; byte++) if (isVisible(byte)) alphabet.push({ byte, symbol: String.fromCharCode(byte) });
for (let byte = 0, hidden = 0; byte < 256; byte++) {
  if (!isVisible(byte)) alphabet.push({ byte, symbol: String.fromCharCode(256 + hidden++) });
}
const idOfByte = new Uint8Array(256);
for (const [id, { byte }] of alphabet.entries()) idOfByte[byte] = id;

const utf8 = new TextEncoder();

export class BytePairs {
  /** left · #ids + right → rank. */
  readonly #ranks = new Map<number, number>();
  readonly #ids: number;

  /**
   * `merges`: "left right" each, the most frequent first. Every part must be a byte of the alphabet or the result of an
   * earlier merge, and no two merges may give the same: anything else is not a list that training gives, and
   * ERR_MODEL_FORMAT.
   */
  constructor(merges: readonly string[]) {
    this.#ids = BYTE_IDS + merges.length;
    const known = new Map<string, number>();
    for (const [id, { symbol }] of alphabet.entries()) {
      known.set(symbol, id);
      known.set(symbol + WORD_END, id + WORD_END_OFFSET);
    }
    for (const [rank, merge] of merges.entries()) {
      const [left = '', right = '', ...more] = merge.split(' ');
      const ids = [known.get(left), known.get(right)];
      if (ids[0] === undefined || ids[1] === undefined || more.length > 0) {
        throw damaged(rank, 'two symbols that are bytes or results of earlier merges, and a space between them', merge);
      }
      if (known.has(left + right)) throw damaged(rank, 'a result that no earlier merge has', merge);
      known.set(left + right, BYTE_IDS + rank);
      this.#ranks.set(ids[0] * this.#ids + ids[1], rank);
    }
  }

  /**
   * Ids of one word, at least one byte long.
   *
   * The pair of lowest rank is merged first, of equal pairs the leftmost. Merging can only make pairs of higher rank
   * (a part's merge comes before the merges that use it), so one queue ordered by (rank, position) is the same as the
   * textbook's loop over whole words, and takes n log n for a word as long as a book.
   */
  encode(word: string): number[] {
    const ids = Array.from(utf8.encode(word), (byte) => idOfByte[byte] ?? 0);
    const end = ids.length;
    ids[end - 1] = (ids[end - 1] ?? 0) + WORD_END_OFFSET;
    const next = Array.from(ids, (_, i) => i + 1);
    const previous = Array.from(ids, (_, i) => i - 1);
    const queue = new Queue();
    const rankAt = (at: number) => {
      const after = next[at] ?? end;
      return after < end ? this.#ranks.get((ids[at] ?? 0) * this.#ids + (ids[after] ?? 0)) : undefined;
    };
    const add = (at: number) => {
      const rank = at < 0 ? undefined : rankAt(at);
      if (rank !== undefined) queue.push(rank * 2 ** 32 + at);
    };
    for (let at = 0; at + 1 < end; at++) add(at);
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % 2 ** 32;
      const rank = (entry - at) / 2 ** 32;
      // An entry is out of date when a merge has changed either side meanwhile.
      if (ids[at] === GONE || rankAt(at) !== rank) continue;
      const right = next[at] ?? end;
      const after = next[right] ?? end;
      ids[at] = BYTE_IDS + rank;
      ids[right] = GONE;
      next[at] = after;
      if (after < end) previous[after] = at;
      add(previous[at] ?? -1);
      add(at);
    }
    return ids.filter((id) => id !== GONE);
  }
}

const GONE = -1;

function damaged(rank: number, expected: string, merge: string): PaellaError {
  return new PaellaError(
    'ERR_MODEL_FORMAT',
    `merges: merge ${rank + 1}: expected ${expected}, got ${JSON.stringify(merge.slice(0, 80))}`,
    { remedy: 'copy the file of merges again' },
  );
}

/** A binary heap: the smallest number first. */
class Queue {
  readonly #heap: number[] = [];

  push(value: number): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] ?? 0;
      if (above <= value) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = value;
  }

  pop(): number | undefined {
    const heap = this.#heap;
    const smallest = heap[0];
    const value = heap.pop();
    if (value === undefined || heap.length === 0) return value;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child + 1 < heap.length && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
      const below = heap[child];
      if (below === undefined || below >= value) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = value;
    return smallest;
  }
}
