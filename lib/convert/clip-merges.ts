/** The merges of CLIP's tokenizer, which lie beside the checkpoint in the repositories that publish it. */
import { copyFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../errors.js';
import { readClipMerges } from '../text/clip-merges.js';
import type { FoundComponent } from './identify.js';

const names = ['merges.txt', 'bpe_simple_vocab_16e6.txt.gz', 'bpe_simple_vocab_16e6.txt'];
const folders = ['', 'tokenizer'];

/**
 * Copies them into the component's new folder. Returns a warning if there are none: the model cannot be loaded before
 * somebody puts them there. Throws `ERR_MODEL_FORMAT` for a damaged list, `ERR_IO`.
 */
export async function copyClipMerges(
  clip: FoundComponent,
  folder: string,
  target: string,
): Promise<string | undefined> {
  const beside = path.dirname(clip.checkpoint.label);
  for (const place of folders)
    for (const name of names) {
      const file = path.join(beside, place, name);
      if (!(await stat(file).catch(() => undefined))?.isFile()) continue;
      await readClipMerges(file, Number(clip.config.vocab_size));
      const copy = path.join(folder, 'merges.txt');
      await copyFile(file, copy).catch((error: unknown) => {
        throw ioError('written', copy, error);
      });
      return undefined;
    }
  return `${beside}: no ${names[0]} or ${names[1]} for CLIP's tokenizer: put one of the same repository into ${path.join(target, 'clip_text', 'merges.txt')} before loading`;
}
