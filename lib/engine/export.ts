/** The networks of a model as ONNX files. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import type { NativeExportedNetwork, NativeExportResult } from '../native/contract.js';
import { loadNative } from '../native/loader.js';
import { type ExportOptions, resolveExportOptions } from '../options/export-options.js';
import { invalidOption } from '../options/validate.js';
import { packageVersion } from '../package-root.cjs';
import { buildFolder } from './build-folder.js';
import { runHeardJob } from './jobs.js';
import { resolveModel } from './model-folder.js';

const DESCRIPTION = 'export.json';
const FORMAT = 'paella-native-onnx';

/** A file that weights came from. */
export interface ExportSource {
  /** Folder of the component: 'unet', … */
  component: string;
  /** Relative to the model's folder. Random weights have no file. */
  file?: string;
  bytes?: number;
  sha256?: string;
}

/** What `export.json` holds; docs/onnx.md describes it. */
export interface OnnxExport {
  format: 'paella-native-onnx';
  formatVersion: 1;
  producer: { name: 'paella-native'; version: string };
  model: string;
  precision: 'fp32' | 'bf16' | 'fp16';
  opset: number;
  sources: ExportSource[];
  networks: (NativeExportedNetwork & { bytes: number; sha256: string })[];
  /** Weights, shared by the networks that name the file. */
  data: { file: string; component: string; bytes: number }[];
  /** With the text encoder: what its input `position_bias` is made of. `bias` is [buckets, heads]. */
  positions?: { buckets: number; maxDistance: number; heads: number; bias: number[] };
}

/**
 * Writes the networks of a model to a new folder: `<network>.onnx`, their weights beside them, and `export.json`, whose
 * contents are returned. The folder is there as a whole or not at all. Rejects with `ERR_INVALID_OPTION`,
 * `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`, `ERR_NUMERIC`, `ERR_OUT_OF_MEMORY`, `ERR_IO`, `ERR_ADDON`, or
 * `signal.reason`.
 */
export async function exportOnnx(options: ExportOptions): Promise<OnnxExport> {
  const { model: name, output, networks, force, signal, onProgress, ...how } = resolveExportOptions(options);
  signal?.throwIfAborted();
  const known = loadNative().exportableNetworks();
  for (const network of networks) {
    if (!known.includes(network)) throw invalidOption('networks', `some of ${known.join(', ')}`, network);
  }
  const model = await resolveModel(name, { signal });
  const replaceable = (file: string) => file === DESCRIPTION || /\.onnx(\.data)?$/.test(file);
  return buildFolder(output, { force, replaceable, signal }, async (folder, write) => {
    const request = { model, folder, networks: [...networks], ...how };
    const result = await runHeardJob((hear) => loadNative().exportModel(request, hear), onProgress, signal);
    const description: OnnxExport = {
      format: FORMAT,
      formatVersion: 1,
      producer: { name: 'paella-native', version: packageVersion },
      model: result.model,
      precision: how.precision,
      opset: how.opset,
      sources: await sourcesOf(model, result, signal),
      networks: await Promise.all(
        result.networks.map(async (network) => {
          const file = path.join(folder, network.file);
          return { ...network, bytes: (await stat(file)).size, sha256: await sha256(file, signal) };
        }),
      ),
      data: result.data,
      ...(result.positions ? { positions: result.positions } : {}),
    };
    await write(DESCRIPTION, `${JSON.stringify(description, null, 2)}\n`);
    return description;
  });
}

async function sourcesOf(model: string, result: NativeExportResult, signal?: AbortSignal): Promise<ExportSource[]> {
  const sources: ExportSource[] = [];
  for (const { component } of result.data) {
    if (!path.isAbsolute(model)) {
      sources.push({ component });
      continue;
    }
    const file = path.join(model, component, 'model.safetensors');
    const { size } = await stat(file).catch((error: unknown) => {
      throw ioError('read', file, error);
    });
    sources.push({
      component,
      file: path.posix.join(component, 'model.safetensors'),
      bytes: size,
      sha256: await sha256(file, signal),
    });
  }
  return sources;
}

async function sha256(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const part of createReadStream(file, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) }))
      hash.update(part);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PaellaError) throw error;
    throw ioError('read', file, error);
  }
  return hash.digest('hex');
}
