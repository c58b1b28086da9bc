/**
 * `npm run bench:check`: has a step become slower? Absolute times say nothing on a shared machine, so that this compares
 * ratios: a guided step over oneDNN's plain products of the same shapes, taken in turns on one thread, each by its fastest
 * round. The profile has them for each instruction set.
 *
 *   npm run bench:check -- [--update] [--limit 1.5] [--rounds 40] [--native <program>] [--profile <file.json>]
 *
 * Ends with 1 if a ratio is more than `limit` times the profile's. --update writes what was measured into the profile.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { round } from '../../lib/cli/bench/statistics.js';
import { table } from '../../lib/cli/text.js';
import { writeAtomically } from '../../lib/images/files.js';
import { benchProgram, type NativeStep, productSamples, runNative } from './native-rows.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const { values } = parseArgs({
  options: {
    update: { type: 'boolean', default: false },
    limit: { type: 'string', default: '1.5' },
    rounds: { type: 'string', default: '40' },
    native: { type: 'string' },
    profile: { type: 'string', default: path.join(root, 'scripts/bench/profile.json') },
  },
});

const profileSchema = z.strictObject({
  schema: z.literal('paella-bench-profile/1'),
  ratios: z.array(
    z.strictObject({
      model: z.string(),
      tokens: z.string(),
      batch: z.int().min(1),
      precision: z.string(),
      instructionSet: z.string(),
      /** A guided step over the plain products of its shapes: 1 is as fast as they are. */
      ratio: z.number().positive(),
      device: z.string(),
      date: z.iso.date(),
    }),
  ),
});
type Ratio = z.output<typeof profileSchema>['ratios'][number];

/** Small enough for a minute, large enough that a step is more than overhead. */
const shapes = [
  { model: 'models/tiny', tokens: '32x32', batch: 1, share: 1 },
  { model: 'models/tiny', tokens: '32x32', batch: 8, share: 0.5 },
  { model: 'random:paella-v3-small', tokens: '32x32', batch: 1, share: 0.25 },
];

function numberOption(name: 'limit' | 'rounds', least: number): number {
  const number = Number(values[name]);
  if (!(number >= least)) throw new Error(`--${name}: expected a number, at least ${least}, got ${values[name]}`);
  return number;
}

/** @param anew whether it may be made. Throws where it is no profile, or is not there: nothing would be compared with it. */
function readProfile(file: string, anew: boolean): Ratio[] {
  if (!existsSync(file)) {
    if (anew) return [];
    throw new Error(`--profile: expected a file that bench:check --update wrote, found none at ${file}`);
  }
  const parsed = profileSchema.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (parsed.success) return parsed.data.ratios;
  const [issue] = parsed.error.issues;
  throw new Error(`${file}: expected a profile of bench:check, got ${issue?.path.join('.')}: ${issue?.message}`);
}

/** 'AMD EPYC (1 threads, avx512_bf16)' */
const instructionSetOf = (device: string) => device.match(/, ([\w+]+)\)$/)?.[1] ?? device;

function measure(rounds: number): Ratio[] {
  const program = benchProgram(values.native);
  return shapes.flatMap(({ model, tokens, batch, share }) => {
    const own = String(Math.max(3, Math.round(rounds * share)));
    const folder = model.startsWith('random:') ? model : path.join(root, model);
    const args = ['step', '--model', folder, '--tokens', tokens, '--batch', String(batch), '--threads', '1'];
    return runNative<NativeStep>(program, [...args, '--rounds', own, '--seconds', '0.05']).map((step) => ({
      ...{ model, tokens, batch },
      precision: step.precision,
      instructionSet: instructionSetOf(step.device),
      // Other work on the machine makes times longer, never shorter.
      ratio: round(Math.min(...step.step_samples) / Math.min(...productSamples(step))),
      device: step.device,
      date: new Date().toISOString().slice(0, 10),
    }));
  });
}

const keyOf = ({ model, tokens, batch, precision, instructionSet }: Ratio) =>
  [model, tokens, batch, precision, instructionSet].join(' ');

const [limit, rounds] = [numberOption('limit', 1), numberOption('rounds', 1)];
const known = readProfile(values.profile, values.update);
const profile = new Map(known.map((each) => [keyOf(each), each]));
const measured = measure(rounds);
const slower = (each: Ratio) => each.ratio / (profile.get(keyOf(each))?.ratio ?? Number.NaN);
const lines = measured.map((each) => {
  const before = profile.get(keyOf(each));
  const change = before
    ? `${slower(each).toFixed(2)}×${slower(each) > limit ? '  TOO SLOW' : ''}`
    : 'not in the profile';
  return [
    `${each.model} ${each.tokens}`,
    String(each.batch),
    each.precision,
    each.ratio.toFixed(3),
    before?.ratio.toFixed(3) ?? '',
    change,
  ];
});
process.stdout.write(
  `${table([['model and tokens', 'batch', 'precision', 'step / products', 'profile', 'change'], ...lines])}\n`,
);

if (values.update) {
  for (const each of measured) profile.set(keyOf(each), each);
  const ratios = [...profile.values()].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  await writeAtomically(values.profile, `${JSON.stringify({ schema: 'paella-bench-profile/1', ratios }, null, 2)}\n`);
  process.stdout.write(`written: ${values.profile}\n`);
} else {
  const failed = measured.filter((each) => slower(each) > limit);
  const covered = measured.filter((each) => profile.has(keyOf(each)));
  if (covered.length === 0)
    process.stdout.write(
      `Nothing was compared: the profile has no ratios for ${measured[0] ? instructionSetOf(measured[0].device) : 'this CPU'}. With --update it gets them.\n`,
    );
  for (const each of failed)
    process.stdout.write(
      `${each.model} ${each.tokens}, batch ${each.batch}, ${each.precision}: expected at most ${limit} times the profile's ratio, got ${slower(each).toFixed(2)} times\n`,
    );
  process.exitCode = failed.length > 0 ? 1 : 0;
}
