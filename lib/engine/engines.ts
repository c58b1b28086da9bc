/** Building TensorRT engines ahead of time, and the profiles that they are built for. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ioError } from '../errors.js';
import type { NativeBuiltEngine, NativeEngineBuildEvent } from '../native/contract.js';
import { loadNative } from '../native/loader.js';
import {
  type BuildEnginesOptions,
  type ResolvedProfile,
  resolveBuildEnginesOptions,
  resolveProfile,
  resolveProfileFile,
} from '../options/engine-options.js';
import { invalidOption } from '../options/validate.js';
import { packageRoot } from '../package-root.cjs';
import { engineFolder } from './engine-cache.js';
import { runHeardJob } from './jobs.js';
import { resolveModel } from './model-folder.js';

/** An engine that is in the cache now. */
export type EngineBuild = NativeBuiltEngine;

/** The profiles of a file; without a name, of this package. Throws `ERR_IO`, `ERR_INVALID_OPTION`. */
export function readProfiles(file = path.join(packageRoot, 'engines', 'profiles.json')): ResolvedProfile[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw ioError('read', file, error);
  }
  let contents: unknown;
  try {
    contents = JSON.parse(text);
  } catch (error) {
    throw invalidOption(file, 'JSON', (error as Error).message);
  }
  return resolveProfileFile(contents, file);
}

function chooseProfiles(wanted: readonly unknown[] | undefined): ResolvedProfile[] {
  const known = readProfiles();
  if (wanted === undefined) return known;
  return wanted.map((each, i) => {
    if (typeof each !== 'string') return resolveProfile(each, `profiles[${i}]`);
    const found = known.find(({ name }) => name === each);
    if (!found) throw invalidOption('profiles', `some of ${known.map(({ name }) => name).join(', ')}`, each);
    return found;
  });
}

/**
 * Builds what the backend 'tensorrt' would otherwise build when it first needs it, and skips what is there already.
 * Rejects with `ERR_INVALID_OPTION` (also for a profile outside the model's limits), `ERR_MODEL_NOT_FOUND`,
 * `ERR_MODEL_FORMAT`, `ERR_BACKEND_UNAVAILABLE` (with TensorRT's own words), `ERR_OUT_OF_MEMORY`, `ERR_IO`, `ERR_ADDON`, or
 * `signal.reason`.
 */
export async function buildEngines(options: BuildEnginesOptions = {}): Promise<EngineBuild[]> {
  const { model: name, profiles, signal, onProgress, logger, ...how } = resolveBuildEnginesOptions(options);
  signal?.throwIfAborted();
  const request = {
    ...how,
    model: await resolveModel(name, { signal }),
    folder: engineFolder(),
    profiles: chooseProfiles(profiles),
  };
  const hear = (event: NativeEngineBuildEvent) => {
    if (event.type === 'log') logger?.[event.level]?.(event.message);
    else onProgress?.({ network: event.network, phase: event.phase, step: event.step, steps: event.steps });
  };
  const listener = onProgress || logger ? hear : undefined;
  return runHeardJob((told) => loadNative().buildEngines(request, told), listener, signal);
}
