/** What a caption asks for, and how to read it from a JSON file. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BACKGROUNDS, COLOURS, RELATIONS, SHAPES } from './vocabulary.js';

const expectation = z.object({
  caption: z.string(),
  background: z.enum(BACKGROUNDS),
  objects: z
    .array(z.object({ shape: z.enum(SHAPES), colour: z.enum(COLOURS), size: z.enum(['small', 'large']).optional() }))
    .min(1)
    .max(3),
  /** objects[a] is `kind` objects[b]. */
  relations: z.array(z.object({ kind: z.enum(RELATIONS), a: z.int().min(0), b: z.int().min(0) })),
});

export type Expectation = z.infer<typeof expectation>;
export type WantedObject = Expectation['objects'][number];

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
