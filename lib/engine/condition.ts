/** From what an image follows to what the native side takes: ids of both text encoders, pixels, weights. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type ImageInput, toSquare } from '../images/input.js';
import type { NativeCondition, NativeModelInfo } from '../native/contract.js';
import type { AttentionWeights, WeightedText } from '../options/conditioning.js';
import { invalidOption } from '../options/validate.js';
import { tokenize } from '../text/byt5-tokenizer.js';
import { readClipMerges } from '../text/clip-merges.js';
import { ClipTokenizer } from '../text/clip-tokenizer.js';

/** Before gigabytes are read: the file without which the model would be refused in the end. */
export async function checkClipMerges(model: string): Promise<void> {
  const folder = path.join(model, 'clip_text');
  const there = async (name: string) => (await stat(path.join(folder, name)).catch(() => undefined)) !== undefined;
  if ((await there('config.json')) && !(await there('merges.txt')))
    await readClipMerges(path.join(folder, 'merges.txt'));
}

/** Of a model with CLIP's text encoder: by its own merges, or without any where the weights are random, too. */
export async function clipTokenizerOf(model: string, info: NativeModelInfo): Promise<ClipTokenizer | undefined> {
  if (info.clipTextLength === 0) return undefined;
  const { clipVocabulary: vocabularySize, clipTextLength: contextLength } = info;
  const random = model.startsWith('random:');
  const merges = random ? [] : await readClipMerges(path.join(model, 'clip_text', 'merges.txt'), vocabularySize);
  return new ClipTokenizer(merges, { vocabularySize, contextLength });
}

export interface Texts {
  /** Ids for ByT5; `length` as `tokenize` has it. */
  ids: Int32Array;
  length: number;
  clipIds: Int32Array | undefined;
  /** One for each of `ids`, if parts of the prompt have weights of their own. */
  weights: Float32Array | undefined;
}

/** A prompt in words, for both text encoders. Parts are joined by blanks. */
export function textsOf(prompt: string | readonly WeightedText[], clip: ClipTokenizer | undefined): Texts {
  const parts = typeof prompt === 'string' ? [{ text: prompt, weight: 1 }] : prompt;
  const text = parts.map((part) => part.text).join(' ');
  const { ids, length } = tokenize(text);
  return { ids, length, clipIds: clip && upToEnd(clip.encode(text)), weights: weightsOf(parts, ids.length) };
}

/** What follows the end of text changes nothing; a prompt may hold a literal end. */
function upToEnd(ids: Int32Array): Int32Array {
  return ids.subarray(0, ids.indexOf(ids.at(-1) ?? 0) + 1);
}

function weightsOf(parts: readonly WeightedText[], count: number): Float32Array | undefined {
  if (parts.every(({ weight }) => weight === 1)) return undefined;
  const weights = new Float32Array(count).fill(1);
  let at = 0;
  for (const [i, { text, weight }] of parts.entries()) {
    // The blank before a part belongs to it. A part is what its own tokens are.
    const { length } = tokenize(i === 0 ? text : ` ${text}`);
    weights.fill(weight, at, Math.min(at + length, count - 1));
    at += length;
  }
  return weights;
}

/** The middle of each picture as CLIP sees it, RGB [side, side, 3]. */
export async function clipPixels(pictures: readonly ImageInput[], side: number): Promise<Uint8Array[]> {
  return Promise.all(pictures.map((picture) => toSquare(picture, side, 'imagePrompt')));
}

/**
 * All weights [S] of a condition of `tokens` ids, or undefined where all are 1. Throws ERR_INVALID_OPTION for more weights
 * than entries.
 */
export function attentionWeightsOf(
  entries: { tokens: number; clipTexts: number; images: number },
  info: Pick<NativeModelInfo, 'clipTokens'>,
  words: Float32Array | undefined,
  given: AttentionWeights | undefined,
): Float32Array | undefined {
  if (!words && given === undefined) return undefined;
  const length = entries.tokens + info.clipTokens * (entries.clipTexts + entries.images);
  const weights = new Float32Array(length).fill(1);
  if (words) weights.set(words);
  // Of the notebook: as many as ByT5 has tokens, and four of them for the picture (specification 4.3). Without a picture
  // the last words would get what is meant for it.
  const picture = entries.images > 0 ? info.clipTokens : 0;
  const last =
    given === 'notebook'
      ? Array.from({ length: entries.tokens }, (_, i) => (i >= entries.tokens - picture ? 0.4 : 1.2))
      : (given ?? []);
  if (last.length > length)
    throw invalidOption(
      'attentionWeights',
      `at most ${length} numbers, one for each entry of the condition`,
      last.length,
    );
  for (const [i, weight] of last.entries()) {
    const at = length - last.length + i;
    weights[at] = (weights[at] ?? 1) * weight;
  }
  return weights;
}

/** For the unconditional pass: words only. */
export function negativeOf(texts: Texts): NativeCondition {
  return { ids: texts.ids, ...(texts.clipIds ? { clipIds: texts.clipIds } : {}) };
}
