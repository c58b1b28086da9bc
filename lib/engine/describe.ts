/** From the contract's records to the public ones. */
import type { NativeModelInfo, NativeStats } from '../native/contract.js';
import type { EngineStats, ModelDomain, ModelInfo, StageTimings } from './types.js';

export function modelInfoOf(info: NativeModelInfo, domain: ModelDomain | undefined): ModelInfo {
  const { defaults } = info;
  return deepFreeze({
    name: info.name,
    family: info.family,
    parameters: { ...info.parameters },
    bytes: { ...info.bytes },
    sizeMultiple: info.sizeMultiple,
    maxSize: info.maxSize - (info.maxSize % info.sizeMultiple),
    pixelsPerToken: info.pixelsPerToken,
    vocabularySize: info.vocabularySize,
    conditionWidth: info.conditionWidth,
    conditioning: {
      clipText: info.clipTextLength > 0,
      clipImage: info.clipImageSize,
      prior: info.hasPrior,
      drawnImage: info.drawnImageEmbedding,
    },
    domain,
    defaults: {
      width: defaults.width,
      height: defaults.height,
      steps: defaults.steps,
      renoiseSteps: defaults.renoise_steps,
      conditionalSteps: defaults.conditional_steps,
      guidanceScale: [...defaults.guidance_scale],
      temperature: [...defaults.temperature],
      negativePrompt: defaults.negative_prompt,
      typicalMass: defaults.typical_mass ?? 0,
      priorSteps: defaults.prior_steps,
      priorGuidanceScale: defaults.prior_guidance_scale,
    },
  });
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}

export function statsOf(stats: NativeStats, tokenizeMs: number): EngineStats {
  return { ...stats, stages: { tokenize: tokenizeMs, ...stats.stages } };
}

export const noTimings: Readonly<StageTimings> = Object.freeze({
  tokenize: 0,
  queue: 0,
  encode_text: 0,
  prior: 0,
  unet: 0,
  guide: 0,
  sample: 0,
  renoise: 0,
  decode: 0,
  total: 0,
});
