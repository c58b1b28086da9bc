/**
 * The conversation between run.ts and a peer, a process that holds a loaded model: one JSON document a line. The other end
 * is worker.py, and paella-native-peer.ts for this package.
 */
import { z } from 'zod';

const milliseconds = z.number().min(0);

/** What a peer can run. Fields are those of lib/cli/bench/schema.ts, which says what they mean. */
const caseSchema = z.strictObject({
  subject: z.string().min(1),
  version: z.string().min(1),
  commit: z.string().nullable().optional(),
  model: z.string().min(1),
  weights: z.enum(['trained', 'random']),
  device: z.string().min(1),
  backend: z.string().min(1),
  precision: z.string().min(1),
  threads: z.int().min(1).nullable(),
  width: z.int().min(1),
  height: z.int().min(1),
  batch: z.int().min(1),
  /** One row for each. More than one only with `measureSteps`. */
  steps: z.array(z.int().min(1)).min(1),
  /** How many steps a run does, if rows are composed of it; null: the steps of the row. */
  measureSteps: z.int().min(1).nullable(),
  guidance: z.number().nullable(),
  scheduler: z.string().nullable(),
  compile: z.string().nullable(),
  counted: z.strictObject({
    textEncoding: z.boolean(),
    decode: z.boolean(),
    encodeFile: z.boolean(),
    load: z.boolean(),
  }),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
});

/** A peer's first line, once it has loaded everything. */
export const helloSchema = z.strictObject({
  cases: z.array(caseSchema).min(1),
  loadMs: milliseconds,
  runtimes: z.record(z.string(), z.string()),
  gpus: z.array(z.record(z.string(), z.union([z.string(), z.number()]))),
});

/** Asks for a run of case `run`, one image for each prompt. */
export interface RunRequest {
  run: number;
  prompts: readonly string[];
  seed: number;
}

/** A run: milliseconds of the whole call, of each pass of the network, and of parts beside them. */
export const measurementSchema = z.strictObject({
  ms: milliseconds,
  stepMs: z.array(milliseconds),
  stages: z.record(z.string(), milliseconds),
});

/** A peer's last line, after `{ "end": true }`. */
export const farewellSchema = z.strictObject({
  rssBytes: z.int().min(0).nullable(),
  peakBytes: z.int().min(0).nullable(),
});

export type PeerCase = z.output<typeof caseSchema>;
export type Hello = z.output<typeof helloSchema>;
export type Measurement = z.output<typeof measurementSchema>;
export type Farewell = z.output<typeof farewellSchema>;
