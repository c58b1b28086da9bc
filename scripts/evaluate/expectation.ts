/** What a caption asks for, and how to read it from a JSON file. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BACKGROUNDS, COLOURS, CORNERS, FIGURES, TEXTURES } from './vocabulary.js';

const index = z.int().min(0);

/** Objects by their numbers: `a` is above, left of or inside `b`, or between `b` and `c`, or in the corner `at`. */
const relation = z.discriminatedUnion('kind', [
  z.object({ kind: z.enum(['above', 'left', 'inside']), a: index, b: index }),
  z.object({ kind: z.literal('between'), a: index, b: index, c: index }),
  z.object({ kind: z.literal('corner'), a: index, at: z.enum(CORNERS) }),
]);

const expectation = z.object({
  caption: z.string(),
  /** Which part of the list it belongs to. */
  part: z.string().default(''),
  background: z.enum(BACKGROUNDS),
  objects: z
    .array(
      z.object({
        figure: z.enum(FIGURES),
        colour: z.enum(COLOURS),
        texture: z.enum(TEXTURES),
        /** Only where the caption names one. */
        size: z.enum(['small', 'large']).optional(),
      }),
    )
    .min(1)
    .max(4),
  relations: z.array(relation),
});

export type Expectation = z.infer<typeof expectation>;
export type WantedObject = Expectation['objects'][number];
export type Relation = z.infer<typeof relation>;

/** Either a list, or a list with something to say about it (heldout.json). */
async function readList<T>(path: string, entry: z.ZodType<T>): Promise<T[]> {
  const list = z.union([z.array(entry), z.object({ captions: z.array(entry) })]);
  const parsed = list.safeParse(JSON.parse(await readFile(path, 'utf8')));
  if (!parsed.success) throw new Error(`${path} is not a list of captions: ${z.prettifyError(parsed.error)}`);
  return Array.isArray(parsed.data) ? parsed.data : parsed.data.captions;
}

export function readExpectations(path: string): Promise<Expectation[]> {
  return readList(path, expectation);
}

/** Captions of which each names its picture's file. */
export function readExpectationsOfFiles(path: string): Promise<Array<Expectation & { file: string }>> {
  return readList(path, expectation.extend({ file: z.string() }));
}

/** `count` entries, evenly spread over the list, so that every part of it is met. */
export function spread<T>(list: readonly T[], count: number): T[] {
  const kept = Math.min(count, list.length);
  return Array.from({ length: kept }, (_, i) => list[Math.floor((i * list.length) / kept)] as T);
}
