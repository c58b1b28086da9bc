/** `npm run evaluate`: draws captions with a model, judges the pictures, and writes the results. See README.md. */

import { parseArgs } from 'node:util';
import { type GenerateOptions, Paella } from '../../lib/index.js';
import { commandOf, oneOf, ramp, whole } from './arguments.js';
import { type Sweep, sweepChart } from './chart.js';
import type { Painter, Progress } from './draw.js';
import { readExpectations } from './expectation.js';
import { writeTogether } from './files.js';
import { json, markdown, type SectionReport, type Settings } from './report.js';
import type { SectionOutput } from './sections/section.js';
import { SECTION_NAMES, SECTIONS } from './sections/table.js';

const CAPTIONS = 'scripts/train/heldout.json';
const PUBLISHED = 'docs/models';
/** Where runs go that are not the whole evaluation with the model's own settings. */
const PARTIAL = 'build/evaluate';

/** px: in larger pictures figures do not grow any more, and the judge's limits do. */
const LARGEST = 192;

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'tiny' },
    sections: { type: 'string' },
    count: { type: 'string' },
    steps: { type: 'string' },
    guidance: { type: 'string' },
    temperature: { type: 'string' },
    'renoise-steps': { type: 'string' },
    width: { type: 'string' },
    height: { type: 'string' },
    seed: { type: 'string' },
    backend: { type: 'string', default: 'auto' },
    precision: { type: 'string', default: 'auto' },
    pictures: { type: 'string' },
    output: { type: 'string' },
  },
});

function samplerOptions(): GenerateOptions {
  const given: GenerateOptions = {
    steps: whole(values.steps, 'steps'),
    renoiseSteps: whole(values['renoise-steps'], 'renoise-steps'),
    width: whole(values.width, 'width'),
    height: whole(values.height, 'height'),
    guidanceScale: ramp(values.guidance, 'guidance'),
    temperature: ramp(values.temperature, 'temperature'),
  };
  for (const side of ['width', 'height'] as const)
    if ((given[side] ?? 0) > LARGEST) throw new Error(`--${side}: expected at most ${LARGEST}, got ${given[side]}`);
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

const both = (value: number | readonly [number, number]): readonly [number, number] =>
  typeof value === 'number' ? [value, value] : value;

/** What pictures are drawn with, as one that is drawn for this says. */
async function settingsOf(paella: Paella, options: GenerateOptions, seed: number): Promise<Settings> {
  const [image] = await paella.generate({ ...options, prompt: '', seed });
  const parameters = known(image).parameters;
  return {
    model: paella.model.name,
    backend: paella.backend,
    precision: paella.precision,
    width: known(parameters.width),
    height: known(parameters.height),
    steps: known(parameters.steps),
    renoiseSteps: known(parameters.renoiseSteps),
    guidanceScale: both(known(parameters.guidanceScale)),
    temperature: both(known(parameters.temperature)),
    seed,
  };
}

/** For what the engine never leaves out, though its type allows it. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a picture that does not say what it was drawn with');
  return value;
}

function progress(section: string): Progress {
  return (done, of) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${section}: ${done} of ${of}  `);
    else if (done === of) process.stderr.write(`${section}: ${done}\n`);
  };
}

async function main(): Promise<void> {
  const names = (values.sections?.split(',') ?? SECTION_NAMES).map((name) => oneOf(name, SECTION_NAMES, 'sections'));
  const options = samplerOptions();
  const seed = whole(values.seed, 'seed') ?? 1;
  const count = whole(values.count, 'count');
  const ordinary = ['model', 'pictures', 'output'];
  const isWhole = Object.entries(values).every(
    ([name, value]) => ordinary.includes(name) || value === undefined || value === 'auto',
  );
  const output = values.output ?? (isWhole ? PUBLISHED : PARTIAL);
  const expectations = await readExpectations(CAPTIONS);

  const paella = await Paella.load({
    model: values.model,
    backend: values.backend as 'auto',
    precision: values.precision as 'auto',
  });
  try {
    const painter: Painter = { paella, options, seed, pictures: values.pictures, progress };
    const settings = await settingsOf(paella, options, seed);
    const reports: Record<string, SectionReport> = {};
    const sweeps: Record<string, Sweep> = {};
    const files: Record<string, string | Buffer> = {};
    for (const name of names) {
      const {
        report,
        extra = {},
        sweep,
      }: SectionOutput = await SECTIONS[name]({ painter, settings, expectations, count });
      reports[name] = report;
      process.stderr.write('\n');
      process.stdout.write(`## ${report.title}\n\n${report.text}\n\n`);
      if (sweep) sweeps[name] = sweep;
      for (const [ending, content] of Object.entries(extra)) files[`${settings.model}-${ending}`] = content;
    }
    if (Object.keys(sweeps).length > 0) {
      for (const [ending, content] of Object.entries(await sweepChart(sweeps))) {
        files[`${settings.model}-${ending}`] = content;
      }
    }
    const command = commandOf('evaluate', process.argv.slice(2));
    files[`${settings.model}-evaluation.json`] = json(settings, reports);
    files[`${settings.model}-evaluation.md`] = markdown(settings, reports, command, Object.keys(files));
    const written = await writeTogether(output, files);
    process.stdout.write(`written: ${written.join(', ')}\n`);
  } finally {
    await paella.dispose();
  }
}

await main();
