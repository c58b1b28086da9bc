/** Where images go. */
import { constants, existsSync, statSync } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import {
  checkEncodeOptions,
  type EncodeOptions,
  formatOfPath,
  type ImageFormat,
  imageFormats,
} from '../images/generated-image.js';
import { invalidOption } from '../options/validate.js';

const extensionOf: Record<ImageFormat, string> = { png: '.png', jpeg: '.jpg', webp: '.webp', avif: '.avif' };

/**
 * - nothing given: the current folder; a folder: that folder; the name is made of the prompt and the seed, and an
 *   existing file is never replaced (`-2`, `-3`, … are added);
 * - a file: that file, replaced if it exists; several images get their seed added to the name.
 */
export class OutputPlan {
  readonly format: ImageFormat;
  readonly #folder: string;
  /** Undefined: names are made. */
  readonly #file: string | undefined;

  /** Throws `ERR_INVALID_OPTION` and `ERR_IO` before any work is done. */
  constructor(output: unknown, format: unknown) {
    const wanted = format === undefined ? undefined : checkFormat(format);
    const given = checkOutput(output);
    if (given === undefined || /[\\/]$/.test(given) || isFolder(given)) {
      this.#folder = given ?? '.';
      this.format = wanted ?? 'png';
    } else {
      this.#file = given;
      this.#folder = path.dirname(given);
      this.format = formatOfFile(given);
      if (wanted !== undefined && wanted !== this.format) {
        throw invalidOption('format', `${this.format}, as the file name says, or nothing`, wanted);
      }
    }
    if (!isFolder(this.#folder)) {
      throw new PaellaError('ERR_IO', `${given ?? this.#folder}: cannot be written: no such folder`, {
        remedy: 'create the folder first',
      });
    }
  }

  /** Whether images can be written this way, as far as that shows before. Throws `ERR_INVALID_OPTION`, `ERR_IO`. */
  async check(encode: EncodeOptions): Promise<void> {
    checkEncodeOptions(encode);
    if (encode.quality !== undefined && this.format === 'png')
      throw invalidOption(
        'quality',
        'nothing for PNG, which has no loss',
        encode.quality,
        'or choose another --format',
      );
    await checkWritable(this.#file ?? path.join(this.#folder, `image${extensionOf[this.format]}`));
  }

  pathFor({ prompt, seed, count }: { prompt: string; seed: number; count: number }): string {
    const extension = extensionOf[this.format];
    if (this.#file !== undefined) {
      if (count === 1) return this.#file;
      const own = path.extname(this.#file);
      return `${this.#file.slice(0, -own.length)}-${seed}${own}`;
    }
    const stem = path.join(this.#folder, `${slug(prompt)}-${seed}`);
    for (let i = 1; ; i++) {
      const file = `${stem}${i === 1 ? '' : `-${i}`}${extension}`;
      if (!existsSync(file)) return file;
    }
  }
}

/** Where the user wants the result; an option that is given twice arrives as a list. Throws `ERR_INVALID_OPTION`. */
export function checkOutput(output: unknown): string | undefined {
  if (output === undefined) return undefined;
  if (typeof output !== 'string' || output === '') throw invalidOption('output', 'one file or folder', output);
  return output;
}

/** Before hours of work rather than after. Throws `ERR_IO`. */
export async function checkWritable(file: string): Promise<void> {
  try {
    const found = await stat(file).catch(() => undefined);
    if (found?.isDirectory()) throw Object.assign(new Error('a folder'), { code: 'EISDIR' });
    // Devices and pipes are written in place.
    if (found && !found.isFile()) return await access(file, constants.W_OK);
    const folder = path.dirname(file);
    if (!(await stat(folder)).isDirectory()) throw Object.assign(new Error('no folder'), { code: 'ENOTDIR' });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw ioError('written', file, error);
  }
}

function formatOfFile(file: string): ImageFormat {
  try {
    return formatOfPath(file);
  } catch {
    throw invalidOption(
      'output',
      'an existing folder, or a file name ending in .png, .jpg, .jpeg, .webp or .avif',
      file,
    );
  }
}

function checkFormat(format: unknown): ImageFormat {
  const known = imageFormats.find((name) => name === format || (format === 'jpg' && name === 'jpeg'));
  if (!known) throw invalidOption('format', `one of ${imageFormats.join(', ')}`, format);
  return known;
}

function isFolder(name: string): boolean {
  try {
    return statSync(name).isDirectory();
  } catch {
    return false; // whatever keeps us from looking at it keeps us from writing into it
  }
}

/** 'A red circle, above…' → 'a-red-circle-above' */
function slug(prompt: string): string {
  const words = prompt
    .normalize('NFKD')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu);
  return (words ?? ['image']).join('-').slice(0, 60).replace(/-+$/, '');
}
