/**
 * The options of each command. All values are read as text; numbers are recognised afterwards (`values.ts`), so that
 * the library's own checks see, and name, exactly what was typed.
 */
import type { Argv, Options } from 'yargs';
import { benchDefaults } from './bench/defaults.js';

const text = (describe: string, extra: Options = {}): Options => ({
  type: 'string',
  requiresArg: true,
  describe,
  ...extra,
});
const flag = (describe: string): Options => ({ type: 'boolean', describe });

const json = { json: flag('print one JSON document on stdout and nothing else') };

const load: Record<string, Options> = {
  model: text("a model's name or folder, or random:<configuration>", { alias: 'm', defaultDescription: 'tiny' }),
  backend: text('auto, tensorrt, cuda or cpu', { defaultDescription: 'auto' }),
  device: text('number of the GPU', { defaultDescription: '0' }),
  devices: text('several GPUs: all, or numbers separated by commas'),
  precision: text('auto, fp32, bf16, fp16 or int8', { defaultDescription: 'auto' }),
  threads: text('threads of the CPU backend', { defaultDescription: 'all cores' }),
  'max-batch': text('most images in one batch', { defaultDescription: '8' }),
  memory: text('what stays loaded: resident, balanced (without what encodes prompts) or low (one at a time)', {
    defaultDescription: 'resident',
  }),
  'encoder-weights': text('weights of what encodes prompts: full, or int8 for half the memory', {
    defaultDescription: 'full',
  }),
};

const image: Record<string, Options> = {
  output: text('file or folder to write to', { alias: 'o' }),
  format: text('png, jpeg, webp or avif', { defaultDescription: 'from the file name, else png' }),
  quality: text('of JPEG, WebP and AVIF, 1 to 100'),
  metadata: { type: 'boolean', default: true, describe: 'store the parameters in the file (--no-metadata: not)' },
};

const sampling: Record<string, Options> = {
  'negative-prompt': text('what to lead away from'),
  'image-prompt': { ...text('a picture to follow; may be given more than once'), array: true },
  preset: text('published settings: notebook, space, blog, training or plugin'),
  prior: {
    type: 'boolean',
    describe: 'draw an image embedding first (--no-prior: not)',
    defaultDescription: 'if there is one',
  },
  'prior-steps': text('steps of the prior'),
  'prior-guidance-scale': text('guidance of the prior'),
  'prior-method': text('ddpm or ddim'),
  'attention-weights': text('notebook, or numbers separated by commas, for the last entries of the condition'),
  width: text('pixels', { alias: 'W' }),
  height: text('pixels', { alias: 'H' }),
  steps: text('passes through the network'),
  'renoise-steps': text('steps after which part of the tokens is made noise again'),
  'conditional-steps': text('guided steps; the rest run without guidance'),
  'guidance-scale': text('how strongly to follow the prompt: a number, or first,last', { alias: 'g' }),
  temperature: text('of the draw: a number, or first,last', { alias: 't' }),
  sampler: text('multinomial or argmax'),
  'typical-mass': text('typical filtering, 0 (off) to 1'),
  seed: text('seed of the first image', { alias: 's', defaultDescription: 'random' }),
  count: text('number of images', { alias: 'n', defaultDescription: '1' }),
};

export function generateOptions(parser: Argv): Argv {
  return parser
    .positional('prompt', { type: 'string', array: true, describe: 'what to draw' })
    .options(sampling)
    .options(image)
    .options({ preview: text('write a preview file after every n-th step') })
    .options(load)
    .options(json)
    .example('paella "a red circle above a blue square" --seed 7 -o circle.png', '')
    .example('paella generate a green triangle -n 4 -o pictures/', '');
}

export function doctorOptions(parser: Argv): Argv {
  return parser.options({ backend: text('exit with 1 unless this backend is available') }).options(json);
}

export function inspectOptions(parser: Argv): Argv {
  return parser
    .positional('what', { type: 'string', describe: 'an image, or a model' })
    .options({
      precision: text('of the estimate: fp32, bf16, fp16 or int8', { defaultDescription: 'bf16' }),
      'encoder-weights': text('of the estimate: full or int8', { defaultDescription: 'full' }),
      width: text('of the estimate, pixels', { alias: 'W', defaultDescription: "the model's" }),
      height: text('of the estimate, pixels', { alias: 'H', defaultDescription: "the width, or the model's" }),
      count: text('of the estimate, images at a time', { alias: 'n', defaultDescription: '1' }),
    })
    .options(json);
}

export function encodeOptions(parser: Argv): Argv {
  return parser
    .positional('image', { type: 'string', describe: 'PNG, JPEG, WebP, AVIF, …' })
    .options({ output: text('JSON file to write', { alias: 'o', defaultDescription: 'stdout' }) })
    .options(load)
    .options(json);
}

export function decodeOptions(parser: Argv): Argv {
  return parser
    .positional('tokens', { type: 'string', describe: 'a file written by `paella encode`, or - for stdin' })
    .options(image)
    .options(load)
    .options(json);
}

export function exportOptions(parser: Argv): Argv {
  return parser
    .positional('name', { type: 'string', describe: 'the model, instead of --model' })
    .options({
      model: load.model as Options,
      output: text('folder to make', { alias: 'o' }),
      precision: text('of the products: fp32, bf16 or fp16', { defaultDescription: 'fp32' }),
      networks: text('names separated by commas, e.g. unet,vqgan-decoder', { defaultDescription: 'all' }),
      opset: text('version of the ONNX operators, 20 to 22', { defaultDescription: '20' }),
      force: flag('replace an earlier export'),
    })
    .options(json)
    .example('paella export tiny -o onnx/', '');
}

export function engineOptions(parser: Argv): Argv {
  const sizes = (what: string) => `${what}: one number, or smallest,best,largest`;
  return parser
    .positional('action', { type: 'string', describe: 'build, list, inspect or clean' })
    .positional('names', { type: 'string', array: true, describe: 'build: the model; inspect, clean: engines' })
    .options({
      model: text("a model's name or folder, or random:<configuration>", { alias: 'm', defaultDescription: 'tiny' }),
      precision: text('fp32, bf16 or fp16', { defaultDescription: 'bf16' }),
      flavour: text('enterprise (TensorRT) or rtx (TensorRT-RTX)', { defaultDescription: 'the first that works here' }),
      'compute-capability': text('like 8.9: for GPUs that need not be here (TensorRT-RTX)'),
      device: text('number of the GPU', { defaultDescription: '0' }),
      networks: text('unet, vqgan-decoder', { defaultDescription: 'both' }),
      profile: text('names of profiles, separated by commas', { defaultDescription: 'all' }),
      profiles: text('file of profiles', { defaultDescription: 'engines/profiles.json of the package' }),
      batch: text(sizes('images')),
      width: text(sizes('pixels')),
      height: text(sizes('pixels')),
      condition: text(sizes('tokens of a prompt')),
      steps: text(sizes('steps')),
      'workspace-limit': text('most working memory of one operation, in MiB', {
        defaultDescription: 'what the GPU has',
      }),
      verbose: flag('show what TensorRT has to say'),
      all: flag('clean: every engine'),
    })
    .options(json)
    .example('paella engine build tiny --compute-capability 8.9', '')
    .example('paella engine build --width 64,256,512 --batch 1,1,4', '');
}

export function benchOptions(parser: Argv): Argv {
  const list = (what: string) => `${what}; a comma-separated list gives one run for each`;
  return parser
    .positional('files', { type: 'string', array: true, describe: 'with --compare: one or two results in JSON' })
    .options({
      scenario: text(
        'single (latency), offline (throughput), server (requests at random times), stages (time by stage and step), scaling (curves), cold (process start to first image) or soak (drift)',
        { defaultDescription: 'single' },
      ),
      ...load,
      backend: text(list('backend')),
      precision: text(list('precision')),
      threads: text(list('threads')),
      'max-batch': text(list('most images in one batch'), { defaultDescription: '8' }),
      'max-delay-ms': text(list('server, offline: how long a request may wait for others'), {
        defaultDescription: '0',
      }),
      'max-queue': text('server: most requests that may wait; more are dropped', { defaultDescription: '256' }),
      width: text(list('pixels')),
      height: text('pixels; default: as width, in each run'),
      steps: text(list('steps')),
      count: text(list('images per call')),
      'guidance-scale': text(list('guidance')),
      prompt: text('what to draw', { default: benchDefaults.prompt }),
      prompts: text('fresh: each call has a prompt of its own, which is encoded; same: encoded once', {
        defaultDescription: 'fresh',
      }),
      seed: text('of the first call, and of the arrivals', { defaultDescription: '1' }),
      repeat: text('measured runs', { default: benchDefaults.repeat }),
      warmup: text('runs before, not counted; the first of all is reported as `firstMs`', {
        default: benchDefaults.warmup,
      }),
      concurrency: text('offline: calls at once', { defaultDescription: '2' }),
      rate: text('server: requests per second; a list gives one run for each'),
      'find-rate': text('server: search the highest rate that keeps a percentile, like p95=100 (milliseconds)'),
      'deadline-ms': text('server: later answers count as late'),
      duration: text('server, soak: seconds', { defaultDescription: 'server 10' }),
      generations: text('soak: calls, instead of a duration', { defaultDescription: '1000' }),
      axis: text('scaling: some of pixels, steps, batch, threads', { defaultDescription: 'all' }),
      against: text(
        'single: other options, like "threads=1 precision=fp32": both configurations run in turns, A B A B',
      ),
      compare: flag('compare results instead: paella bench --compare a.json b.json'),
      ignore: text('with --compare: parameters that may differ, like precision,threads'),
      format: text('md, json, jsonl or csv; -o takes these too', {
        choices: ['md', 'json', 'jsonl', 'csv'],
        defaultDescription: 'from the file name, else md',
      }),
      output: text('file to write', { alias: 'o', defaultDescription: 'stdout' }),
      chart: text('chart to write: .svg or .png'),
    })
    .options({ json: flag('the same as --format json') })
    .example('paella bench --steps 4,8,16 --count 1,8 -o json', '')
    .example('paella bench --scenario server --find-rate p95=100 --max-batch 1,8 --chart rates.svg', '')
    .example('paella bench --compare before.json after.json', '');
}

export function convertOptions(parser: Argv): Argv {
  return parser
    .positional('checkpoints', {
      type: 'string',
      array: true,
      describe: 'files, folders, or repositories that were pulled',
    })
    .options({
      output: text('model folder to write', { alias: 'o' }),
      precision: text('keep, fp32, bf16 or fp16; or one per network: unet=bf16,text_encoder=bf16', {
        defaultDescription: 'keep',
      }),
      name: text("the model's name", { defaultDescription: "the folder's" }),
      force: flag('replace a model folder that is there'),
      incomplete: flag('write the networks that there are, even if a model needs more'),
    })
    .options(json)
    .example('paella convert dome272/Paella google/byt5-xl -o paella-v3 --precision bf16', '')
    .example('paella convert downloads/ -o paella-v3', '');
}

export function pullOptions(parser: Argv): Argv {
  return parser
    .positional('repository', { type: 'string', describe: 'owner/name, or owner/name@revision' })
    .positional('files', {
      type: 'string',
      array: true,
      describe: 'names or patterns; default: weights and what describes them',
    })
    .options({ revision: text('branch, tag or commit', { defaultDescription: 'main' }) })
    .options(json);
}
