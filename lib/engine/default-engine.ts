/** generate() without an engine of one's own. */
import type { GeneratedImage } from '../images/generated-image.js';
import type { GenerateOptions } from '../options/generate-options.js';
import { type LoadOptions, resolveLoadOptions } from '../options/load-options.js';
import { Paella } from './paella.js';

const engines = new Map<string, Promise<Paella>>();

/**
 * Draws images with a shared engine, loaded on first use and kept; each set of load options has its own. It does not
 * keep the process alive. For control over memory use `Paella.load()` and `dispose()`.
 * Rejects like `Paella.load()` and `Paella.generate()`.
 */
export async function generate(prompt: string | GenerateOptions, load: LoadOptions = {}): Promise<GeneratedImage[]> {
  const { signal, onProgress, logger, ...plain } = resolveLoadOptions(load);
  const key = JSON.stringify(plain);
  let engine = engines.get(key);
  if (!engine) {
    engine = Paella.load(load);
    engines.set(key, engine);
    engine.catch(() => engines.delete(key)); // the next call tries again
  }
  return (await engine).generate(prompt);
}
