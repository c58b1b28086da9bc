/** A loaded engine that is asked for images, call after call, and the rows that tell of it. */
import { availableParallelism } from 'node:os';
import { Paella } from '../../engine/paella.js';
import type { StageTimings } from '../../engine/types.js';
import type { GeneratedImage } from '../../images/generated-image.js';
import type { GenerateOptions } from '../../options/generate-options.js';
import type { LoadProgress } from '../../options/load-options.js';
import { subject } from './environment.js';
import type { BenchRow } from './schema.js';
import { type Configuration, numbered } from './settings.js';
import { round, summarize } from './statistics.js';

export interface Call {
  /** From JavaScript. */
  ms: number;
  images: GeneratedImage[];
}

/** What is not the same in the rows of every scenario. */
type OwnFields = Partial<BenchRow> & Pick<BenchRow, 'scenario' | 'warmup' | 'samples'>;

/** Who hears of loading, and can stop it and every call. */
interface Loading {
  signal: AbortSignal;
  loading(progress: LoadProgress): void;
}

export class Session {
  readonly engine: Paella;
  readonly configuration: Configuration;
  readonly loadMs: number;
  /** Of the very first call. */
  firstMs: number | null = null;
  readonly #signal: AbortSignal;
  #parameters: GenerateOptions = {};
  #calls = 0;

  private constructor(engine: Paella, configuration: Configuration, loadMs: number, signal: AbortSignal) {
    this.engine = engine;
    this.configuration = configuration;
    this.loadMs = loadMs;
    this.#signal = signal;
  }

  static async open(configuration: Configuration, { signal, loading }: Loading): Promise<Session> {
    const start = performance.now();
    const engine = await Paella.load({ ...configuration.load, signal, onProgress: loading });
    return new Session(engine, configuration, performance.now() - start, signal);
  }

  /** One call of generate(). Calls may overlap. */
  async call(own: GenerateOptions = {}): Promise<Call> {
    const { generate, prompt, fresh, seed } = this.configuration;
    const number = this.#calls++;
    const start = performance.now();
    const images = await this.engine.generate({
      ...generate,
      ...own,
      prompt: fresh ? numbered(prompt, number) : prompt,
      seed: seed + number * this.batch,
      signal: this.#signal,
    });
    const ms = performance.now() - start;
    this.firstMs ??= ms;
    this.#parameters = images[0]?.parameters ?? {};
    return { ms, images };
  }

  /** Images of a call. */
  get batch(): number {
    return this.configuration.generate.count ?? 1;
  }

  /** Of the last call: what `generate()` used. */
  get parameters(): GenerateOptions {
    return this.#parameters;
  }

  async warmUp(calls: number, onCall?: (done: number) => void): Promise<void> {
    for (let i = 0; i < calls; i++) {
      await this.call();
      onCall?.(i + 1);
    }
  }

  /** A row, once there was a call. */
  row(own: OwnFields): BenchRow {
    const { engine, configuration } = this;
    const ms = summarize(own.samples);
    return {
      ...describe({ ...engine, model: engine.model.name }, configuration, this.#parameters),
      sampleOf: 'call',
      firstMs: this.firstMs === null ? null : round(this.firstMs),
      loadMs: round(this.loadMs),
      ms,
      imagesPerSecond: round((this.batch * 1000) / ms.mean),
      stages: {},
      peakBytes: engine.stats().memory.peak,
      rssBytes: process.memoryUsage.rss(),
      ...own,
      samples: own.samples.map((sample) => round(sample)),
    };
  }

  async close(): Promise<void> {
    await this.engine.dispose({ abort: true });
  }
}

/** Opens, works, and closes whatever happens. */
export async function withSession<T>(
  configuration: Configuration,
  during: Loading,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await Session.open(configuration, during);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

interface Loaded {
  model: string;
  backend: string;
  device: string;
  precision: string;
}

/** What a row says of the engine and the calls. */
export function describe(loaded: Loaded, configuration: Configuration, parameters: GenerateOptions) {
  const { load, generate, command, fresh } = configuration;
  const { width = 1, height = 1, steps = 1, guidanceScale = null } = parameters;
  const { model, backend, device, precision } = loaded;
  return {
    ...subject(),
    time: new Date().toISOString(),
    command,
    evidence: 'measured',
    ...{ model, weights: load.model?.startsWith('random:') ? 'random' : 'trained' },
    ...{ device, backend, precision },
    threads: backend === 'cpu' ? (load.threads ?? availableParallelism()) : null,
    ...{ width, height, steps, batch: generate.count ?? 1 },
    ...{ guidance: guidanceOf(guidanceScale), scheduler: null, compile: null },
    ...(load.maxBatch === undefined ? {} : { maxBatch: load.maxBatch }),
    ...(load.maxDelayMs === undefined ? {} : { maxDelayMs: load.maxDelayMs }),
    ...(load.maxQueue === undefined ? {} : { maxQueue: load.maxQueue }),
    ...(load.memory === undefined ? {} : { memory: load.memory }),
    ...(load.encoderWeights === undefined ? {} : { encoderWeights: load.encoderWeights }),
    counted: { textEncoding: fresh, decode: true },
  } as const satisfies Partial<BenchRow>;
}

/** A scale that is the same in all steps is one number. */
function guidanceOf(scale: number | readonly [number, number] | null): BenchRow['guidance'] {
  if (typeof scale === 'number' || scale === null) return scale;
  return scale[0] === scale[1] ? scale[0] : [scale[0], scale[1]];
}

export function stageMedians(timings: readonly StageTimings[]): Record<string, number> {
  const stages = Object.keys(timings[0] ?? {}) as (keyof StageTimings)[];
  return Object.fromEntries(stages.map((stage) => [stage, summarize(timings.map((timing) => timing[stage])).p50]));
}
