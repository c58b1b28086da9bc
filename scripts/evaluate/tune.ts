/**
 * `npm run tune`: tries settings of the sampler on captions of combinations that training sees, so that the held-out ones
 * stay untouched until the settings are chosen. Every option takes the values to try; all combinations are tried.
 */

import path from 'node:path';
import { parseArgs } from 'node:util';
import { Paella } from '../../lib/index.js';
import { commandOf, numbers, whole } from './arguments.js';
import { drawAll, type Painter } from './draw.js';
import { type Expectation, readExpectations, spread } from './expectation.js';
import { writeTogether } from './files.js';
import { machine, shareText } from './report.js';
import { markdownTable, type Share, shareOf } from './summary.js';

const CAPTIONS = 'scripts/train/tuning.json';
const OUTPUT = 'build/evaluate/tune.json';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'tiny' },
    count: { type: 'string' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '8,12' },
    'guidance-first': { type: 'string', default: '1.5,2.5' },
    'guidance-last': { type: 'string', default: '1.2' },
    'temperature-first': { type: 'string', default: '0.2,0.4' },
    'temperature-last': { type: 'string', default: '0.05' },
    /** Shares of the steps after which tokens are made noise again. */
    renoise: { type: 'string', default: '0.75,0.9' },
    backend: { type: 'string', default: 'auto' },
    precision: { type: 'string', default: 'auto' },
    output: { type: 'string', default: OUTPUT },
  },
});

interface Combination {
  steps: number;
  renoiseSteps: number;
  guidanceScale: [number, number];
  temperature: [number, number];
}

type Result = Combination & { share: Share };

/** Every combination once: two shares may come to the same number of steps. */
function combinations(): Combination[] {
  const list = (name: keyof typeof values): number[] => numbers(String(values[name]), name);
  const all = new Map<string, Combination>();
  for (const steps of list('steps')) {
    for (const share of list('renoise')) {
      for (const first of list('guidance-first')) {
        for (const last of list('guidance-last')) {
          for (const hot of list('temperature-first')) {
            for (const cold of list('temperature-last')) {
              const each: Combination = {
                steps,
                renoiseSteps: Math.min(steps, Math.max(0, Math.round(share * steps))),
                guidanceScale: [first, last],
                temperature: [hot, cold],
              };
              all.set(JSON.stringify(each), each);
            }
          }
        }
      }
    }
  }
  return [...all.values()];
}

async function attempt(painter: Painter, captions: readonly Expectation[], options: Combination): Promise<Result> {
  const drawn = await drawAll(painter, 'tune', captions, options);
  return { ...options, share: shareOf(drawn.map(({ judged }) => judged)) };
}

function table(results: readonly Result[]): string {
  const rows = results.map(({ steps, renoiseSteps, guidanceScale, temperature, share }) => [
    String(steps),
    String(renoiseSteps),
    guidanceScale.join(' → '),
    temperature.join(' → '),
    shareText(share),
  ]);
  return markdownTable([['steps', 'renoised', 'guidance', 'temperature', 'wholly right'], ...rows]);
}

async function main(): Promise<void> {
  const all = await readExpectations(CAPTIONS);
  const captions = spread(all, whole(values.count, 'count') ?? all.length);
  const seed = whole(values.seed, 'seed') ?? 1;
  const grid = combinations();
  const paella = await Paella.load({
    model: values.model,
    backend: values.backend as 'auto',
    precision: values.precision as 'auto',
  });
  try {
    const painter: Painter = { paella, options: {}, seed, progress: () => () => {} };
    const results: Result[] = [];
    for (const [index, options] of grid.entries()) {
      const result = await attempt(painter, captions, options);
      results.push(result);
      process.stderr.write(`${index + 1} of ${grid.length}: ${JSON.stringify(options)} ${shareText(result.share)}\n`);
    }
    results.sort((a, b) => b.share.share - a.share.share);
    process.stdout.write(`${table(results)}\n`);
    const about = {
      command: commandOf('tune', process.argv.slice(2)),
      machine: machine(),
      model: paella.model.name,
      backend: paella.backend,
      precision: paella.precision,
      captions: captions.length,
      seed,
    };
    const content = `${JSON.stringify({ ...about, results }, null, 2)}\n`;
    await writeTogether(path.dirname(values.output), { [path.basename(values.output)]: content });
    process.stdout.write(`written: ${values.output}\n`);
  } finally {
    await paella.dispose();
  }
}

await main();
