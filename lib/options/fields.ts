/** Building blocks of the option schemas. The words of each are what a user reads after "expected". */
import { z } from 'zod';

export function integer(min: number, max: number, words = `an integer between ${min} and ${max}`) {
  return z.int().min(min).max(max).optional().describe(words);
}

export function number(min: number, max: number, words = `a number between ${min} and ${max}`) {
  return z.number().min(min).max(max).optional().describe(words);
}

/** One number for all steps, or the first and the last step's, with a straight line between them. */
export function ramp(min: number, max: number) {
  const one = z.number().min(min).max(max);
  return z
    .union([one, z.tuple([one, one])])
    .optional()
    .describe(`a number between ${min} and ${max}, or [first, last]`);
}

export function oneOf<const T extends readonly [string, ...string[]]>(names: T) {
  return z
    .enum(names)
    .optional()
    .describe(`one of ${names.join(', ')}`);
}

export function text(words = 'a string') {
  return z.string().optional().describe(words);
}

export function callback<F>() {
  return z
    .custom<F>((value) => typeof value === 'function')
    .optional()
    .describe('a function');
}

export const signal = z.instanceof(AbortSignal).optional().describe('an AbortSignal');
