/** From resolved options to the native request, and from native events to public ones. */
import type { NativeCondition, NativeEvent, NativeGenerateRequest } from '../native/contract.js';
import { guidedSteps, type ResolvedGenerateOptions } from '../options/generate-options.js';
import type { GenerateEvent } from './stream.js';
import type { StepEvent } from './types.js';

export function requestOf(
  options: ResolvedGenerateOptions,
  condition: NativeCondition,
  negative: NativeCondition,
  pixelsPerToken: number,
  stepEvents: boolean,
): NativeGenerateRequest {
  return {
    condition,
    negative,
    width: options.width / pixelsPerToken,
    height: options.height / pixelsPerToken,
    steps: options.steps,
    renoiseSteps: options.renoiseSteps,
    conditionalSteps: guidedSteps(options),
    guidanceScale: options.guidanceScale,
    temperature: options.temperature,
    sampler: options.sampler,
    typicalMass: options.typicalMass,
    seeds: Array.from({ length: options.count }, (_, i) => options.seed + i),
    ...(options.initTokens ? { initTokens: options.initTokens.tokens } : {}),
    priority: options.priority,
    deadlineMs: options.deadlineMs,
    previewEvery: options.previewEvery,
    stepEvents,
  };
}

export function stepOf({ step, steps, noiseLevel, elapsedMs }: Extract<NativeEvent, { type: 'step' }>): StepEvent {
  return { step, steps, noiseLevel, elapsedMs };
}

/** @param size of the image, in pixels: previews have it too */
export function eventOf(event: NativeEvent, size: { width: number; height: number }): GenerateEvent {
  if (event.type === 'queued') return { type: 'queued', position: event.position };
  if (event.type === 'step') return { type: 'step', ...stepOf(event) };
  const { index, step, steps, pixels } = event;
  return {
    type: 'preview',
    index,
    step,
    steps,
    preview: { width: size.width, height: size.height, channels: 3, data: pixels },
  };
}
