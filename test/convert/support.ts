/** What the tests of convert() share. */
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Test } from 'tap';
import { root, temporaryFolder } from '../api/support/engine.js';
import { readSafetensors, type Tensor } from '../api/support/safetensors.js';

export const golden = path.join(root, 'test/golden');
export const official = path.join(golden, 'torch/official');
export const componentFolders = ['text_encoder', 'unet', 'vqgan'] as const;

export const weightsOf = (folder: string, component: string): Map<string, Tensor> =>
  readSafetensors(path.join(folder, component, 'model.safetensors'));

export function sameTensors(t: Test, found: Map<string, Tensor>, wanted: Map<string, Tensor>, what: string): void {
  t.same([...found.keys()].sort(), [...wanted.keys()].sort(), `${what}: the same names`);
  for (const [name, { dtype, shape, data }] of wanted) {
    const tensor = found.get(name);
    t.ok(
      tensor?.dtype === dtype && tensor.shape.join() === shape.join() && tensor.data.equals(data),
      `${what}: ${name} is the same`,
    );
  }
}

/** A copy of the official layouts, to damage. */
export function copyOfOfficial(t: Test): string {
  const folder = path.join(temporaryFolder(t), 'downloads');
  cpSync(official, folder, { recursive: true });
  return folder;
}

/** No model folder, and nothing half-made, beside or at `output`. */
export function nothingLeft(t: Test, output: string, what: string): void {
  t.notOk(existsSync(output), `${what}: no folder`);
  const leftovers = readdirSync(path.dirname(output)).filter((name) => name.startsWith('.'));
  t.same(leftovers, [], `${what}: nothing half-made`);
}

export const readJson = (...parts: string[]): Record<string, unknown> =>
  JSON.parse(readFileSync(path.join(...parts), 'utf8')) as Record<string, unknown>;
