/** Images that come in: files, encoded bytes, raw pixels. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ioError, PaellaError } from '../errors.js';
import { invalidOption } from '../options/validate.js';
import { type ImageMetadata, readFromSharp } from './metadata.js';

/** Pixels in rows, without padding. */
export interface RawImage {
  /** [height, width, channels] */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
}

/** A file's path or URL, the bytes of an encoded image (PNG, JPEG, WebP, AVIF, …), or pixels. */
export type ImageInput = string | URL | Uint8Array | RawImage;

const EXPECTED = 'a path, a file URL, the bytes of an image, or { data, width, height, channels }';

function isRaw(input: unknown): input is RawImage {
  const { data, width, height, channels } = (input ?? {}) as Partial<RawImage>;
  return (
    data instanceof Uint8Array &&
    (channels === 3 || channels === 4) &&
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    Number(width) > 0 &&
    Number(height) > 0 &&
    data.length === Number(width) * Number(height) * channels
  );
}

async function readBytes(
  input: string | URL | Uint8Array,
  option: string,
): Promise<{ name: string; bytes: Uint8Array }> {
  if (input instanceof Uint8Array) return { name: option, bytes: input };
  let path = String(input);
  try {
    if (input instanceof URL) path = fileURLToPath(input);
    return { name: path, bytes: await readFile(path) };
  } catch (error) {
    throw ioError('read', path, error);
  }
}

function checkInput(input: unknown, option: string): asserts input is ImageInput {
  const fine =
    typeof input === 'string' ||
    input instanceof Uint8Array ||
    isRaw(input) ||
    (input instanceof URL && input.protocol === 'file:');
  if (!fine) throw invalidOption(option, EXPECTED, input);
}

function undecodable(name: string, cause: unknown): PaellaError {
  return new PaellaError('ERR_IO', `${name}: cannot be decoded as an image: ${(cause as Error).message}`, { cause });
}

/**
 * → RGB pixels. Transparency goes onto white; the orientation that a camera noted is applied. `option` is what messages call
 * the input.
 */
export async function readPixels(input: ImageInput, option = 'image'): Promise<RawImage & { channels: 3 }> {
  checkInput(input, option);
  if (isRaw(input) && input.channels === 3) return { ...input, channels: 3 };
  const { default: sharp } = await import('sharp');
  const raw = isRaw(input) ? { raw: { width: input.width, height: input.height, channels: input.channels } } : {};
  const { name, bytes } = isRaw(input) ? { name: option, bytes: input.data } : await readBytes(input, option);
  try {
    const { data, info } = await sharp(bytes, raw)
      .autoOrient()
      .flatten({ background: 'white' })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`expected 3 channels, got ${info.channels}`);
    return { data, width: info.width, height: info.height, channels: 3 };
  } catch (error) {
    throw undecodable(name, error);
  }
}

/** Cuts the sides down to multiples of `multiple`, the same on both ends. */
export function cropToMultiple(image: RawImage & { channels: 3 }, multiple: number): RawImage & { channels: 3 } {
  const width = image.width - (image.width % multiple);
  const height = image.height - (image.height % multiple);
  if (width === image.width && height === image.height) return image;
  if (width === 0 || height === 0)
    throw invalidOption('image', `at least ${multiple}×${multiple} pixels`, `${image.width}×${image.height}`);
  const left = (image.width - width) >> 1;
  const top = (image.height - height) >> 1;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((y + top) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height, channels: 3 };
}

/** The middle square, resized to RGB [side, side, 3]: what CLIP's image encoder takes (specification 5.2). */
export async function toSquare(input: ImageInput, side: number, option: string): Promise<Uint8Array> {
  const { data, width, height } = await readPixels(input, option);
  const { default: sharp } = await import('sharp');
  const square = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(side, side, { fit: 'cover', position: 'centre', kernel: 'cubic' })
    .raw()
    .toBuffer();
  return new Uint8Array(square);
}

/** The parameters that `GeneratedImage` wrote into an image, or null when there are none. */
export async function readMetadata(image: string | URL | Uint8Array): Promise<ImageMetadata | null> {
  if (isRaw(image)) throw invalidOption('image', 'a path, a file URL, or the bytes of an image', image);
  checkInput(image, 'image');
  const { name, bytes } = await readBytes(image, 'image');
  const { default: sharp } = await import('sharp');
  try {
    return readFromSharp(await sharp(bytes).metadata());
  } catch (error) {
    throw undecodable(name, error);
  }
}
