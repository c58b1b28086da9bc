/** Published times that the report cites. None was measured by this project; each has its source. */

export interface Anchor {
  what: string;
  pixels: string;
  steps: string;
  gpu: string;
  batch: number;
  /** Milliseconds of an image, in the source's own words where it has no number. */
  ms: string;
  source: { name: string; url: string };
}

const theBatch = {
  name: 'The Batch, 2023',
  url: 'https://www.deeplearning.ai/the-batch/the-paella-model-for-fast-image-generation-explained/',
};
const hackerNews = { name: 'discussion of it, 2023', url: 'https://news.ycombinator.com/item?id=36467855' };
const fal = {
  name: 'fal-ai/stable-diffusion-benchmarks',
  url: 'https://github.com/fal-ai/stable-diffusion-benchmarks',
};
const amused = { name: 'aMUSEd, arXiv 2401.01808', url: 'https://arxiv.org/abs/2401.01808' };
const turbo = {
  name: 'stabilityai/sdxl-turbo-tensorrt',
  url: 'https://huggingface.co/stabilityai/sdxl-turbo-tensorrt',
};
const streamDiffusion = {
  name: 'cumulo-autumn/StreamDiffusion',
  url: 'https://github.com/cumulo-autumn/StreamDiffusion',
};

/** What was claimed of Paella, and what was answered. */
export const claim: readonly Anchor[] = [
  {
    what: 'Paella v1 (573 million parameters), PyTorch',
    ...{ pixels: '256', steps: '8', gpu: 'A100', batch: 1, ms: '500', source: theBatch },
  },
  {
    what: 'Stable Diffusion, same comparison',
    ...{ pixels: '256', steps: 'not told', gpu: 'A100', batch: 1, ms: '3200', source: theBatch },
  },
  {
    what: 'Stable Diffusion with `torch.compile` and a newer scheduler, as the critics put it',
    ...{ pixels: '512', steps: 'not told', gpu: 'A100', batch: 1, ms: 'about 1000', source: hackerNews },
  },
  {
    what: 'a Stable Diffusion 1.5 that was tuned for 256 px, likewise',
    ...{ pixels: '256', steps: 'not told', gpu: 'not told', batch: 1, ms: '200', source: hackerNews },
  },
];

/** What others published since. */
export const others: readonly Anchor[] = [
  {
    what: 'Stable Diffusion 1.5, diffusers, eager',
    ...{ pixels: '512', steps: '50', gpu: 'A100', batch: 1, ms: '1603', source: fal },
  },
  {
    what: 'Stable Diffusion 1.5, diffusers, `torch.compile`, channels last',
    ...{ pixels: '512', steps: '50', gpu: 'A100', batch: 1, ms: '1057', source: fal },
  },
  {
    what: 'Stable Diffusion 1.5, TensorRT 9.0',
    ...{ pixels: '512', steps: '50', gpu: 'A100', batch: 1, ms: '818', source: fal },
  },
  {
    what: 'SDXL-Turbo, TensorRT',
    ...{ pixels: '512', steps: '4', gpu: 'A100', batch: 1, ms: '139', source: turbo },
  },
  {
    what: 'SDXL-Turbo, TensorRT',
    ...{ pixels: '512', steps: '4', gpu: 'H100', batch: 1, ms: '84', source: turbo },
  },
  {
    what: 'SD-Turbo, TensorRT, images in a stream one behind the other',
    ...{ pixels: '512', steps: '1', gpu: 'RTX 4090', batch: 1, ms: '9.4', source: streamDiffusion },
  },
  {
    what: 'aMUSEd (tokens, like Paella), eager',
    ...{ pixels: '256', steps: '12', gpu: 'A100', batch: 1, ms: '474', source: amused },
  },
  {
    what: 'aMUSEd, `torch.compile`',
    ...{ pixels: '256', steps: '12', gpu: 'A100', batch: 1, ms: '212', source: amused },
  },
  {
    what: 'aMUSEd, `torch.compile`',
    ...{ pixels: '256', steps: '12', gpu: 'A100', batch: 8, ms: '53.5', source: amused },
  },
];

/**
 * What a reader wants to know of each kind of machine. A row answers where everything that is told fits; nothing measured:
 * the report says "missing".
 */
export interface Question {
  what: string;
  subject: string;
  models: readonly string[];
  pixels: number;
  steps: number;
  /** undefined: does not matter. */
  compiled?: boolean;
}

const official = ['random:paella-v3', 'paella-v3'];
/** Two layers of the text encoder, no CLIP, no prior. */
const reduced = ['random:paella-v3-256'];
const diffusers = 'Stable Diffusion 1.5, diffusers';
const sd15 = { subject: 'diffusers', models: ['stable-diffusion-v1-5'] };
const cpp = { subject: 'stable-diffusion.cpp', models: ['stable-diffusion-v1-5'] };
const own = { subject: 'paella-native', steps: 8 };
const inPytorch = "the same in PyTorch, this project's reference network";
const pytorch = { subject: 'pytorch-paella', models: reduced, pixels: 256, steps: 8 };

export const questions: readonly Question[] = [
  { what: 'Paella v3, this package', ...own, models: official, pixels: 256 },
  { what: 'Paella v3, this package', ...own, models: official, pixels: 512 },
  { what: 'Paella v3 with a short text encoder and no prior, this package', ...own, models: reduced, pixels: 256 },
  { what: inPytorch, ...pytorch, compiled: false },
  { what: inPytorch, ...pytorch, compiled: true },
  { what: diffusers, ...sd15, pixels: 512, steps: 50, compiled: false },
  { what: diffusers, ...sd15, pixels: 512, steps: 50, compiled: true },
  { what: diffusers, ...sd15, pixels: 512, steps: 20, compiled: false },
  { what: diffusers, ...sd15, pixels: 512, steps: 20, compiled: true },
  { what: diffusers, ...sd15, pixels: 256, steps: 20, compiled: false },
  { what: diffusers, ...sd15, pixels: 256, steps: 20, compiled: true },
  { what: 'Stable Diffusion 1.5, stable-diffusion.cpp', ...cpp, pixels: 512, steps: 20 },
  { what: 'Stable Diffusion 1.5, stable-diffusion.cpp', ...cpp, pixels: 256, steps: 20 },
  { what: 'LCM of Stable Diffusion 1.5, diffusers', ...of('lcm-dreamshaper-v7'), pixels: 512, steps: 4 },
  { what: 'LCM of Stable Diffusion 1.5, diffusers', ...of('lcm-dreamshaper-v7'), pixels: 256, steps: 4 },
  { what: 'SD-Turbo, diffusers', ...of('sd-turbo'), pixels: 512, steps: 1 },
  { what: 'SD-Turbo, diffusers', ...of('sd-turbo'), pixels: 256, steps: 1 },
  { what: 'SDXL-Turbo, diffusers', ...of('sdxl-turbo'), pixels: 512, steps: 1 },
  { what: 'SDXL-Turbo, diffusers', ...of('sdxl-turbo'), pixels: 512, steps: 4 },
  { what: 'aMUSEd 256, diffusers', ...of('amused-256'), pixels: 256, steps: 12 },
];

function of(model: string) {
  return { subject: 'diffusers', models: [model] };
}
