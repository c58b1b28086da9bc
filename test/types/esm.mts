import {
  type BackendInfo,
  backends,
  type Condition,
  type ConvertReport,
  convert,
  type EngineStats,
  type GeneratedImage,
  type GenerateEvent,
  type GenerateOptions,
  generate,
  type LoadOptions,
  type ModelDomain,
  Paella,
  PaellaError,
  type PullReport,
  presets,
  pull,
  type StageTimings,
  type TokenGrid,
} from 'paella-native';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function exactly<_ extends true>(): void {}
/** `any` hides mistakes: nothing of the interface may be it. */
type NotAny<T> = 0 extends 1 & T ? false : true;

export async function checkpoints(): Promise<void> {
  const pulled = await pull('owner/name', { files: ['*.pt'], onProgress: ({ file }) => file.length });
  exactly<Equal<typeof pulled, PullReport>>();
  const report = await convert([pulled.folder], { output: 'x', precision: { unet: 'bf16' }, signal: undefined });
  exactly<Equal<typeof report, ConvertReport>>();
  exactly<NotAny<(typeof report.components)[0]['config']>>();
}

export async function use(): Promise<void> {
  const load: LoadOptions = {
    model: 'tiny',
    backend: 'cpu',
    precision: 'fp32',
    onProgress: ({ phase }) => phase.length,
  };
  await using engine = await Paella.load(load);
  const options: GenerateOptions = { prompt: 'a', guidanceScale: [1, 2], seed: undefined, onStep: (e) => e.step };
  const images = await engine.generate(options);
  await engine.generate({ prompt: 'a', ...presets.blog, guidanceScale: engine.model.defaults.guidanceScale });
  exactly<Equal<typeof images, GeneratedImage[]>>();
  const [image] = await generate('a red circle', load);
  if (!image) return;
  exactly<Equal<typeof image.channels, 3>>();
  exactly<Equal<typeof image.timings, StageTimings>>();
  exactly<NotAny<typeof image.data>>();
  exactly<NotAny<typeof image.parameters>>();
  const bytes = await image.encode('webp', { quality: 5 });
  exactly<Equal<typeof bytes, Buffer<ArrayBufferLike>>>();
  for await (const event of engine.stream('a')) {
    exactly<Equal<typeof event, GenerateEvent>>();
    if (event.type === 'preview') exactly<Equal<typeof event.preview.channels, 3>>();
    if (event.type === 'image') exactly<Equal<typeof event.image, GeneratedImage>>();
  }
  const condition: Condition = await engine.encodeText('a');
  exactly<Equal<typeof engine.model.domain, ModelDomain | undefined>>();
  const logits = await engine.predict({ tokens: new Int32Array(4), width: 2, height: 2, noiseLevel: 1, condition });
  exactly<NotAny<typeof logits>>();
  const grid: TokenGrid = await engine.encodeImage('a.png');
  await engine.decodeTokens(grid);
  const stats: EngineStats = engine.stats();
  exactly<Equal<typeof stats.images, number>>();
  const all: BackendInfo[] = await backends();
  exactly<Equal<(typeof all)[number]['name'], 'cpu' | 'cuda' | 'tensorrt'>>();
  const error = new PaellaError('ERR_IO', 'text');
  exactly<NotAny<typeof error.code>>();
  // @ts-expect-error no such option
  await engine.generate({ prompt: 'a', stpes: 1 });
  // @ts-expect-error no such backend
  await Paella.load({ backend: 'gpu' });
  // @ts-expect-error read-only
  image.seed = 1;
  // @ts-expect-error made by load() only
  new Paella();
}
