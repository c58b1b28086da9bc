/** From what was typed to option values. */
import type { Arguments } from './run.js';

/** '12' → 12, '1,2' → [1, 2], anything else as it is: the library's check then names it. */
export function value(text: unknown): unknown {
  if (typeof text !== 'string') return text;
  const parts = text.split(',');
  if (parts.length > 2 || !parts.every((part) => /^-?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i.test(part))) return text;
  const numbers = parts.map(Number);
  return numbers.length === 1 ? numbers[0] : numbers;
}

/** 'guidanceScale' → 'guidance-scale' */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Those of the named options that were given, with numbers recognised, except where `texts` says that text is meant. */
export function pick(
  args: Arguments,
  names: readonly string[],
  texts: readonly string[] = [],
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const name of names) {
    if (args[name] !== undefined) out[name] = texts.includes(name) ? args[name] : value(args[name]);
  }
  return out;
}

const loadNames = ['model', 'backend', 'device', 'precision', 'threads', 'maxBatch', 'memory', 'encoderWeights'];

/** 'all' as it is; '0,2' → [0, 2]; '1' → [1] */
function devicesValue(text: unknown): unknown {
  if (typeof text !== 'string' || text === 'all') return text;
  return text.split(',').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

export function loadValues(args: Arguments): Record<string, unknown> {
  const devices = devicesValue(args.devices);
  return {
    ...pick(args, loadNames, ['model', 'backend', 'precision', 'memory', 'encoderWeights']),
    ...(devices === undefined ? {} : { devices }),
  };
}
