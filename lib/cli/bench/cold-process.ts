/**
 * A process of its own for `paella bench --scenario cold`: from nothing to an image. Its argument is JSON, the options of
 * load and generate; it prints one line of JSON: when it got where (milliseconds since 1970), or the error.
 */
import type { GenerateOptions } from '../../options/generate-options.js';
import type { LoadOptions } from '../../options/load-options.js';

const now = () => performance.timeOrigin + performance.now();

export interface ColdMarks {
  entered: number;
  imported: number;
  loaded: number;
  drawn: number;
  model: { model: string; backend: string; device: string; precision: string };
  parameters: GenerateOptions;
  peakBytes: number;
  rssBytes: number;
}

export interface ColdFailure {
  error: { code: string; message: string; remedy?: string };
}

async function run(): Promise<ColdMarks> {
  const entered = now();
  const { load, generate } = JSON.parse(process.argv[2] ?? '') as { load: LoadOptions; generate: GenerateOptions };
  const { Paella } = await import('../../engine/paella.js');
  const imported = now();
  const engine = await Paella.load(load);
  const loaded = now();
  const [image] = await engine.generate(generate);
  const drawn = now();
  const { backend, device, precision } = engine;
  const marks = {
    ...{ entered, imported, loaded, drawn },
    model: { model: engine.model.name, backend, device, precision },
    parameters: image?.parameters ?? {},
    peakBytes: engine.stats().memory.peak,
    rssBytes: process.memoryUsage.rss(),
  };
  await engine.dispose();
  return marks;
}

try {
  process.stdout.write(`${JSON.stringify(await run())}\n`);
} catch (error) {
  const { code = 'ERR_ADDON', message, remedy } = error as Error & { code?: string; remedy?: string };
  const failure: ColdFailure = { error: { code, message, ...(remedy === undefined ? {} : { remedy }) } };
  process.stdout.write(`${JSON.stringify(failure)}\n`);
  process.exitCode = 1;
}
