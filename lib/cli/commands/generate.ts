/** paella [generate] <prompt…> */

import { Paella } from '../../engine/paella.js';
import type { Preview } from '../../engine/stream.js';
import type { EncodeOptions, GeneratedImage } from '../../images/generated-image.js';
import { type GenerateOptions, randomSeed } from '../../options/generate-options.js';
import { invalidOption } from '../../options/validate.js';
import { OutputPlan } from '../output.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { describeTimings, roundTimings } from '../text.js';
import { noteOnce } from '../unknown-words.js';
import { loadValues, pick, value } from '../values.js';

const sampling = [
  ...[
    'negativePrompt',
    'imagePrompt',
    'preset',
    'width',
    'height',
    'steps',
    'renoiseSteps',
    'conditionalSteps',
    'guidanceScale',
  ],
  ...['temperature', 'sampler', 'typicalMass', 'seed', 'count'],
];

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  // No words at all is a mistake, "" is a prompt.
  const words = (args.prompt as string[] | undefined) ?? [];
  const prompt = words.length > 0 ? words.join(' ') : undefined;
  if (prompt === undefined) throw invalidOption('prompt', 'some words', undefined, 'run `paella --help`');
  const plan = new OutputPlan(args.output, args.format);
  const encode = pick(args, ['metadata', 'quality']) as EncodeOptions;
  await plan.check(encode);
  const options = {
    prompt,
    ...pick(args, sampling, ['negativePrompt', 'imagePrompt', 'preset', 'sampler']),
    ...priorOf(args),
    ...attentionOf(args.attentionWeights),
    // Known before the images are, because previews carry it in their names.
    ...(args.preview === undefined
      ? {}
      : { previewEvery: value(args.preview), seed: value(args.seed) ?? randomSeed() }),
    signal,
  } as GenerateOptions;

  const progress = new Progress();
  const started = performance.now();
  // The encoder's library opens while the model loads on its own thread.
  const sharp = import('sharp');
  sharp.catch(() => undefined); // reported where it is used
  const engine = await Paella.load({
    ...loadValues(args),
    signal,
    onProgress: progress.loading,
  });
  const loadMs = performance.now() - started;
  try {
    const tell = (line: string) => {
      progress.clear();
      process.stderr.write(`paella: ${line}\n`);
    };
    engine.on('warning', ({ message }) => tell(message));
    const images: GeneratedImage[] = [];
    const count = Number(options.count ?? 1);
    for await (const event of engine.stream(options)) {
      // Not earlier: with a wrong option there will be no picture that needs explaining.
      const note = event.type === 'queued' ? noteOnce(engine.model, prompt) : undefined;
      if (note !== undefined) tell(note);
      if (event.type === 'queued' && event.position > 0) progress.show(`waiting for ${event.position} jobs`);
      if (event.type === 'step') progress.bar(`step ${event.step}/${event.steps}`, event.step, event.steps);
      if (event.type === 'preview') {
        const file = plan.pathFor({ prompt: prompt, seed: Number(options.seed) + event.index, count });
        await writePreview(event.preview, `${file.replace(/\.\w+$/, '')}-step-${event.step}.png`);
      }
      if (event.type === 'image') images.push(event.image);
    }
    const files: string[] = [];
    for (const image of images) {
      signal.throwIfAborted();
      const file = plan.pathFor({ prompt: prompt, seed: image.seed, count });
      await image.save(file, encode);
      files.push(file);
    }
    progress.clear();
    if (json) printJson(documentOf(engine, images, files, loadMs));
    else for (const [i, image] of images.entries()) print(lineOf(engine, image, files[i] ?? ''));
    if (!json) print(describeTimings(images[0]?.timings, loadMs));
  } finally {
    progress.clear();
    await engine.dispose({ abort: true });
  }
}

/** --no-prior, --prior, or what is said of it. */
function priorOf(args: Arguments): { prior?: unknown } {
  const { priorSteps: steps, priorGuidanceScale: guidanceScale, priorMethod: method } = args;
  const said = { steps: value(steps), guidanceScale: value(guidanceScale), method };
  const given = Object.entries(said).filter(([, each]) => each !== undefined);
  if (args.prior === false && given.length > 0)
    throw invalidOption('--no-prior', 'no other option of the prior', given[0]?.[1]);
  if (given.length > 0) return { prior: Object.fromEntries(given) };
  return args.prior === undefined ? {} : { prior: args.prior };
}

/** 'notebook', or '1,1,0.4' → [1, 1, 0.4]; what is no number is named by the library's check. */
function attentionOf(text: unknown): { attentionWeights?: unknown } {
  if (text === undefined) return {};
  if (typeof text !== 'string') return { attentionWeights: text };
  return { attentionWeights: text === 'notebook' ? text : text.split(',').map((part) => value(part)) };
}

async function writePreview({ data, width, height }: Preview, file: string): Promise<void> {
  const [{ default: sharp }, { writeAtomically }] = await Promise.all([
    import('sharp'),
    import('../../images/files.js'),
  ]);
  await writeAtomically(
    file,
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

function lineOf(engine: Paella, image: GeneratedImage, file: string): string {
  return `${file}  ${image.width}×${image.height}  seed ${image.seed}  ${engine.model.name} on ${engine.backend} in ${engine.precision}`;
}

function documentOf(engine: Paella, images: GeneratedImage[], files: string[], loadMs: number) {
  return {
    model: engine.model.name,
    backend: engine.backend,
    device: engine.device,
    precision: engine.precision,
    loadMs: Math.round(loadMs * 100) / 100,
    images: images.map((image, i) => ({
      file: files[i],
      seed: image.seed,
      width: image.width,
      height: image.height,
      parameters: image.parameters,
      timings: roundTimings(image.timings),
    })),
  };
}
