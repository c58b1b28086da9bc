/** Options of exportOnnx(). */
import { z } from 'zod';
import { callback, integer, oneOf, signal } from './fields.js';
import { validate } from './validate.js';

export interface ExportProgress {
  /** 'reading unet', 'writing unet', … */
  phase: string;
  /** Bytes. */
  done: number;
  /** Bytes; 0 where it is not known. */
  total: number;
}

export interface ExportOptions {
  /** As for `Paella.load()`: 'tiny' is the default. */
  model?: string | undefined;
  /** The folder to make. Its own folder must exist. */
  output: string;
  /** What the products compute in. Default 'fp32'. */
  precision?: 'fp32' | 'bf16' | 'fp16' | undefined;
  /** Names as in `export.json`, e.g. ['unet', 'vqgan-decoder']. Default: all that the model has. */
  networks?: readonly string[] | undefined;
  /** Version of the ONNX operators. Default 20. */
  opset?: number | undefined;
  /** Replaces an earlier export. A folder that holds anything else is never replaced. */
  force?: boolean | undefined;
  /** Aborts; nothing stays behind. */
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: ExportProgress) => void) | undefined;
}

const schema = z.strictObject({
  model: z.string().min(1).optional().describe("a model's name or folder"),
  output: z.string().min(1).describe('a folder'),
  precision: oneOf(['fp32', 'bf16', 'fp16']),
  networks: z.array(z.string().min(1)).min(1).readonly().optional().describe('a list of names of networks'),
  opset: integer(20, 22),
  force: z.boolean().optional().describe('true or false'),
  signal,
  onProgress: callback<(progress: ExportProgress) => void>(),
});

export interface ResolvedExportOptions {
  model: string;
  output: string;
  precision: 'fp32' | 'bf16' | 'fp16';
  /** Empty: all. */
  networks: readonly string[];
  opset: number;
  force: boolean;
  signal: AbortSignal | undefined;
  onProgress: ((progress: ExportProgress) => void) | undefined;
}

/** Throws `ERR_INVALID_OPTION`. */
export function resolveExportOptions(options: ExportOptions): ResolvedExportOptions {
  const given = validate(schema, options, 'options of exportOnnx');
  return {
    model: given.model ?? 'tiny',
    output: given.output,
    precision: given.precision ?? 'fp32',
    networks: given.networks ?? [],
    opset: given.opset ?? 20,
    force: given.force ?? false,
    signal: given.signal,
    onProgress: given.onProgress,
  };
}
