/** All tensors of a checkpoint, laid out plainly by the code that converts. */
import path from 'node:path';
import type { Test } from 'tap';
import { openCheckpoint } from '../../../lib/checkpoints/open.js';
import { layOut, writeComponent } from '../../../lib/convert/write-component.js';
import { temporaryFolder } from '../../api/support/engine.js';
import { readSafetensors, type Tensor } from '../../api/support/safetensors.js';

/** @param gatherBytes as for `writeComponent()` */
export async function extract(t: Test, file: string, gatherBytes?: number): Promise<Map<string, Tensor>> {
  const { file: source, tensors } = await openCheckpoint(file);
  try {
    const planned = [...tensors.values()].map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      pieces: [tensor],
    }));
    const target = layOut(path.join(temporaryFolder(t), 'all.safetensors'), planned, 'keep');
    const events = { progress: () => undefined, finished: () => undefined, signal: undefined };
    await writeComponent(target, 0, events, gatherBytes);
    return readSafetensors(target.path);
  } finally {
    await source.close();
  }
}
