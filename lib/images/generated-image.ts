/** What generate() gives. */
import path from 'node:path';
import { z } from 'zod';
import type { StageTimings, TokenGrid } from '../engine/types.js';
import { integer } from '../options/fields.js';
import type { GenerateOptions } from '../options/generate-options.js';
import { invalidOption, validate } from '../options/validate.js';
import { writeAtomically } from './files.js';
import { type ImageMetadata, pngTexts, xmpPacket } from './metadata.js';
import { insertPngText } from './png.js';

export const imageFormats = ['png', 'jpeg', 'webp', 'avif'] as const;
export type ImageFormat = (typeof imageFormats)[number];

export interface EncodeOptions {
  /** Whether the parameters go into the file. Default true. */
  metadata?: boolean | undefined;
  /** JPEG, WebP, AVIF: 1 to 100; PNG has none. Default: sharp's (80, 80, 50). */
  quality?: number | undefined;
  /** WebP and AVIF: no loss. Default false; PNG always, JPEG never. */
  lossless?: boolean | undefined;
}

const encodeSchema = z.strictObject({
  metadata: z.boolean().optional().describe('true or false'),
  quality: integer(1, 100),
  lossless: z.boolean().optional().describe('true or false'),
});

type CheckedEncodeOptions = z.output<typeof encodeSchema>;

/** Throws `ERR_INVALID_OPTION`. */
export function checkEncodeOptions(options: EncodeOptions): CheckedEncodeOptions {
  return validate(encodeSchema, options, 'options of encode');
}

const extensions: Record<string, ImageFormat> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
};

/** The format that a file name's extension stands for. Throws `ERR_INVALID_OPTION`. */
export function formatOfPath(file: string): ImageFormat {
  const format = extensions[path.extname(file).toLowerCase()];
  if (!format) throw invalidOption('path', 'a name ending in .png, .jpg, .jpeg, .webp or .avif', file);
  return format;
}

/** Everything but the methods. */
export interface ImageFields {
  width: number;
  height: number;
  data: Uint8Array;
  tokens: TokenGrid;
  seed: number;
  parameters: GenerateOptions;
  timings: StageTimings;
}

export class GeneratedImage {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly channels = 3 as const;
  /** RGB, [height, width, 3]. */
  readonly data: Uint8Array;
  /** The image before decoding. */
  readonly tokens: TokenGrid;
  /** Seed of this image; generate() with it and `count: 1` gives the image again. 0 for decodeTokens(). */
  readonly seed: number;
  /** All options, defaults included: `generate(image.parameters)` gives the image again. */
  readonly parameters: GenerateOptions;
  /** Of the job that made the image, which may have made others too. */
  readonly timings: StageTimings;
  readonly #metadata: ImageMetadata;

  /** @internal Made by Paella. */
  constructor(fields: ImageFields, metadata: ImageMetadata) {
    this.width = fields.width;
    this.height = fields.height;
    this.data = fields.data;
    this.tokens = fields.tokens;
    this.seed = fields.seed;
    this.parameters = fields.parameters;
    this.timings = fields.timings;
    this.#metadata = metadata;
  }

  /** The bytes of an image file, by default PNG. Throws `ERR_INVALID_OPTION`. */
  async encode(format: ImageFormat = 'png', options: EncodeOptions = {}): Promise<Buffer> {
    if (!imageFormats.includes(format)) throw invalidOption('format', `one of ${imageFormats.join(', ')}`, format);
    const { metadata = true, quality, lossless } = checkEncodeOptions(options);
    const settings = { ...(quality === undefined ? {} : { quality }), ...(lossless === undefined ? {} : { lossless }) };
    const { default: sharp } = await import('sharp');
    const raw = { width: this.width, height: this.height, channels: this.channels };
    const image = sharp(this.data, { raw });
    if (format === 'png') {
      const png = await image.png().toBuffer();
      return metadata ? insertPngText(png, pngTexts(this.#metadata)) : png;
    }
    if (metadata) image.withXmp(xmpPacket(this.#metadata));
    return image.toFormat(format, settings).toBuffer();
  }

  /**
   * Writes a file in the format of its extension. The file appears whole or not at all; an existing one is replaced.
   * Throws `ERR_INVALID_OPTION`, `ERR_IO`.
   */
  async save(file: string, options: EncodeOptions = {}): Promise<void> {
    if (typeof file !== 'string' || file === '') throw invalidOption('path', 'the name of a file', file);
    await writeAtomically(file, await this.encode(formatOfPath(file), options));
  }
}
