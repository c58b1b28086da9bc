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

const file = z.union([z.array(expectation), z.object({ captions: z.array(expectation) })]);

export async function readExpectations(path: string): Promise<Expectation[]> {
  const parsed = file.safeParse(JSON.parse(await readFile(path, 'utf8')));
  if (!parsed.success) throw new Error(`${path} is not a list of captions: ${z.prettifyError(parsed.error)}`);
  return Array.isArray(parsed.data) ? parsed.data : parsed.data.captions;
}
