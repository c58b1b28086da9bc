/**
 * The typed contract between TypeScript and the C++ addon (native/addon/). Everything numeric happens behind it;
 * text, options, errors, files and events happen in front of it.
 *
 * Threads: every engine owns one native thread. Calls return at once; promises settle and events arrive on the
 * JavaScript thread that made the call. Typed arrays passed in are copied before the call returns.
 *
 * Errors: native code rejects with a plain `Error` that carries `code` (one of PaellaErrorCode) and, where there is
 * one, `remedy`. A job that was aborted rejects with code `ERR_ABORTED`; lib/ replaces it by `signal.reason`.
 */

/** Milliseconds spent per stage; the names are the same in C++, logs and benchmarks. */
export interface NativeTimings {
  queue: number;
  /** Prompts, in words and in pictures. */
  encode_text: number;
  prior: number;
  unet: number;
  guide: number;
  sample: number;
  renoise: number;
  decode: number;
  /** From the moment the job was taken from the queue to its result. */
  total: number;
}

export interface NativeDevice {
  name: string;
  computeCapability?: string;
  memoryTotal: number;
  memoryFree: number;
}

export interface NativeBackendInfo {
  name: 'cpu' | 'cuda' | 'tensorrt';
  available: boolean;
  /** Why it is not available. */
  reason?: string;
  /** What to do about it. */
  remedy?: string;
  /** Not available though one would expect it: installed or with a GPU, but it does not fit or does not work. */
  unexpected: boolean;
  devices: NativeDevice[];
  /** Precisions the backend can compute in on this machine, e.g. ['fp32', 'bf16']. */
  precisions: string[];
  /** Free text for `paella doctor`: instruction set, oneDNN version, … */
  details: Record<string, string>;
}

export interface NativeLoadRequest {
  /** Absolute path of a model folder, or 'random:<configuration>'. */
  model: string;
  backend: 'cpu' | 'cuda' | 'tensorrt';
  /** One worker for each; all share one queue. */
  devices: number[];
  precision: 'auto' | 'fp32' | 'bf16' | 'fp16' | 'int8';
  /** 0 = number of usable cores. */
  threads: number;
  maxBatch: number;
  maxDelayMs: number;
  maxQueue: number;
  memory: 'resident' | 'balanced' | 'low';
  encoderWeights: 'full' | 'int8';
  /** For backend tensorrt: where plans are cached, and for which sizes they are built. */
  engineFolder: string;
  engineProfiles: NativeEngineProfile[];
}

/** [smallest, best, largest] */
export type NativeRange = [number, number, number];

/** Images, pixels, tokens of a prompt. */
export interface NativeEngineProfile {
  name: string;
  /** '': any. */
  precision: string;
  batch: NativeRange;
  width: NativeRange;
  height: NativeRange;
  condition: NativeRange;
  steps: NativeRange;
}

export interface NativeEngineBuildRequest {
  /** Absolute path of a model folder, or 'random:<configuration>'. */
  model: string;
  /** Of the cache; made when it is needed. */
  folder: string;
  precision: 'fp32' | 'bf16' | 'fp16';
  /** '': the first that works here. */
  flavour: '' | 'enterprise' | 'rtx';
  /** '': of the GPU `device`. */
  computeCapability: string;
  device: number;
  profiles: NativeEngineProfile[];
  /** Empty: all. */
  networks: ('unet' | 'vqgan-decoder')[];
  /** 0: what the GPU has. */
  workspaceBytes: number;
}

export type NativeLogLevel = 'debug' | 'info' | 'warn' | 'error';

export type NativeEngineBuildEvent =
  | { type: 'progress'; network: string; phase: string; step: number; steps: number }
  | { type: 'log'; level: NativeLogLevel; message: string };

export interface NativeBuiltEngine {
  network: 'unet' | 'vqgan-decoder';
  profile: string;
  /** The plan. */
  file: string;
  /** SHA-256 of everything that decides whether the plan may be used. */
  key: string;
  /** False: it was in the cache. */
  built: boolean;
  bytes: number;
  /** What was wrong with the one that was in the cache. */
  whyRebuilt?: string;
}

/** Progress of loading: phase is the component's folder name. Bytes. */
export interface NativeLoadProgress {
  phase: string;
  loaded: number;
  total: number;
}

export interface NativeModelInfo {
  name: string;
  family: 'v3' | 'v1';
  /** Parameters per component, e.g. { text_encoder: 1_000_000, unet: …, vqgan: … }. */
  parameters: Record<string, number>;
  /** Bytes of weights held in memory, per component, in compute precision. */
  bytes: Record<string, number>;
  sizeMultiple: number;
  /** Pixels per token along one side (4 for f4). */
  pixelsPerToken: number;
  vocabularySize: number;
  /** Width of a condition vector: the text encoder's d_model. */
  conditionWidth: number;
  maxSize: number;
  /** Most tokens of CLIP's text encoder, and how many ids it knows; 0: the model has none. */
  clipTextLength: number;
  clipVocabulary: number;
  /** Pixels of the side of what CLIP's image encoder takes; 0: none. */
  clipImageSize: number;
  /** Entries of a condition that one CLIP embedding makes. */
  clipTokens: number;
  hasPrior: boolean;
  /** The seed draws image embeddings, without a prior. */
  drawnImageEmbedding: boolean;
  /** generation_config.json after checks, in its own (snake_case) names. */
  defaults: {
    width: number;
    height: number;
    steps: number;
    renoise_steps: number;
    conditional_steps: number;
    guidance_scale: [number, number];
    temperature: [number, number];
    negative_prompt: string;
    typical_mass: number | null;
    prior_steps: number;
    prior_guidance_scale: number;
  };
  backend: string;
  device: string;
  precision: string;
  threads: number;
}

/** Either token ids (ByT5: UTF-8 bytes + 3, closed by 1) or the encoder's output. */
export interface NativeCondition {
  ids?: Int32Array;
  /** Row-major [length, conditionWidth]. */
  states?: Float32Array;
  /** CLIP's, from start to end of text. */
  clipIds?: Int32Array;
  /** RGB [clipImageSize, clipImageSize, 3] each. */
  images?: Uint8Array[];
  /** Draws an image embedding, with the seed of each image. Not beside `images`. */
  prior?: { steps: number; guidanceScale: number; method: 'ddpm' | 'ddim' };
  /** Draws an image embedding as the model has it, without a prior, with the seed of each image. Not beside `images` or `prior`. */
  drawnImage?: boolean;
  /** What attention to each entry is multiplied by: those of the text, then `clipTokens` for each CLIP embedding. */
  weights?: Float32Array;
}

export interface NativeGenerateRequest {
  condition: NativeCondition;
  negative: NativeCondition;
  /** In tokens. */
  width: number;
  height: number;
  steps: number;
  renoiseSteps: number;
  conditionalSteps: number;
  guidanceScale: [number, number];
  temperature: [number, number];
  sampler: 'multinomial' | 'argmax';
  /** 0 = off. */
  typicalMass: number;
  /** One per image. */
  seeds: number[];
  /** [height, width], used for every image. */
  initTokens?: Int32Array;
  /** Higher first. */
  priority: number;
  /** From now; a job that has not started by then rejects with ERR_DEADLINE. 0 = none. */
  deadlineMs: number;
  /** Decode and send a preview after every n-th step; 0 = never. */
  previewEvery: number;
  /** Whether 'step' events are wanted. */
  stepEvents: boolean;
}

export type NativeEvent =
  | { type: 'queued'; position: number }
  | { type: 'step'; step: number; steps: number; noiseLevel: number; elapsedMs: number }
  | { type: 'preview'; step: number; steps: number; index: number; pixels: Uint8Array };

export interface NativeImage {
  /** RGB, row-major, [4·height, 4·width, 3]. */
  pixels: Uint8Array;
  /** [height, width]. */
  tokens: Int32Array;
  seed: number;
}

export interface NativeGenerateResult {
  images: NativeImage[];
  timings: NativeTimings;
  /** How many images ran in the same batch. */
  batch: number;
}

export interface NativeStats {
  jobs: { queued: number; running: number; done: number; failed: number; aborted: number };
  images: number;
  batches: number;
  /** batchSizes[n] = number of batches that held n images. */
  batchSizes: Record<string, number>;
  /** Sum over all jobs, milliseconds. */
  stages: NativeTimings;
  /** Host to device, device to host, and synchronisations; zeros on the CPU. */
  transfers: { uploads: number; downloads: number; launches: number; synchronizations: number };
  memory: { weights: number; activations: number; cache: number; current: number; peak: number };
}

/** A running job. `cancel` is idempotent and safe after the end. */
export interface NativeJob<T> {
  promise: Promise<T>;
  cancel(): void;
}

export interface NativePredictRequest {
  /** [batch, height, width] */
  tokens: Int32Array;
  batch: number;
  width: number;
  height: number;
  /** r in (0, 1]; 1 is pure noise. */
  noiseLevel: number;
  /** null: the empty prompt. */
  condition: NativeCondition | null;
}

export interface NativeEngine {
  readonly info: NativeModelInfo;
  generate(
    request: NativeGenerateRequest,
    onEvent: ((event: NativeEvent) => void) | null,
  ): NativeJob<NativeGenerateResult>;
  /** → [length, conditionWidth] */
  encodeText(ids: Int32Array): NativeJob<Float32Array>;
  /** → logits [batch, height, width, vocabularySize] */
  predict(request: NativePredictRequest): NativeJob<Float32Array>;
  /** RGB pixels [height, width, 3] → tokens [height/4, width/4]. Width and height in pixels, multiples of pixelsPerToken. */
  encodeImage(pixels: Uint8Array, width: number, height: number): NativeJob<Int32Array>;
  /** tokens [height, width] → RGB pixels. Width and height in tokens. */
  decodeTokens(tokens: Int32Array, width: number, height: number): NativeJob<Uint8Array>;
  stats(): NativeStats;
  /** Aborts what runs and waits (`abort: true`), or lets everything queued finish first. Later calls reject with ERR_DISPOSED. */
  dispose(abort: boolean): Promise<void>;
}

export interface NativeExportRequest {
  /** Absolute path of a model folder, or 'random:<configuration>'. */
  model: string;
  /** Exists and is empty. */
  folder: string;
  precision: 'fp32' | 'bf16' | 'fp16';
  /** Of exportableNetworks(); empty: all that the model has. */
  networks: string[];
  opset: number;
}

/** Bytes; total 0: not known. */
export interface NativeExportProgress {
  phase: string;
  done: number;
  total: number;
}

/** An input or output. Sizes that may differ from call to call are symbols or terms of one: 'batch', 'height/2', '2*length-1'. */
export interface NativeExportedPort {
  name: string;
  type: 'f32' | 'bf16' | 'f16' | 'i32' | 'u8';
  shape: (number | string)[];
}

export interface NativeExportedNetwork {
  name: string;
  file: string;
  dataFile: string;
  inputs: NativeExportedPort[];
  outputs: NativeExportedPort[];
  /** What each symbol is a multiple of: a number, or another symbol. */
  symbols: Record<string, { multipleOf: number | string }>;
  nodes: number;
  initializers: number;
}

export interface NativeExportResult {
  /** The model's name. */
  model: string;
  networks: NativeExportedNetwork[];
  data: { file: string; component: string; bytes: number }[];
  /** With the text encoder: what its input `position_bias` is made of. `bias` is [buckets, heads]. */
  positions?: { buckets: number; maxDistance: number; heads: number; bias: number[] };
}

export interface NativeInspectRequest {
  /** Absolute path of a model folder, or 'random:<configuration>'. */
  model: string;
  precision: 'fp32' | 'bf16' | 'fp16' | 'int8';
  encoderWeights: 'full' | 'int8';
  /** Pixels; 0: the model's own. */
  width: number;
  height: number;
  count: number;
}

export interface NativeInspection {
  /** `bytes`: of weights, were they loaded. */
  info: NativeModelInfo;
  /** Bytes at once, at most, in each memory mode: of weights alone, and with what drawing takes. */
  memory: Record<'weights' | 'peak', Record<'resident' | 'balanced' | 'low', number>>;
}

export interface NativeModule {
  /** Same as package.json's version. */
  readonly version: string;
  /** Those that are named, or all. Looking for GPUs may take seconds; it happens on a thread of its own. */
  backends(names?: readonly string[]): Promise<NativeBackendInfo[]>;
  /** Names accepted after 'random:'. */
  randomConfigurations(): string[];
  /** Names of networks that exportModel() takes. */
  exportableNetworks(): string[];
  /** Writes ONNX files on a thread of its own. What was written before an error or cancel() stays in the folder. */
  exportModel(
    request: NativeExportRequest,
    onProgress: ((progress: NativeExportProgress) => void) | null,
  ): NativeJob<NativeExportResult>;
  /** What a model is and how much memory it takes, without reading its weights. */
  inspectModel(request: NativeInspectRequest, onProgress: null): NativeJob<NativeInspection>;
  /** Plans of TensorRT, into the cache, on a thread of its own. */
  buildEngines(
    request: NativeEngineBuildRequest,
    onEvent: ((event: NativeEngineBuildEvent) => void) | null,
  ): NativeJob<NativeBuiltEngine[]>;
  load(
    request: NativeLoadRequest,
    onProgress: ((progress: NativeLoadProgress) => void) | null,
    /** What a backend has to say, as long as the engine lives. */
    onLog: ((level: NativeLogLevel, message: string) => void) | null,
  ): NativeJob<NativeEngine>;
}
