/**
 * `npm run bench:int8`: what 8 bits save and what they change.
 *
 *   npm run bench:int8 -- [--only steps,encoder,pictures,memory] [--rounds 3] [--captions 400] [--output docs/int8-cpu-zen5.json]
 *
 * - steps: a guided step of the 1-billion U-Net in bf16 and in int8, in turns
 * - encoder: ByT5-XL on 64 bytes with full weights and with weights of 8 bits, beside oneDNN's own rate, round by round
 * - pictures: the bundled model on held-out captions with the same seeds: share of tokens that are others, and the judge of
 *   `npm run evaluate`
 * - memory: the whole pipeline of the large model, a process for each way: its peak of resident memory
 *
 * Parts that are not measured stay in the file as they are; each part is written as soon as it is measured.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { environment, subject } from '../../lib/cli/bench/environment.js';
import { median } from '../../lib/cli/bench/statistics.js';
import { checkWritable } from '../../lib/cli/output.js';
import { writeAtomically } from '../../lib/images/files.js';
import { type GeneratedImage, type LoadOptions, Paella } from '../../lib/index.js';
import { readExpectations, spread } from '../evaluate/expectation.js';
import { assess } from '../evaluate/judge.js';
import { benchProgram, runNative } from './native-rows.js';
import { commandLine, integer } from './options.js';

const parts = ['steps', 'encoder', 'pictures', 'memory'] as const;
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: parts.join(',') },
    rounds: { type: 'string', default: '3' },
    captions: { type: 'string', default: '400' },
    output: { type: 'string' },
  },
});
const rounds = integer('rounds', values.rounds);
const captions = integer('captions', values.captions);
const root = path.resolve(import.meta.dirname, '..', '..');

const native = (...options: string[]) => runNative<Record<string, unknown>>(benchProgram(), options);

function steps() {
  const seconds: Record<'bf16' | 'int8', number[]> = { bf16: [], int8: [] };
  const weightBytes: Record<string, unknown> = {};
  for (let round = 0; round < rounds; round++) {
    for (const precision of ['bf16', 'int8'] as const) {
      const [row] = native('step', '--precision', precision, '--rounds', '1');
      seconds[precision].push(row?.step_seconds as number);
      weightBytes[precision] = row?.weight_bytes;
    }
  }
  const ratios = seconds.bf16.map((each, i) => each / (seconds.int8[i] as number));
  return { model: 'random:paella-v3-256', tokens: '64x64', seconds, ratios, ratio: median(ratios), weightBytes };
}

const encoder = () => native('encoder', '--precision', 'bf16', '--rounds', String(rounds));

const ways = {
  fp32: { precision: 'fp32' },
  bf16: { precision: 'bf16' },
  int8: { precision: 'int8' },
  'bf16, encoderWeights int8': { precision: 'bf16', encoderWeights: 'int8' },
} as const satisfies Record<string, LoadOptions>;

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return dot / Math.sqrt(aa * bb);
}

/** bf16 is what the others are compared with; fp32 shows how much rounding to bf16 alone changes. */
async function pictures() {
  const all = spread(await readExpectations(path.join(root, 'scripts/train/heldout.json')), captions);
  const drawn = new Map<string, { images: GeneratedImage[]; states: Float32Array[] }>();
  for (const [name, options] of Object.entries(ways)) {
    await using paella = await Paella.load({ model: 'tiny', backend: 'cpu', ...options });
    const images: GeneratedImage[] = [];
    const states: Float32Array[] = [];
    for (const [i, { caption }] of all.entries()) {
      const [image] = await paella.generate({ prompt: caption, seed: i + 1 });
      images.push(image as GeneratedImage);
      states.push((await paella.encodeText(caption)).states);
    }
    drawn.set(name, { images, states });
  }
  const base = drawn.get('bf16') as { images: GeneratedImage[]; states: Float32Array[] };
  return [...drawn].map(([name, { images, states }]) => {
    let [changed, tokens, same, least] = [0, 0, 0, 1];
    for (const [i, image] of images.entries()) {
      const [mine, theirs] = [image.tokens.tokens, (base.images[i] as GeneratedImage).tokens.tokens];
      const others = mine.reduce((sum, token, k) => sum + Number(token !== theirs[k]), 0);
      changed += others;
      tokens += mine.length;
      same += Number(others === 0);
      least = Math.min(least, cosine(states[i] as Float32Array, base.states[i] as Float32Array));
    }
    const right = images.filter((image, i) => assess(all[i] as (typeof all)[number], image).verdict.right).length;
    return {
      way: name,
      captions: images.length,
      changedTokens: changed / tokens,
      sameImages: same / images.length,
      leastCosineOfStates: least,
      whollyRight: right / images.length,
    };
  });
}

/** The child tells its own peak: /usr/bin/time is not everywhere. */
const draw = `
  import { Paella } from ${JSON.stringify(path.join(root, 'dist/esm/index.js'))};
  const paella = await Paella.load({ model: 'random:paella-v3', backend: 'cpu', ...JSON.parse(process.argv[1]) });
  await paella.generate({ prompt: 'a red fox in deep snow, by an unknown painter', seed: 1, steps: 2, width: 256, height: 256 });
  await paella.dispose();
  console.log(JSON.stringify({ peakRssBytes: process.resourceUsage().maxRSS * 1024 }));`;

function memory() {
  return (['resident', 'low'] as const).flatMap((mode) =>
    (['full', 'int8'] as const).map((encoderWeights) => {
      const options = { memory: mode, encoderWeights, precision: 'bf16' };
      const args = ['--input-type=module', '--eval', draw, JSON.stringify(options)];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
      return { model: 'random:paella-v3', width: 256, height: 256, steps: 2, ...options, ...JSON.parse(stdout) };
    }),
  );
}

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !(parts as readonly string[]).includes(name));
if (unknown.length > 0) throw new Error(`--only: expected some of ${parts.join(', ')}, got ${unknown.join(', ')}`);
const { output } = values;
if (output !== undefined) await checkWritable(output);
const result: Record<string, unknown> =
  output !== undefined && existsSync(output) ? JSON.parse(readFileSync(output, 'utf8')) : {};
const about = { command: commandLine('bench:int8'), ...subject(), environment: await environment() };
for (const name of parts.filter((each) => wanted.includes(each))) {
  process.stderr.write(`${name} …\n`);
  result[name] = { ...about, results: await { steps, encoder, pictures, memory }[name]() };
  process.stdout.write(`${name}: ${JSON.stringify(result[name], null, 2)}\n`);
  // After each part: the others stay as they are, and what is measured is kept if the next one fails.
  if (output !== undefined) await writeAtomically(output, `${JSON.stringify(result, null, 2)}\n`);
}
