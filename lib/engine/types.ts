/** What the engine's methods take and give, beside the options. */
import type { NativeTimings } from '../native/contract.js';

/** A prompt's encoding; reusable in `generate({ condition })`. All arrays are row-major. */
export interface Condition {
  /** The text encoder's output, [length, width]. */
  readonly states: Float32Array;
  /** Tokens. */
  readonly length: number;
  /** The text encoder's d_model. */
  readonly width: number;
  /** What was encoded, where that is known. */
  readonly prompt?: string | undefined;
}

/** An image as indices into the codebook. */
export interface TokenGrid {
  /** [height, width] */
  readonly tokens: Int32Array;
  /** In tokens. */
  readonly width: number;
  /** In tokens. */
  readonly height: number;
}

/**
 * Milliseconds per stage; 0 where a stage did not run. `queue` is the wait before, `total` the time from leaving
 * the queue to the result.
 */
export interface StageTimings extends NativeTimings {
  tokenize: number;
}

export interface StepEvent {
  /** From 1. */
  step: number;
  steps: number;
  /** r of the step just done, in (0, 1]. */
  noiseLevel: number;
  /** Since the job was taken from the queue. */
  elapsedMs: number;
}

/** What a model draws, in its own words: `domain.json` of its folder. */
export interface ModelDomain {
  /** Completes "The model draws …". */
  readonly about: string;
  /** All words that it knows, in lower case; no other word in a prompt means anything to it. */
  readonly words: readonly string[];
  /** What to do for pictures of something else. */
  readonly remedy: string;
}

export interface ModelInfo {
  readonly name: string;
  readonly family: 'v3' | 'v1';
  /** Number of parameters per network. */
  readonly parameters: Readonly<Record<string, number>>;
  /** Bytes of weights held in memory per network, in compute precision. */
  readonly bytes: Readonly<Record<string, number>>;
  /** Width and height in pixels are multiples of this. */
  readonly sizeMultiple: number;
  /** Largest width and height in pixels. */
  readonly maxSize: number;
  /** Pixels per token along one side. */
  readonly pixelsPerToken: number;
  readonly vocabularySize: number;
  /** Width of a condition vector. */
  readonly conditionWidth: number;
  /** Which parts of the published pipeline the model has, beside ByT5. */
  readonly conditioning: {
    readonly clipText: boolean;
    /** Pixels of a picture's side as the encoder takes it; 0: no CLIP image encoder. */
    readonly clipImage: number;
    readonly prior: boolean;
    /**
     * Whether the seed draws an image embedding of a few numbers in a prior's place: what a prompt leaves open, such as
     * where things stand (docs/model-format.md).
     */
    readonly drawnImage: boolean;
  };
  /**
   * What it draws, if that is only something. `generate()` takes any prompt all the same and says nothing; undefined: the
   * model has no bounds that it knows of.
   */
  readonly domain: ModelDomain | undefined;
  /** What `generate()` uses for options that are not given; from the model's generation_config.json. */
  readonly defaults: {
    readonly width: number;
    readonly height: number;
    readonly steps: number;
    readonly renoiseSteps: number;
    readonly conditionalSteps: number;
    readonly guidanceScale: readonly [number, number];
    readonly temperature: readonly [number, number];
    readonly negativePrompt: string;
    /** 0: off. */
    readonly typicalMass: number;
    readonly priorSteps: number;
    readonly priorGuidanceScale: number;
  };
}

export interface BackendDevice {
  name: string;
  computeCapability?: string;
  /** Bytes. */
  memoryTotal: number;
  /** Bytes. */
  memoryFree: number;
}

export interface BackendInfo {
  name: 'cpu' | 'cuda' | 'tensorrt';
  available: boolean;
  /** Why it is not available. */
  reason?: string;
  /** What to do about it. */
  remedy?: string;
  devices: BackendDevice[];
  /** What it can compute in on this machine. */
  precisions: string[];
  /** Instruction set, library versions and the like. */
  details: Record<string, string>;
}

export interface EngineStats {
  jobs: { queued: number; running: number; done: number; failed: number; aborted: number };
  images: number;
  batches: number;
  /** batchSizes[n]: how many batches held n images. */
  batchSizes: Record<string, number>;
  /** Milliseconds per stage, summed over all jobs. */
  stages: StageTimings;
  /** Between host and device; zeros on the CPU. */
  transfers: { uploads: number; downloads: number; launches: number; synchronizations: number };
  /** Bytes. */
  memory: { weights: number; activations: number; cache: number; current: number; peak: number };
}

/** Something worth knowing that is not an error. */
export interface EngineWarning {
  /** 'ERR_…' codes are for errors; these are 'BACKEND_FALLBACK', 'PROMPT_TRUNCATED' and 'NEGATIVE_PROMPT_UNUSED'. */
  code: 'BACKEND_FALLBACK' | 'PROMPT_TRUNCATED' | 'NEGATIVE_PROMPT_UNUSED';
  message: string;
}
