/** The public interface of paella-native. */
export type { ComponentName } from './convert/components/component.js';
export {
  type ConvertedComponent,
  type ConvertOptions,
  type ConvertProgress,
  type ConvertReport,
  convert,
} from './convert/convert.js';
export type { ConvertPrecision } from './convert/element-types.js';
export { backends } from './engine/backends.js';
export { generate } from './engine/default-engine.js';
export {
  type CachedEngine,
  cleanEngines,
  type InspectedEngine,
  inspectEngine,
  listEngines,
} from './engine/engine-cache.js';
export { buildEngines, type EngineBuild } from './engine/engines.js';
export { type ExportSource, exportOnnx, type OnnxExport } from './engine/export.js';
export { type InspectOptions, inspectModel, type MemoryByMode, type ModelInspection } from './engine/inspect.js';
export { Paella } from './engine/paella.js';
export type { PredictInput } from './engine/predict.js';
export type { GenerateEvent, Preview } from './engine/stream.js';
export type {
  BackendDevice,
  BackendInfo,
  Condition,
  EngineStats,
  EngineWarning,
  ModelDomain,
  ModelInfo,
  StageTimings,
  StepEvent,
  TokenGrid,
} from './engine/types.js';
export { PaellaError, type PaellaErrorCode } from './errors.js';
export { type PullOptions, type PullProgress, type PullReport, pull } from './hub/pull.js';
export { type EncodeOptions, GeneratedImage, type ImageFormat } from './images/generated-image.js';
export { type ImageInput, type RawImage, readMetadata } from './images/input.js';
export type { ImageMetadata } from './images/metadata.js';
export {
  type AttentionWeights,
  type PresetName,
  type PriorOptions,
  presets,
  type WeightedText,
} from './options/conditioning.js';
export type {
  BuildEnginesOptions,
  EngineBuildProgress,
  EngineProfile,
  SizeRange,
} from './options/engine-options.js';
export type { ExportOptions, ExportProgress } from './options/export-options.js';
export type { GenerateOptions } from './options/generate-options.js';
export type { BackendName, LoadOptions, LoadProgress, Logger, Precision } from './options/load-options.js';
