/** The engine: one loaded model on one backend. */
import { z } from 'zod';
import { fromNative, PaellaError } from '../errors.js';
import { GeneratedImage } from '../images/generated-image.js';
import { cropToMultiple, type ImageInput, readPixels } from '../images/input.js';
import { metadataOf } from '../images/metadata.js';
import type {
  NativeCondition,
  NativeEngine,
  NativeEvent,
  NativeGenerateResult,
  NativeJob,
  NativeLogLevel,
} from '../native/contract.js';
import { loadNative } from '../native/loader.js';
import type { WeightedText } from '../options/conditioning.js';
import {
  type GenerateOptions,
  guidedSteps,
  isTokenGrid,
  parametersOf,
  type ResolvedGenerateOptions,
  resolveGenerateOptions,
} from '../options/generate-options.js';
import {
  type LoadOptions,
  type LoadProgress,
  type Logger,
  type ResolvedLoadOptions,
  resolveLoadOptions,
} from '../options/load-options.js';
import { invalidOption, validate } from '../options/validate.js';
import { MAX_PROMPT_TOKENS, tokenize } from '../text/byt5-tokenizer.js';
import type { ClipTokenizer } from '../text/clip-tokenizer.js';
import { chooseBackend } from './backends.js';
import {
  attentionWeightsOf,
  checkClipMerges,
  clipPixels,
  clipTokenizerOf,
  negativeOf,
  type Texts,
  textsOf,
} from './condition.js';
import { modelInfoOf, noTimings, statsOf } from './describe.js';
import { domainOf } from './domain.js';
import { engineFolder } from './engine-cache.js';
import { readProfiles } from './engines.js';
import { runHeardJob, runJob } from './jobs.js';
import { resolveModel } from './model-folder.js';
import { type PredictInput, predictRequest } from './predict.js';
import { eventOf, requestOf, stepOf } from './request.js';
import { EventQueue, type GenerateEvent } from './stream.js';
import type { Condition, EngineStats, EngineWarning, ModelDomain, ModelInfo, TokenGrid } from './types.js';

const disposeSchema = z.strictObject({ abort: z.boolean().optional().describe('true or false') });

type WarningListener = (warning: EngineWarning) => void;

/**
 * Concurrent calls are welcome: those of equal size and steps share batches, the others wait their turn. Every call
 * may reject with `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`, `ERR_NUMERIC`, and what its own comment names.
 */
export class Paella implements AsyncDisposable {
  /** What is loaded. */
  readonly model: ModelInfo;
  /** 'cpu', 'cuda' or 'tensorrt'. */
  readonly backend: string;
  /** The processor's or GPU's name. */
  readonly device: string;
  /** What the matrix products compute in. */
  readonly precision: string;

  readonly #native: NativeEngine;
  readonly #logger: Logger | undefined;
  readonly #listeners = new Set<WarningListener>();
  /** Warnings that came before anybody could listen. */
  #unheard: EngineWarning[];
  #disposed: Promise<void> | undefined;
  #tokenizeMs = 0;
  readonly #clipTokenizer: ClipTokenizer | undefined;
  /** Pictures of calls that have begun and are not in the queue yet. */
  readonly #reading = new Set<Promise<unknown>>();

  private constructor(
    native: NativeEngine,
    logger: Logger | undefined,
    warnings: EngineWarning[],
    clipTokenizer: ClipTokenizer | undefined,
    domain: ModelDomain | undefined,
  ) {
    this.#native = native;
    this.#clipTokenizer = clipTokenizer;
    this.#logger = logger;
    this.#unheard = warnings;
    this.model = modelInfoOf(native.info, domain);
    this.backend = native.info.backend;
    this.device = native.info.device;
    this.precision = native.info.precision;
  }

  /**
   * Loads a model. Rejects with `ERR_INVALID_OPTION`, `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`,
   * `ERR_BACKEND_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`, `ERR_ADDON`, `ERR_NETWORK` and `ERR_IO` (a model of a hub), or
   * `signal.reason`.
   */
  static async load(options: LoadOptions = {}): Promise<Paella> {
    const resolved = resolveLoadOptions(options);
    resolved.signal?.throwIfAborted();
    const model = await resolveModel(resolved.model, resolved);
    if (!model.startsWith('random:')) await checkClipMerges(model);
    const domain = await domainOf(model);
    const { backend, devices, warnings } = await chooseBackend(resolved);
    const { signal, onProgress, logger, ...plain } = resolved satisfies ResolvedLoadOptions;
    const engines = { engineFolder: engineFolder(), engineProfiles: backend === 'tensorrt' ? readProfiles() : [] };
    const log = (level: NativeLogLevel, message: string) => logger?.[level]?.(message);
    const native = await runHeardJob(
      (hear: ((progress: LoadProgress) => void) | null) =>
        loadNative().load(
          { ...plain, model, backend, devices, ...engines },
          hear,
          logger && backend === 'tensorrt' ? log : null,
        ),
      onProgress,
      signal,
      (loaded) => loaded.dispose(true),
    );
    const clipTokenizer = await clipTokenizerOf(model, native.info).catch(async (error: unknown) => {
      await native.dispose(true);
      throw error;
    });
    const engine = new Paella(native, logger, [], clipTokenizer, domain);
    for (const warning of warnings) engine.#warn(warning);
    return engine;
  }

  /**
   * Draws images. Rejects with `ERR_INVALID_OPTION`, `ERR_QUEUE_FULL`, `ERR_DEADLINE`, or `signal.reason`.
   * @returns `count` images, in the order of their seeds
   */
  async generate(options: GenerateOptions | string): Promise<GeneratedImage[]> {
    return this.#start({ ...this.#resolve(options), previewEvery: 0 }).images;
  }

  /**
   * Draws images and tells about it: the place in the queue, each step, previews (`previewEvery`), the images.
   * Starts with the first `next()`; leaving the loop aborts the job. Rejects like `generate()`.
   */
  async *stream(options: GenerateOptions | string): AsyncGenerator<GenerateEvent, void, undefined> {
    const events = new EventQueue<GenerateEvent>();
    const job = this.#start(this.#resolve(options), (event) => events.push(event));
    const end = job.images.then(
      (images) => {
        for (const [index, image] of images.entries()) events.push({ type: 'image', index, image });
        events.close();
      },
      (error: unknown) => events.fail(error),
    );
    try {
      yield* events;
    } finally {
      job.cancel();
      await end;
    }
  }

  /** Encodes a prompt, for `generate({ condition })` and `predict()`. Rejects with `ERR_INVALID_OPTION`. */
  async encodeText(prompt: string): Promise<Condition> {
    if (typeof prompt !== 'string') throw invalidOption('prompt', 'a string', prompt);
    this.#checkAlive();
    const states = await runJob(() => this.#native.encodeText(this.#texts(prompt, 'prompt').ids));
    return { states, length: states.length / this.model.conditionWidth, width: this.model.conditionWidth, prompt };
  }

  /**
   * One pass of the network, without guidance. Rejects with `ERR_INVALID_OPTION`.
   * @returns logits [batch, height, width, vocabularySize]
   */
  async predict(input: PredictInput): Promise<Float32Array> {
    this.#checkAlive();
    const request = predictRequest(input, this.model, (prompt) => this.#texts(prompt, 'condition'));
    return runJob(() => this.#native.predict(request));
  }

  /**
   * Image → tokens. Sides that are no multiples of `model.pixelsPerToken` are cropped, the same on both ends.
   * Rejects with `ERR_INVALID_OPTION`, `ERR_IO`.
   */
  async encodeImage(image: ImageInput): Promise<TokenGrid> {
    this.#checkAlive();
    const { pixelsPerToken: multiple, maxSize } = this.model;
    const { data, width, height } = cropToMultiple(await this.#whileReading(readPixels(image)), multiple);
    if (width > maxSize || height > maxSize) {
      throw invalidOption(
        'image',
        `at most ${maxSize}×${maxSize} pixels`,
        `${width}×${height}`,
        'make it smaller first',
      );
    }
    const tokens = await runJob(() => this.#native.encodeImage(data, width, height));
    return { tokens, width: width / multiple, height: height / multiple };
  }

  /** Tokens → image. Rejects with `ERR_INVALID_OPTION`. */
  async decodeTokens(grid: TokenGrid): Promise<GeneratedImage> {
    this.#checkAlive();
    const { vocabularySize, pixelsPerToken, maxSize } = this.model;
    if (!isTokenGrid(grid, vocabularySize)) {
      throw invalidOption(
        'grid',
        `{ tokens: Int32Array(width × height) of ids below ${vocabularySize}, width, height }`,
        grid,
      );
    }
    const { tokens, width, height } = grid;
    const most = Math.floor(maxSize / pixelsPerToken);
    if (width > most || height > most)
      throw invalidOption('grid', `at most ${most}×${most} tokens`, `${width}×${height}`);
    const start = performance.now();
    const data = await runJob(() => this.#native.decodeTokens(tokens, width, height));
    const decode = performance.now() - start;
    return this.#image({
      width: width * pixelsPerToken,
      height: height * pixelsPerToken,
      data,
      tokens: { tokens: tokens.slice(), width, height },
      seed: 0,
      parameters: {},
      timings: { ...noTimings, decode, total: decode },
    });
  }

  /** Counters since loading, and memory now. */
  stats(): EngineStats {
    return statsOf(this.#native.stats(), this.#tokenizeMs);
  }

  /** Calls the listener for every warning; those from loading reach the first listener. */
  on(event: 'warning', listener: (warning: EngineWarning) => void): this {
    if (event !== 'warning') throw invalidOption('event', "'warning'", event);
    if (typeof listener !== 'function') throw invalidOption('listener', 'a function', listener);
    this.#listeners.add(listener);
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const warning of unheard) queueMicrotask(() => listener(warning));
    return this;
  }

  off(event: 'warning', listener: (warning: EngineWarning) => void): this {
    if (event === 'warning') this.#listeners.delete(listener);
    return this;
  }

  /**
   * Frees everything. What runs or waits is finished first, or aborted with `{ abort: true }` (those calls then
   * reject with `ERR_DISPOSED`). Later calls reject with `ERR_DISPOSED`; disposing twice is no error. Rejects with
   * `ERR_INVALID_OPTION`.
   */
  async dispose(options: { abort?: boolean | undefined } = {}): Promise<void> {
    const { abort = false } = validate(disposeSchema, options, 'options of dispose');
    this.#disposed ??= this.#disposeOf(abort);
    // An impatient second call still reaches the native side, which then stops what the first one waits for.
    if (abort) await this.#native.dispose(true).catch(() => undefined);
    await this.#disposed.catch((error: unknown) => {
      throw fromNative(error);
    });
  }

  /** Aborts what is still running: nobody can be waiting for it when a block is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose({ abort: true });
  }

  /** At once, unless calls that came before still read their pictures. */
  async #disposeOf(abort: boolean): Promise<void> {
    if (!abort && this.#reading.size > 0) {
      await Promise.allSettled(this.#reading);
      await new Promise(setImmediate); // the calls go on first, into the queue
    }
    await this.#native.dispose(abort);
  }

  #checkAlive(): void {
    if (this.#disposed)
      throw new PaellaError('ERR_DISPOSED', 'this engine was disposed of', { remedy: 'load a new one' });
  }

  #resolve(options: GenerateOptions | string): ResolvedGenerateOptions {
    this.#checkAlive();
    return resolveGenerateOptions(options, this.model);
  }

  /** Without `emit`, only what `onStep` needs is sent across. */
  #start(options: ResolvedGenerateOptions, emit?: (event: GenerateEvent) => void) {
    let job: NativeJob<NativeGenerateResult> | undefined;
    let cancelled = false;
    const hear = (event: NativeEvent) => {
      if (event.type === 'step') options.onStep?.(stepOf(event));
      emit?.(eventOf(event, options));
    };
    const run = async () => {
      const start = performance.now();
      // Without pictures the job is in the queue when the call returns.
      const { imagePrompts } = options.conditioning;
      const images = imagePrompts.length > 0 ? await this.#pictures(imagePrompts) : [];
      const condition = this.#condition(options, images);
      const negative = negativeOf(this.#texts(options.negativePrompt, 'negativePrompt'));
      if (options.negativePrompt !== '' && guidedSteps(options) === 0) {
        const message =
          'negativePrompt: expected a guidanceScale other than 1 in some step, got none; it has no effect';
        this.#warn({ code: 'NEGATIVE_PROMPT_UNUSED', message });
      }
      const tokenize = performance.now() - start;
      const listens = emit !== undefined || options.onStep !== undefined;
      const request = requestOf(options, condition, negative, this.model.pixelsPerToken, listens);
      const result = await runHeardJob(
        (told: ((event: NativeEvent) => void) | null) => {
          job = this.#native.generate(request, told);
          if (cancelled) job.cancel();
          return job;
        },
        listens ? hear : undefined,
        options.signal,
      );
      this.#tokenizeMs += tokenize;
      return this.#imagesOf(result, options, tokenize);
    };
    const cancel = () => {
      cancelled = true; // also where pictures are still read
      job?.cancel();
    };
    return { images: run(), cancel };
  }

  #imagesOf(result: NativeGenerateResult, options: ResolvedGenerateOptions, tokenize: number): GeneratedImage[] {
    const { width, height } = options;
    const perToken = this.model.pixelsPerToken;
    return result.images.map((image) =>
      this.#image({
        width,
        height,
        data: image.pixels,
        tokens: { tokens: image.tokens, width: width / perToken, height: height / perToken },
        seed: image.seed,
        parameters: parametersOf(options, image.seed),
        timings: { tokenize, ...result.timings },
      }),
    );
  }

  #image(fields: ConstructorParameters<typeof GeneratedImage>[0]): GeneratedImage {
    const engine = { model: this.model.name, backend: this.backend, precision: this.precision };
    return new GeneratedImage(fields, metadataOf(engine, fields.parameters));
  }

  async #pictures(imagePrompts: readonly ImageInput[]): Promise<Uint8Array[]> {
    return this.#whileReading(clipPixels(imagePrompts, this.#native.info.clipImageSize));
  }

  /** `dispose()` waits for calls that came before it, also for those that are not in the queue yet. */
  async #whileReading<T>(reading: Promise<T>): Promise<T> {
    this.#reading.add(reading);
    try {
      return await reading;
    } finally {
      this.#reading.delete(reading);
    }
  }

  /** @param images what `clipPixels` made of the pictures */
  #condition(options: ResolvedGenerateOptions, images: Uint8Array[]): NativeCondition {
    const { conditioning, condition } = options;
    // An encoding that knows its prompt still gives CLIP its words.
    const prompt = condition ? condition.prompt : (options.prompt ?? '');
    const texts = prompt === undefined ? undefined : this.#texts(prompt, 'prompt');
    const clipIds = texts?.clipIds;
    const weights = attentionWeightsOf(
      {
        tokens: condition?.length ?? texts?.ids.length ?? 0,
        clipTexts: clipIds ? 1 : 0,
        images: images.length + (conditioning.prior || conditioning.drawnImage ? 1 : 0),
      },
      this.#native.info,
      condition ? undefined : texts?.weights,
      conditioning.attentionWeights,
    );
    return {
      ...(condition ? { states: condition.states } : { ids: texts?.ids ?? tokenize('').ids }),
      ...(clipIds ? { clipIds } : {}),
      ...(images.length > 0 ? { images } : {}),
      ...(conditioning.prior ? { prior: conditioning.prior } : {}),
      ...(conditioning.drawnImage ? { drawnImage: true } : {}),
      ...(weights ? { weights } : {}),
    };
  }

  #texts(prompt: string | readonly WeightedText[], option: string): Texts {
    const texts = textsOf(prompt, this.#clipTokenizer);
    if (texts.length > MAX_PROMPT_TOKENS) {
      const message = `${option}: expected at most ${MAX_PROMPT_TOKENS} bytes of UTF-8, got ${texts.length}; the rest is not read`;
      this.#warn({ code: 'PROMPT_TRUNCATED', message });
    }
    return texts;
  }

  #warn(warning: EngineWarning): void {
    this.#logger?.warn?.(warning.message);
    if (this.#listeners.size === 0) this.#unheard = [...this.#unheard.slice(-15), warning];
    for (const listener of this.#listeners) listener(warning);
  }
}
